# syntax=docker/dockerfile:1.7-labs
# escape=`
FROM x
ENV DIR=C:\
COPY a`
 b $DIR/
