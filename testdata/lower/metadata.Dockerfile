FROM base
MAINTAINER "me" <me@example.org>
ENV A=1 B="$A two" PATH=/opt:$PATH
ENV C d e
LABEL $A=$B k="v w"
ARG D=dee E
EXPOSE 8001/UDP 80 8000-8001
VOLUME /data "$A"
USER $D:$E
WORKDIR rel
WORKDIR /
WORKDIR /abs/$A/
STOPSIGNAL SIGTERM
SHELL ["/bin/bash", "-c"]
HEALTHCHECK --interval=90s --retries=2 CMD curl -f $URL
CMD echo "$A"
ENTRYPOINT ["/entry", "a b"]
ONBUILD RUN make $A
RUN env
