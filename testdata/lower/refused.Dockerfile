FROM x
ADD --checksum=sha256:00 https://example.com/file /
ADD https://example.com/repo.git?what=ever /
COPY https://example.com/file /
RUN --mount=type=secret,target=/ x
RUN --mount=type=ssh,source=/key x
RUN --security=insecure mount
RUN --mount=type=tmpfs,target=/ x
ADD --checksum=sha256:00 local /
COPY --chmod=99 a /
STOPSIGNAL SIGTREM
EXPOSE 80/icmp
VOLUME $NONE
ENV A=${B:?needed}
WORKDIR ${
