//! Every name that stands in rendered YAML: annotations, containers, variables, paths, ports.
//!
//! The Contrast v0.8 spellings are kept because people have them in their files and their heads.

/// Prefix of the annotations that Contrast v0.8 reads.
pub const CONTRAST_PREFIX: &str = "contrast.edgeless.systems/";
/// Prefix of our own annotations. Every Contrast name is understood below this prefix as well.
pub const NACRE_PREFIX: &str = "nacre.dev/";

/// Ingress of the mesh: `name#port#disableTLS`, joined by `##`.
pub const INGRESS: &str = "servicemesh-ingress";
/// Egress of the mesh: `name#127.x.y.z:port#host:port`, joined by `##`.
pub const EGRESS: &str = "servicemesh-egress";
/// Port of the mesh's admin interface.
pub const ADMIN_PORT: &str = "servicemesh-admin-interface-port";
/// `"true"` keeps the initializer out of a workload.
pub const SKIP_INITIALIZER: &str = "skip-initializer";
/// Names the secret that the Coordinator derives for the workload.
pub const WORKLOAD_SECRET_ID: &str = "workload-secret-id";
/// `coordinator` marks the Coordinator.
pub const POD_ROLE: &str = "pod-role";
/// More subject alternative names, separated by commas. Ours only.
pub const SANS: &str = "sans";
/// `"true"` wraps the app in the start gate. Ours only.
pub const START_GATE: &str = "start-gate";
/// Seconds between renewals of the certificate, `"0"` for none. Ours only.
pub const RENEW_SECONDS: &str = "renew-seconds";
/// Who may call a port: `<port or *>=<peer>[,…]`. Ours only.
pub const INGRESS_ALLOW: &str = "servicemesh-ingress-allow";
/// Who must answer an egress entry: `<entry>=<peer>[,…]`. Ours only.
pub const EGRESS_PEER: &str = "servicemesh-egress-peer";
/// `allow` lets new inbound UDP through the mesh's filter. Ours only.
pub const INBOUND_UDP: &str = "servicemesh-inbound-udp";
/// `"true"` makes the mesh drop egress that no entry lists. Ours only.
pub const STRICT_EGRESS: &str = "servicemesh-strict-egress";

/// Names understood below both prefixes.
pub const SHARED_ANNOTATIONS: [&str; 6] = [
    INGRESS,
    EGRESS,
    ADMIN_PORT,
    SKIP_INITIALIZER,
    WORKLOAD_SECRET_ID,
    POD_ROLE,
];
/// Names understood below [`NACRE_PREFIX`] only.
pub const OWN_ANNOTATIONS: [&str; 7] = [
    SANS,
    START_GATE,
    RENEW_SECONDS,
    INGRESS_ALLOW,
    EGRESS_PEER,
    INBOUND_UDP,
    STRICT_EGRESS,
];

/// Value of [`POD_ROLE`] for the Coordinator.
pub const ROLE_COORDINATOR: &str = "coordinator";
pub use nacre_meshconfig::{INGRESS_DISABLED, MESH_PORT_MUTUAL, MESH_PORT_SERVER};

/// Image of the initializer that this release injects.
pub const INITIALIZER_IMAGE: &str = concat!(
    "ghcr.io/nacre-dev/nacre/initializer:v",
    env!("CARGO_PKG_VERSION")
);
/// Image of the mesh sidecar that this release injects.
pub const SERVICE_MESH_IMAGE: &str =
    concat!("ghcr.io/nacre-dev/nacre/mesh:v", env!("CARGO_PKG_VERSION"));
/// Image of the Coordinator of this release.
pub const COORDINATOR_IMAGE: &str = concat!(
    "ghcr.io/nacre-dev/nacre/coordinator:v",
    env!("CARGO_PKG_VERSION")
);

/// Prefix of every runtime class in scope, and the placeholder users write.
pub const RUNTIME_CLASS: &str = "contrast-cc";

