FROM x
ADD --checksum=sha256:00 https://example.com/file /
ADD https://example.com/repo.git?what=ever /
COPY https://example.com/file /
RUN --mount=type=secret,id=token cat /run/secrets/token
RUN --mount=type=ssh git clone
RUN --security=insecure mount
RUN --mount=type=tmpfs,target=/ x
ADD --checksum=sha256:00 local /
COPY --chmod=99 a /
STOPSIGNAL SIGTREM
EXPOSE 80/icmp
VOLUME $NONE
ENV A=${B:?needed}
WORKDIR ${
