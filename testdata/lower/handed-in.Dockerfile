# Secrets, agents, rights, hosts and limits: what a RUN is given from outside.
FROM x
WORKDIR /w
ARG TOKEN=visible
RUN --mount=type=secret,id=a --mount=type=secret,target=etc/b,required=true cat /run/secrets/a /etc/b
RUN --mount=type=secret,id=a,env=TOKEN login $TOKEN
RUN --mount=type=secret,source=dir/c,env=C,target=/c,uid=5,gid=6,mode=0444 --mount=type=tmpfs,target=/c.d use /c $C
RUN --mount=type=ssh --mount=type=ssh,id=hub,required,target=/hub.sock,mode=0666 git clone
ENV SSH_AUTH_SOCK=/own
RUN --mount=type=ssh,uid=7 git clone
RUN --security=insecure mount
