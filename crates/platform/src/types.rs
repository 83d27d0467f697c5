//! What is known about a platform.

use std::collections::BTreeMap;
use std::fmt;

use nacre_manifest::{GuestPolicy, HostDataBinding, LaunchMeasurement, Product, Tcb};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::RUNTIME_CLASS_PREFIX;

/// A kind of cluster node and guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Platform {
    /// Name, lower case, for example `metal-qemu-snp`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// The facts. The runtime class is named after them, so a change makes a new one.
    pub data: PlatformData,
    /// How nodes get the runtime. Not part of the runtime class's name: it can be replaced in place.
    pub runtime: Runtime,
    /// Where the facts come from.
    pub sources: Sources,
}

/// The facts about a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlatformData {
    /// Handler that the runtime class points to.
    pub runtime_handler: String,
    /// How the policy reaches the guest.
    pub carrier: Carrier,
    /// Processor lines the platform runs on.
    pub products: Vec<Product>,
    /// Least TCB where a default is known.
    pub minimum_tcb: BTreeMap<Product, Tcb>,
    /// Launch measurements where they are known.
    pub measurements: Vec<Measurement>,
    /// Guest policy that guests are started with.
    pub guest_policy: GuestPolicy,
    /// What the guest does about a policy other than the one in `HOST_DATA`.
    pub host_data_binding: HostDataBinding,
    /// Where a container gets a report from.
    pub evidence: Evidence,
    /// How image layers reach the guest.
    pub image_delivery: ImageDelivery,
    /// Whether the measured guest drops inbound traffic until the mesh lifts that.
    pub guest_default_deny: bool,
    /// Size of a guest without resource limits.
    pub vm: Vm,
    /// Known trouble with annotations.
    pub annotation_quirks: Vec<AnnotationQuirk>,
}

/// What the cluster needs before a pod of the platform can start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Runtime {
    /// Resources of a pod besides those of its containers, as Kubernetes quantities by name.
    pub overhead: BTreeMap<String, String>,
    /// Labels of nodes that can run the pods.
    pub node_selector: BTreeMap<String, String>,
    /// What puts the handler on nodes; none where the node pool brings it.
    #[serde(default)]
    pub installer: Option<Installer>,
    /// Where these facts come from.
    pub source: String,
}

/// Kata's own installer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Installer {
    /// Image with tag and digest.
    pub image: String,
    /// What the guest that the image brings does about a policy other than the one in `HOST_DATA`.
    pub host_data_binding: HostDataBinding,
    /// The installer's name for the configuration, for example `qemu-snp`.
    pub shim: String,
    /// Folder of containerd's configuration on a node.
    pub containerd_configuration: String,
}

/// Where each fact of [`PlatformData`] comes from, by the name of the fact.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Sources(BTreeMap<String, String>);

impl Sources {
    /// The source of a fact, by its name in the data file (`minimumTcb`).
    pub fn of(&self, fact: &str) -> Option<&str> {
        self.0.get(fact).map(String::as_str)
    }

    /// Every fact with its source.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(fact, source)| (fact.as_str(), source.as_str()))
    }
}

/// How a policy reaches the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// Annotation `io.katacontainers.config.agent.policy`: base64 of the policy text.
    AgentPolicy,
    /// Annotation `io.katacontainers.config.hypervisor.cc_init_data`: base64 of the gzipped initdata.
    #[serde(rename = "initdata")]
    InitData,
}

impl Carrier {
    /// The name in the data file and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentPolicy => "agent-policy",
            Self::InitData => "initdata",
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A known launch measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measurement {
    /// Processor line.
    pub product: Product,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// The launch digest.
    pub measurement: LaunchMeasurement,
}

/// Where a container gets a report from, and what it needs for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evidence {
    /// The interface.
    pub source: EvidenceSource,
    /// Who can use it.
    pub reach: EvidenceReach,
    /// User the initializer must run as to use it.
    pub user: u32,
    /// Device node in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Directory in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Address of a service on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Guest kernel parameter that the source needs; part of the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_parameter: Option<String>,
}

/// Interface that gives reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceSource {
    /// Kernel interface configfs-tsm.
    Configfs,
    /// Device `/dev/sev-guest`.
    SevGuest,
    /// REST endpoint of CoCo's attestation agent.
    CocoAa,
}

/// Who can reach the source of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceReach {
    /// The guest gives it to every container: nothing is injected, and `verify` names it.
    EveryContainer,
    /// Only a container that is given the device or path in its pod spec.
    Injected,
}

/// How image layers reach the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageDelivery {
    /// The guest pulls images by digest.
    GuestPull,
    /// The host attaches layers as dm-verity devices, whose root hashes the policy names.
    Tardev,
}

/// Size of a guest without resource limits, and how limits change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vm {
    /// vCPUs of a guest whose pod has no CPU limits, and base on which limits are added.
    pub default_vcpus: u32,
    /// Memory of a guest whose pod has no memory limits, in MiB.
    #[serde(rename = "defaultMemoryMiB")]
    pub default_memory_mib: u32,
    /// Whether the guest gets its final size from the pod spec before it starts.
    pub static_sizing: bool,
}

/// Known trouble with annotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AnnotationQuirk {
    /// k3s passes Kata's annotations on only if its containerd template lists them.
    #[serde(rename = "containerd-config-of-k3s")]
    ContainerdConfigOfK3s,
}

impl Platform {
    /// Name of the runtime class: `contrast-cc-<platform>-<first 8 hex of SHA-256 of the data>`.
    pub fn runtime_class_name(&self) -> String {
        format!("{RUNTIME_CLASS_PREFIX}-{}-{}", self.name, self.data_hash())
    }

    /// Handler of an installation of its own, beside those of other versions:
    /// `<handler>-<first 8 hex of SHA-256 of the data>`.
    pub fn versioned_handler(&self) -> String {
        format!("{}-{}", self.data.runtime_handler, self.data_hash())
    }

    /// The first eight hex digits of the SHA-256 of the canonical JSON of the facts.
    pub fn data_hash(&self) -> String {
        let mut value = serde_json::to_value(&self.data).unwrap_or_default();
        value.sort_all_objects();
        let digest = Sha256::digest(value.to_string().as_bytes());
        digest
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
