ARG BASE
FROM ${BASE} AS a
FROM --platform=$BULIDPLATFORM x
FROM --platform=linux/$NOPE x
FROM a:
FROM A
FROM x
