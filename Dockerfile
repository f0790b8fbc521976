# A static binary in an image without a shell. It runs as 65532, with a read-only root, and writes only to /data.
ARG BUILD_IMAGE=docker.io/library/golang:1.26
ARG RUNTIME_IMAGE=gcr.io/distroless/static:nonroot

FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
RUN --mount=type=cache,target=/root/.cache/go-build \
    mkdir -p /out/data && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/connector ./cmd/connector

FROM ${RUNTIME_IMAGE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="connector" \
      org.opencontainers.image.description="Delivery logs of SaaS providers as events in NATS or Kafka" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /out/connector /usr/local/bin/connector
COPY --from=build --chown=65532:65532 /out/data /data
ENV CONNECTOR_DATA_DIR=/data \
    CONNECTOR_HTTP_ADDR=:8080 \
    CONNECTOR_LOG_FORMAT=json \
    TMPDIR=/data
USER 65532:65532
EXPOSE 8080
VOLUME /data
ENTRYPOINT ["/usr/local/bin/connector"]
CMD ["run"]
