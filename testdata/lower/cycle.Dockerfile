FROM x AS a
COPY --from=b / /
FROM x AS b
RUN --mount=from=a,target=/a true