/// Name of the injected init container.
pub const INITIALIZER: &str = "contrast-initializer";
/// Name of the injected native sidecar.
pub const SERVICE_MESH: &str = "contrast-service-mesh";
/// Name of the injected native sidecar that renews certificates: the initializer's image.
pub const RENEWER: &str = "nacre-renewer";
/// Every container that is injected.
pub const INJECTED: [&str; 3] = [INITIALIZER, RENEWER, SERVICE_MESH];
/// Name of the volume with certificates and keys.
pub const CERTS_VOLUME: &str = "contrast-tls-certs";
/// Where [`CERTS_VOLUME`] is mounted.
pub const CERTS_PATH: &str = "/tls-config";
/// Volume of newer Contrast versions, which nothing fills here.
pub const CONTRAST_SECRETS_VOLUME: &str = "contrast-secrets";
/// The start gate. The initializer puts it there, mode 0555, and nobody else can write the volume.
pub const GATE_PATH: &str = "/tls-config/nacre-gate";

/// Host or `host:port` of the Coordinator.
pub const ENV_COORDINATOR_HOST: &str = "COORDINATOR_HOST";
/// Value of [`ENV_COORDINATOR_HOST`] when the configuration has none.
pub const DEFAULT_COORDINATOR_HOST: &str = "coordinator";
/// Policy hashes of the Coordinators that the initializer may trust: sorted, comma-separated.
pub const ENV_COORDINATOR_POLICY_HASH: &str = "NACRE_COORDINATOR_POLICY_HASH";
/// Canonical reference values of the Coordinator's guest, as JSON on one line.
pub const ENV_COORDINATOR_REFERENCE: &str = "NACRE_COORDINATOR_REFERENCE";
/// `true` where the configuration allows a Coordinator that nothing is known of, or absent.
pub const ENV_ALLOW_UNATTESTED: &str = "NACRE_ALLOW_UNATTESTED_COORDINATOR";
/// Where reports come from, on platforms that have no kernel interface in a container: `coco-aa`.
pub const ENV_EVIDENCE: &str = "NACRE_EVIDENCE";
/// Seconds between two renewals; makes an initializer a renewer.
pub const ENV_RENEW_SECONDS: &str = "NACRE_RENEW_SECONDS";
/// Owners measured into the Coordinator: `<k>:<digest>,…`, digests sorted.
pub const ENV_OWNERS: &str = "NACRE_OWNERS";
/// Ingress annotation, as the mesh reads it.
pub const ENV_INGRESS: &str = "CONTRAST_INGRESS_PROXY_CONFIG";
/// Egress annotation, as the mesh reads it.
pub const ENV_EGRESS: &str = "CONTRAST_EGRESS_PROXY_CONFIG";
/// Admin port annotation, as the mesh reads it.
pub const ENV_ADMIN_PORT: &str = "CONTRAST_ADMIN_PORT";
/// `<port or *>=<spiffe uri or policy hash>`, comma-separated, the entry repeated for each peer.
pub const ENV_INGRESS_ALLOW: &str = "NACRE_MESH_INGRESS_ALLOW";
/// `<egress entry>=<spiffe uri or policy hash>`, comma-separated, the entry repeated for each peer.
pub const ENV_EGRESS_PEER: &str = "NACRE_MESH_EGRESS_PEER";
/// `allow`, or absent.
pub const ENV_INBOUND_UDP: &str = "NACRE_MESH_INBOUND_UDP";
/// `true`, or absent.
pub const ENV_STRICT_EGRESS: &str = "NACRE_MESH_STRICT_EGRESS";

/// Name of the container port of the admin interface.
pub const ADMIN_PORT_NAME: &str = "contrast-admin";

/// Name of the ConfigMap that carries the manifest.
pub const MANIFEST_CONFIG_MAP: &str = "nacre-manifest";
/// Key of the manifest in [`MANIFEST_CONFIG_MAP`], and name of the file.
pub const MANIFEST_KEY: &str = "manifest.json";
/// File of [`MANIFEST_CONFIG_MAP`] in a kpt package.
pub const MANIFEST_PATH: &str = "nacre-manifest.yaml";
/// Pod annotation by which Kata takes another number of vCPUs as the base.
pub const KATA_DEFAULT_VCPUS: &str = "io.katacontainers.config.hypervisor.default_vcpus";
