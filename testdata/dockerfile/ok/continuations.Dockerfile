FROM a
RUN one \
  # a comment inside
  two \

  three \   
four
RUN not \\
RUN a \
# last comment
b
  RUN   indented   text
RUN at the end \
