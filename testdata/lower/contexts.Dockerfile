FROM golang AS build
RUN replaced
FROM alpine:latest
COPY --from=build /app /
COPY --from=docs / /docs
RUN --mount=from=docs,target=/docs ls
COPY --from=nothing / /
