FORM alpine
FROM alpine AS 1st
RUN --mont=type=cache make
COPY onlyone
ENV
ENV A
ENV A=1 B
ENV =x
RUN ["a", 1]
SHELL bash -c
HEALTHCHECK --interval=5 CMD x
HEALTHCHECK --interval=1us CMD x
HEALTHCHECK --retries=-1 CMD x
HEALTHCHECK FOO
ONBUILD ONBUILD RUN x
ONBUILD FROM y
COPY --from a b c
COPY --link= a b
COPY --chown=a --chown=b c d
COPY a <<EOF
x
EOF
COPY --from=$stage a b
FROM a as
FROM a is b
VOLUME [""]
USER
RUN --network=nett x
RUN \
  --mount=type=cache,taget=/x \
  make
