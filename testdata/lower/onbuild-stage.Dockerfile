FROM x AS base
ONBUILD COPY --from=late / /late
ONBUILD RUN inherited
RUN base
FROM y AS late
RUN late
FROM base
RUN child
