FROM a
RUN one <<A <<'B'
a
A
never closed
