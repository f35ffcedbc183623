FROM base AS child
RUN own
FROM child
RUN grandchild
