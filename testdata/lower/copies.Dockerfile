FROM x
WORKDIR /w
COPY . .
COPY --link --chown=55 a* b? dir/
COPY --link --chmod=u+x a /a/.
COPY --exclude=*.md --exclude=!keep.md --parents a/./b/ /p
ADD archive.tar.gz /
ADD --unpack=false archive.tar.gz /
ADD ["a b", "/c d/"]
ENV FROM=/from TO=to
COPY $FROM ${TO}/
