# One target per image. The programs are static and come from `cargo xtask images`:
#
#   cargo xtask images
#   docker build --target krm-fn --tag krm-fn target/images/context --file Dockerfile
#
# The programs of confidential pods (coordinator, initializer, mesh) run as root of the guest, because reports
# and the packet filter are root's; the pods drop every capability but NET_ADMIN of the mesh.
#
# PATH and the working directory are facts of the image that a policy pins: they are said here, because the builder's own would
# differ from those of `cargo xtask images`.
#
# An image holds its program and one line for each account: container runtimes look up `nobody` by name
# before they start a function. There is no shell and nothing to write to.

FROM scratch AS krm-fn
LABEL org.opencontainers.image.title="nacre krm-fn" \
      org.opencontainers.image.description="KRM function: makes the workloads of a ResourceList confidential" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY passwd /etc/passwd
COPY nacre-krm-fn /nacre-krm-fn
ENV PATH=/
WORKDIR /
USER 65534:65534
ENTRYPOINT ["/nacre-krm-fn"]

FROM scratch AS post-renderer
LABEL org.opencontainers.image.title="nacre post-renderer" \
      org.opencontainers.image.description="Makes the workloads of a YAML stream confidential" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY passwd /etc/passwd
COPY nacre-post-renderer /nacre-post-renderer
ENV PATH=/
WORKDIR /
USER 65534:65534
ENTRYPOINT ["/nacre-post-renderer"]

FROM scratch AS mesh
LABEL org.opencontainers.image.title="nacre mesh" \
      org.opencontainers.image.description="The mesh sidecar: transparent mutual TLS for a pod" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY passwd /etc/passwd
COPY nacre-mesh /nacre-mesh
ENV PATH=/
WORKDIR /
USER 0:0
ENTRYPOINT ["/nacre-mesh"]

FROM scratch AS cli
LABEL org.opencontainers.image.title="nacre cli" \
      org.opencontainers.image.description="The nacre command" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY passwd /etc/passwd
COPY nacre /nacre
ENV PATH=/
WORKDIR /
USER 65534:65534
ENTRYPOINT ["/nacre"]

FROM scratch AS coordinator
LABEL org.opencontainers.image.title="nacre coordinator" \
      org.opencontainers.image.description="Holds the manifest, verifies workloads and issues their certificates" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY passwd /etc/passwd
COPY nacre-coordinator /nacre-coordinator
ENV PATH=/
WORKDIR /
USER 0:0
ENTRYPOINT ["/nacre-coordinator"]

FROM scratch AS initializer
LABEL org.opencontainers.image.title="nacre initializer" \
      org.opencontainers.image.description="Fetches the certificate of a confidential workload" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY passwd /etc/passwd
COPY nacre-initializer /nacre-initializer
COPY nacre-gate /nacre-gate
ENV PATH=/
WORKDIR /
USER 0:0
ENTRYPOINT ["/nacre-initializer"]
