FROM a
ENV A=1 B='two words' C="a \" b" D=e\ f $G=h
ENV OLD the rest 'of the' line
LABEL a.b="x" \
      "c d"=e
LABEL old value
ARG ONE TWO=2 THREE="a b"
