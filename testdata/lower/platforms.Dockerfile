FROM --platform=$BUILDPLATFORM x AS build
ARG TARGETPLATFORM
RUN cross-compile
FROM --platform=$TARGETPLATFORM x
FROM --platform=linux/arm64/v8 x AS constant
COPY --from=build /app /
