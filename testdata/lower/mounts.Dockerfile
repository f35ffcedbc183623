FROM x AS tools
RUN install
FROM x
WORKDIR /w
ARG DIR=cache
RUN --mount=target=/context --mount=from=tools,source=/bin,target=tools,rw --mount=from=busybox,target=/b \
    --mount=type=cache,target=/root/.$DIR --mount=type=cache,id=own,target=/c,sharing=locked,uid=5,mode=700 \
    --mount=type=cache,from=tools,source=/seed,target=/seeded --mount=type=tmpfs,target=/tmp,size=1m \
    --network=none make
