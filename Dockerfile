# Two images from one file:
#   docker build --target worker   -t routemq .
#   docker build --target operator -t routemq-operator .
#   docker build --target worker   -t routemq --build-arg PROFILED=yes .   # built twice, by what it does: docs/performance.md
# Multi-arch: docker buildx build --platform linux/amd64,linux/arm64 …
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked -p routemq-operator --bin routemq-operator \
 && mkdir /out && cp target/release/routemq-operator /out/
ARG PROFILED=
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    if [ -z "$PROFILED" ]; then \
      cargo build --release --locked -p routemq-worker --no-default-features --features jemalloc,kubernetes --bin routemq \
   && cp target/release/routemq /out/; \
    else \
      apt-get update && apt-get install -y --no-install-recommends mosquitto mosquitto-clients python3 \
   && rustup component add llvm-tools \
   && tests/bench/profile routemq \
   && cp target/profiled/routemq /out/; \
    fi

# Shared libraries and certificates, no shell, a numeric user that is not root.
FROM gcr.io/distroless/cc-debian12:nonroot AS operator
COPY --from=build /out/routemq-operator /usr/local/bin/routemq-operator
# Heaps of glibc: a thread more is no reason for one more.
ENV MALLOC_ARENA_MAX=2
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/routemq-operator"]

FROM gcr.io/distroless/cc-debian12:nonroot AS worker
COPY --from=build /out/routemq /usr/local/bin/routemq
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/routemq"]
CMD ["run", "/etc/routemq/routes"]
