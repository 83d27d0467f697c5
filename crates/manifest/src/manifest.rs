//! The manifest and its canonical form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bytes::{KeyDigest, ManifestHash, PolicyHash, RootDigest};
use crate::error::Error;
use crate::identity::TrustDomain;
use crate::owner::SeedshareOwnerKey;
use crate::policy::PolicyEntry;
use crate::reference::ReferenceValues;
use crate::{read, v08};

/// Version of the format.
pub const API_VERSION: &str = "nacre.dev/v1alpha1";

/// Kind of a manifest that is wrapped as a Kubernetes-style object.
pub const KIND: &str = "Manifest";

/// What a deployment consists of and who may change it.
///
/// Written by the pipeline, set at the Coordinator by an owner, compared by everybody who verifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Manifest {
    /// Authority of the workloads' SPIFFE URIs.
    #[serde(default)]
    pub trust_domain: TrustDomain,
    /// The workloads, by the hash of their policy.
    pub policies: BTreeMap<PolicyHash, PolicyEntry>,
    /// Which machines and guests are accepted.
    pub reference_values: ReferenceValues,
    /// Who may set the next manifest; empty = nobody.
    #[serde(default)]
    pub workload_owner_key_digests: Vec<KeyDigest>,
    /// Who gets a share of the seed and may recover; never changes after the first manifest.
    #[serde(default)]
    pub seedshare_owner_pub_keys: Vec<SeedshareOwnerKey>,
    /// How many workload owners must sign an update.
    #[serde(default = "one")]
    pub update_threshold: u32,
    /// How many seed-share owners must take part in a recovery.
    #[serde(default = "one")]
    pub recovery_threshold: u32,
    /// How many Coordinators must confirm an update.
    #[serde(default = "one")]
    pub coordinator_replicas: u32,
    /// Whether a restarted Coordinator may get the seed from another one.
    #[serde(default)]
    pub peer_recovery: bool,
    /// Whether peer recovery may do without a list of chips.
    #[serde(default)]
    pub allow_any_chip: bool,
    /// Whether certificates of the manifest before this one are accepted by the mesh for workloads
    /// that are in both, until the next update.
    #[serde(rename = "CAOverlap", default)]
    pub ca_overlap: bool,
    /// Workloads of this deployment may trust a Coordinator that they did not attest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_unattested_coordinator: bool,
    /// The first manifest may be set by anybody: the Coordinator instance is not authenticated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure_unbound_first_set: bool,
    /// Root of simulated evidence. [`Manifest::parse`] refuses it; only simulation programs read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_root: Option<RootDigest>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            policies: BTreeMap::new(),
            reference_values: ReferenceValues::default(),
            workload_owner_key_digests: Vec::new(),
            seedshare_owner_pub_keys: Vec::new(),
            update_threshold: 1,
            recovery_threshold: 1,
            coordinator_replicas: 1,
            peer_recovery: false,
            allow_any_chip: false,
            ca_overlap: false,
            allow_unattested_coordinator: false,
            insecure_unbound_first_set: false,
            test_root: None,
        }
    }
}

impl Manifest {
    /// Reads a manifest, plain or wrapped as an object of kind [`KIND`].
    ///
    /// Refused: unknown fields, duplicate keys, upper-case hex, a missing or unknown `apiVersion`,
    /// more than [`crate::MAX_BYTES`], a simulated root.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let manifest = read::manifest(read::json(bytes)?)?;
        match manifest.test_root {
            Some(_) => Err(Error::TestRoot),
            None => Ok(manifest),
        }
    }

    /// Reads a manifest from a value that is already parsed, under the same rules except for
    /// duplicate keys, which a value cannot hold.
    pub fn from_value(value: Value) -> Result<Self, Error> {
        let manifest = read::manifest(value)?;
        match manifest.test_root {
            Some(_) => Err(Error::TestRoot),
            None => Ok(manifest),
        }
    }

    /// Reads a manifest in the list form of Contrast v0.8: it names no identities, and nothing in it
    /// says which Coordinator it is for.
    pub fn parse_v08(bytes: &[u8]) -> Result<Self, Error> {
        v08::manifest(read::json(bytes)?)
    }

    /// The canonical bytes: two spaces, keys sorted, lists without order of their own sorted, a
    /// newline at the end. Equal manifests have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        print(&self.to_value())
    }

    /// The canonical value behind [`Manifest::to_bytes`].
    pub fn to_value(&self) -> Value {
        self.wrapped(Map::new())
    }

    /// The manifest as an object of kind [`KIND`] with this name and these annotations, for
    /// pipelines that carry only such objects.
    pub fn to_object(&self, name: &str, annotations: &BTreeMap<String, String>) -> Value {
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), Value::from(name));
        if !annotations.is_empty() {
            let annotations = annotations
                .iter()
                .map(|(key, value)| (key.clone(), Value::from(value.as_str())));
            metadata.insert(
                "annotations".to_owned(),
                Value::Object(annotations.collect()),
            );
        }
        let mut head = Map::new();
        head.insert("kind".to_owned(), Value::from(KIND));
        head.insert("metadata".to_owned(), Value::Object(metadata));
        self.wrapped(head)
    }

    /// Bytes of [`Manifest::to_object`].
    pub fn to_object_bytes(&self, name: &str, annotations: &BTreeMap<String, String>) -> Vec<u8> {
        print(&self.to_object(name, annotations))
    }

    /// Hash of the canonical bytes.
    pub fn hash(&self) -> ManifestHash {
        ManifestHash::of(&self.to_bytes())
    }

    /// The entries of Coordinators.
    pub fn coordinators(&self) -> impl Iterator<Item = (&PolicyHash, &PolicyEntry)> {
        self.policies
            .iter()
            .filter(|(_, entry)| entry.is_coordinator())
    }

    fn wrapped(&self, head: Map<String, Value>) -> Value {
        let mut object = head;
        object.insert("apiVersion".to_owned(), Value::from(API_VERSION));
        // A struct of strings, numbers and lists always becomes an object.
        if let Ok(Value::Object(fields)) = serde_json::to_value(self.sorted()) {
            object.extend(fields);
        }
        let mut value = Value::Object(object);
        value.sort_all_objects();
        value
    }

    fn sorted(&self) -> Self {
        let mut manifest = self.clone();
        manifest.workload_owner_key_digests.sort_unstable();
        manifest.workload_owner_key_digests.dedup();
        manifest.seedshare_owner_pub_keys.sort_unstable();
        manifest.seedshare_owner_pub_keys.dedup();
        for entry in manifest.policies.values_mut() {
            entry.platforms.sort_unstable();
            entry.platforms.dedup();
        }
        manifest.reference_values.sort();
        manifest
    }
}

/// Pretty-prints with two spaces and a newline at the end.
fn print(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}

fn one() -> u32 {
    1
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
pub(crate) mod tests;
