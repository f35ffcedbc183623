FROM scratch
COPY a /a
CMD []
