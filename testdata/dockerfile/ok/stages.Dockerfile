# syntax=docker/dockerfile:1
# check=skip=all

# The base to build on.
# BASE the image
ARG BASE=alpine:3.20 \
    TAG
ARG EMPTY=

# build compiles
FROM --platform=$BUILDPLATFORM ${BASE} AS Build
ARG TAG
WORKDIR /src
COPY . .
run make

FROM scratch
COPY --from=build --chown=1:1 --chmod=755 /src/out /bin/
COPY --link --exclude=*.md --exclude=doc --parents a/./b c /d/
CMD ["/bin/app", "-v"]
