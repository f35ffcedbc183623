ARG a
