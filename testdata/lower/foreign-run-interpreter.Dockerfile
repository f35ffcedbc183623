FROM x
RUN make
