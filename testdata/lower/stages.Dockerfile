ARG TAG=1
FROM golang:${TAG} AS build
WORKDIR /src
COPY go.* ./
RUN go build -o /app
FROM unused AS never
RUN false
FROM build AS test
RUN go test
FROM scratch
COPY --from=build --chown=1:2 --chmod=755 /app /usr/bin/
COPY --from=2 /report /report
COPY --from=nginx /etc/nginx /etc/nginx/
ENTRYPOINT ["/usr/bin/app"]
