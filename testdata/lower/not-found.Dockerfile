FROM x AS builder
FROM Builder
COPY --from=bilder / /
COPY --from=docker.io/library/ubunto / /
