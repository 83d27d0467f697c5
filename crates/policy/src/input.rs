//! What a policy is made from.

use nacre_imagelock::Entry;
use nacre_manifest::Profile;
use serde_json::Value;

use crate::target::Target;

/// One workload as it will be applied: its finished pod template and what that refers to.
///
/// The look-ups are functions so that a caller with ten thousand objects need not copy them.
/// [`WorkloadInput::new`] fills everything that has a default; the other fields are set directly.
#[derive(Clone, Copy)]
pub struct WorkloadInput<'a> {
    /// `apiVersion` of the object that holds the pod template.
    pub api_version: &'a str,
    /// `kind` of that object; it decides the shape of the pod's name.
    pub kind: &'a str,
    /// `metadata.name` of that object.
    pub name: &'a str,
    /// Its namespace; `None` is read as `default`.
    pub namespace: Option<&'a str>,
    /// `metadata` of the pod template (labels and annotations); `Null` if it has none.
    pub pod_metadata: &'a Value,
    /// The pod's `spec` with everything injected and every image pinned.
    pub pod_spec: &'a Value,
    /// Where `pod_spec` stands in the object, for findings (`spec.template.spec`).
    pub pod_spec_path: &'a str,
    /// `metadata.name` and such of a StatefulSet's `spec.volumeClaimTemplates`, in order.
    pub volume_claim_templates: &'a [String],
    /// Whether the pods are those of a Job with `completionMode: Indexed`: the controller gives each a
    /// host name and a variable of its own.
    pub indexed: bool,
    /// `automountServiceAccountToken` of the pod's ServiceAccount, `true` where it says nothing; `None`
    /// if it is not in the rendered set. The pod's own field wins.
    pub automount: Option<bool>,
    /// The lock entry of an image reference as it stands in `pod_spec`.
    pub images: &'a dyn Fn(&str) -> Option<&'a Entry>,
    /// A rendered ConfigMap of the same namespace, the whole object.
    pub config_maps: &'a dyn Fn(&str) -> Option<&'a Value>,
    /// The key names of a rendered Secret of the same namespace. Never values.
    pub secret_keys: &'a dyn Fn(&str) -> Option<Vec<String>>,
    /// Services of the rendered set (all namespaces; others than the workload's are ignored).
    pub services: &'a [ServiceRef],
    /// Which runtimes the policy has to fit.
    pub target: &'a Target,
    /// How much the host may see.
    pub profile: Profile,
    /// Weak spots that are warnings otherwise become errors.
    pub strict: bool,
    /// Names of environment variables with a special meaning (`PATH`, `LD_…`, `…_PROXY`) that
    /// may come from a Secret, that is: from the host.
    pub allow_secret_env: &'a [String],
    /// Which containers are ours, and what only they may reach.
    pub injected: Injected<'a>,
}

impl<'a> WorkloadInput<'a> {
    /// An input with nothing to look anything up in.
    pub fn new(
        (api_version, kind, name): (&'a str, &'a str, &'a str),
        pod_metadata: &'a Value,
        pod_spec: &'a Value,
        target: &'a Target,
    ) -> Self {
        Self {
            api_version,
            kind,
            name,
            namespace: None,
            pod_metadata,
            pod_spec,
            pod_spec_path: "spec",
            volume_claim_templates: &[],
            indexed: false,
            automount: None,
            images: &|_| None,
            config_maps: &|_| None,
            secret_keys: &|_| None,
            services: &[],
            target,
            profile: Profile::Strict,
            strict: false,
            allow_secret_env: &[],
            injected: Injected::default(),
        }
    }

    /// The namespace, `default` if none is given.
    pub fn namespace(&self) -> &'a str {
        self.namespace.unwrap_or("default")
    }
}

/// A Service of the rendered set, as far as it shows in a container's environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceRef {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` if absent.
    pub namespace: String,
    /// `spec.ports`, in order.
    pub ports: Vec<ServicePort>,
    /// Whether `spec.clusterIP` is `None` or `spec.type` is `ExternalName`: no variables then.
    pub headless: bool,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort {
    /// `name`, if it has one.
    pub name: Option<String>,
    /// `port`.
    pub port: u16,
    /// `protocol`: `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// The containers this project put into the pod, and the source of attestation reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected<'a> {
    /// Name of the initializer's container.
    pub initializer: Option<&'a str>,
    /// Name of the container that renews what the initializer got.
    pub renewer: Option<&'a str>,
    /// Name of the mesh sidecar's container.
    pub mesh: Option<&'a str>,
    /// The pod is the Coordinator's: each of its containers counts as ours.
    pub coordinator: bool,
    /// Paths in the guest from which a report can be had (`/dev/sev-guest`,
    /// `/sys/kernel/config`, …): data of the platform, and the paths through which another process's view of
    /// the guest is reached (`/proc`). Only our own containers may mount them, or what is above or below.
    pub report_sources: &'a [&'a str],
    /// Capabilities, without `CAP_`, with which a container gets at a report. Only our own may have them.
    pub report_capabilities: &'a [&'a str],
    /// Volumes that must be guest memory (the certificates' volume).
    pub guest_memory_volumes: &'a [&'a str],
}

impl Injected<'_> {
    /// Whether this container is one of ours.
    pub fn contains(&self, container: &str) -> bool {
        self.coordinator || [self.initializer, self.renewer, self.mesh].contains(&Some(container))
    }
}
