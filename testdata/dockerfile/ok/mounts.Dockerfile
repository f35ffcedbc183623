FROM a
RUN --mount=type=cache,target=/c,sharing=locked --mount=from=b,src=/x,dst=/y,rw \
    --mount=type=secret,id=s,required,env=TOKEN --mount="type=tmpfs,target=/t,size=1g" \
    --network=none --security=insecure --device=vendor.com/gpu=all make
RUN --mount=type=$T,target=$D -- --odd
ADD --checksum=sha256:00 --keep-git-dir --unpack=false https://example.org/a.git /a
