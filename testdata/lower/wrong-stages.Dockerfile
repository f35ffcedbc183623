FROM x AS a
COPY --from=9 / /
RUN --mount=from=UPPER/case,target=/x y
COPY --from=aa: / /
