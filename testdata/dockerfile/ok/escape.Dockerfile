# escape=`
FROM a
COPY c:\in `
  d:\out\
ENV A=x` y B="q`"r"
RUN dir c:\
