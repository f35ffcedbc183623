//! Patterns of `.dockerignore` and of COPY.
