FROM a
RUN one \
  two
ENV k=v
