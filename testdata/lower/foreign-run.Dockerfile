FROM x
COPY a /
RUN make
