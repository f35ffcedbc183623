FROM x AS a
COPY --from=$b / /
COPY --from=9 / /
RUN --mount=from=UPPER/case,target=/x y
