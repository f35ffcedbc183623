FROM x AS a
RUN --mount=from=b,target=/b true
COPY --from=b / /
FROM x AS b
FROM a
