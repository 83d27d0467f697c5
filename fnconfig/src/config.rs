//! The fields of the configuration.

use std::collections::{BTreeMap, BTreeSet};

use nacre_imagelock::ImageLock;
use nacre_manifest::{
    Identity, KeyDigest, PolicyHash, Profile, ReferenceOverride, ReferenceValues,
    SeedshareOwnerKey, TrustDomain,
};
use serde_json::{Value, json};

use crate::check;
use crate::error::{ConfigError, Reason};
use crate::flat;
use crate::object::{ConfigValue, Field, Reader};
use crate::references::References;
use crate::selector::Selector;
use crate::values::choice;

/// Version of the format.
pub const API_VERSION: &str = "nacre.dev/v1alpha1";

/// Kind of the object.
pub const KIND: &str = "Confidential";

/// Said of an unknown name in a ConfigMap.
const CONFIG_MAP_FORM: &str =
    ": a ConfigMap is read as a flat configuration, its keys are names of fields";

config_object! {
    /// The one configuration of every program that renders: the function, the post-renderer and `nacre`.
    pub struct Confidential {
        /// Platform of workloads whose runtime class names none.
        platform: Option<String> as "platform", also "reference-values";
        /// Namespace of objects that have none. Without it they are in `default`, with a warning; in Helm
        /// mode and with `strict` that is an error.
        namespace: Option<String> as "namespace";
        /// Whether open points are errors: missing reference values, absent namespaces, a guest that does
        /// not enforce its policy.
        strict: bool as "strict";
        /// Whether no initializer is injected anywhere.
        skip_initializer: bool as "skipInitializer";
        /// Whether no service mesh sidecar is injected anywhere.
        skip_service_mesh: bool as "skipServiceMesh";
        /// Workloads to be made confidential besides those that name the placeholder runtime class.
        selectors: Vec<Selector> as "selectors";
        /// Custom resources that hold a pod template.
        custom_resources: Vec<CustomResource> as "customResources";
        /// The Coordinator that the workloads attest.
        coordinator: Coordinator as "coordinator";
        /// Whether workloads may trust a Coordinator that they do not attest. Stands in the manifest.
        allow_unattested_coordinator: bool as "allowUnattestedCoordinator";
        /// Whether anybody may set the first manifest. Stands in the manifest, and every verdict says so.
        insecure_unbound_first_set: bool as "insecureUnboundFirstSet";
        /// Authority of the workloads' SPIFFE URIs.
        trust_domain: TrustDomain as "trustDomain", default TrustDomain::default() => "`nacre.local`";
        /// Who may set the next manifest: elliptic-curve public keys, or SHA-256 of their
        /// SubjectPublicKeyInfo.
        workload_owners: Vec<KeyDigest> as "workloadOwners", also "workload-owner";
        /// Who gets a share of the seed and may recover the Coordinator: RSA public keys, as PEM or as hex
        /// of the PKCS#1 encoding.
        seedshare_owners: Vec<SeedshareOwnerKey> as "seedshareOwners", also "seedshare-owner";
        /// Whether the manifest can never be replaced; takes the place of workload owners.
        disable_updates: bool as "disableUpdates";
        /// How many workload owners must sign an update, at most 32.
        update_threshold: u32 as "updateThreshold", default 1 => "1";
        /// How many seed-share owners must take part in a recovery, at most 32.
        recovery_threshold: u32 as "recoveryThreshold", default 1 => "1";
        /// How many Coordinators must confirm an update.
        coordinator_replicas: u32 as "coordinatorReplicas", default 1 => "1";
        /// Whether a restarted Coordinator may get the seed from another one.
        peer_recovery: bool as "peerRecovery";
        /// Whether peer recovery may do without `allowedChipIds`.
        allow_any_chip: bool as "allowAnyChip";
        /// Whether certificates of the manifest before the current one stay good in the mesh until the next
        /// update, for workloads that are in both.
        ca_overlap: bool as "caOverlap";
        /// Images to inject instead of those of this release.
        images: Images as "images";
        /// The image lock, given inline.
        image_lock: Option<ImageLock> as "imageLock";
        /// Reference values that replace those of the platform, general ones first.
        reference_values: Vec<References> as "referenceValues";
        /// Names to be added to certificates, by workload.
        sans: BTreeMap<Identity, Vec<String>> as "sans";
        /// Policies.
        policy: PolicySettings as "policy";
        /// Whether the command of mesh workloads is wrapped so that it waits for certificates and the mesh,
        /// for guests that do not drop inbound traffic themselves.
        start_gate: bool as "startGate";
        /// Seconds between renewals of each workload's certificate by a sidecar, 10 to 2592000 (30 days); 0
        /// injects none, and certificates are renewed by restarting the pod. The annotation
        /// `nacre.dev/renew-seconds` goes before it.
        renew_seconds: u32 as "renewSeconds", default 0 => "0";
        /// What becomes of the manifest.
        manifest: ManifestSettings as "manifest";
        /// Whether each policy is tried against the requests of its own pod before it is given out.
        self_check: bool as "selfCheck", default true => "true";
    }
}

config_object! {
    /// A custom resource that holds a pod template.
    pub struct CustomResource {
        /// Group and version, for example `batch.example.com/v1`.
        api_version: String as "apiVersion", required true;
        /// Kind.
        kind: String as "kind", required true;
        /// Where the pod template stands, for example `spec.template`.
        pod_template: String as "podTemplate", required true;
    }
}

config_object! {
    /// The Coordinator that the workloads attest.
    pub struct Coordinator {
        /// Name it is reached under.
        host: String as "host", default "coordinator".to_owned() => "`coordinator`";
        /// Policies of accepted Coordinators, where none is rendered along.
        policy_hashes: Vec<PolicyHash> as "policyHashes", also "coordinator-policy-hash";
        /// Reference values of accepted Coordinators, where none is rendered along; the platform's
        /// otherwise.
        reference: Option<ReferenceValues> as "reference";
    }
}

config_object! {
    /// Images to inject.
    pub struct Images {
        /// The initializer.
        initializer: Option<String> as "initializer";
        /// The service mesh sidecar.
        service_mesh: Option<String> as "serviceMesh";
        /// The Coordinator.
        coordinator: Option<String> as "coordinator";
    }
}

config_object! {
    /// Policies.
    pub struct PolicySettings {
        /// How much the host may see: nothing, the output of containers, or everything (for development).
        profile: Profile as "profile", default Profile::Strict => "`strict`";
        /// Versions of Kubernetes, containerd and Kata that the policies are for.
        target: Option<String> as "target";
        /// Environment variables with a special meaning (`PATH`, `LD_…`, `…_PROXY`) that may come from a
        /// Secret, that is: from the host.
        allow_secret_env: Vec<String> as "allowSecretEnv";
    }
}

config_object! {
    /// What becomes of the manifest.
    pub struct ManifestSettings {
        /// Form in which the function adds it to its output: a ConfigMap, an object that is the manifest
        /// itself, or not at all.
        output: ManifestOutput as "output", default ManifestOutput::ConfigMap => "`configMap`";
        /// Path of the file: that of the item in kpt, that of `manifest.json` elsewhere.
        path: Option<String> as "path", also "manifest-out";
        /// Whether the ConfigMap is to be applied to the cluster instead of staying in the package.
        emit_config_map: bool as "emitConfigMap";
    }
}

/// Form in which the function adds the manifest to its output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ManifestOutput {
    /// A ConfigMap with the key `manifest.json`.
    #[default]
    ConfigMap,
    /// An object of kind `Manifest`.
    Json,
    /// Not at all.
    None,
}

choice!(
    ManifestOutput,
    "configMap" => Self::ConfigMap,
    "json" => Self::Json,
    "none" => Self::None
);

impl Confidential {
    /// Reads a `Confidential` object, or a ConfigMap whose entries are flat names (see
    /// [`crate::flat_names`]).
    ///
    /// Strict: an unknown field is an error. All mistakes are returned.
    pub fn from_value(value: &Value) -> Result<Self, Vec<ConfigError>> {
        let mut config = Self::default();
        let mut reader = Reader::default();
        match kind_of(value) {
            Ok(ObjectKind::Confidential) => config.read_object(value, &mut reader),
            Ok(ObjectKind::ConfigMap) => {
                let entries = flat::config_map(value, &mut reader);
                config.read_flat(&entries, &mut reader);
                for error in &mut reader.errors {
                    if error.reason == Reason::UnknownField {
                        // Another ConfigMap than was meant, most likely.
                        error.message.push_str(CONFIG_MAP_FORM);
                    }
                }
            }
            Err(error) => return Err(vec![error]),
        }
        config.checked(reader)
    }

    /// The configuration with these flat entries (flags, ConfigMap entries) laid over it.
    pub fn merge_overrides(
        self,
        entries: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut config = self;
        let mut reader = Reader::default();
        config.read_flat(entries, &mut reader);
        config.checked(reader)
    }

    /// The flat entries among environment variables: `NACRE_SKIP_INITIALIZER` is `skip-initializer`.
    /// Variables that name no field are left out, because programs have variables of their own.
    pub fn entries_from_env<'v>(
        variables: impl IntoIterator<Item = (&'v str, &'v str)>,
    ) -> BTreeMap<String, String> {
        let names: BTreeSet<String> = flat::flat_names().into_iter().collect();
        variables
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name
                    .strip_prefix("NACRE_")?
                    .to_ascii_lowercase()
                    .replace('_', "-");
                names.contains(&name).then(|| (name, value.to_owned()))
            })
            .collect()
    }

    /// JSON Schema (draft 2020-12) of the object.
    pub fn json_schema() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://nacre.dev/schema/v1alpha1/confidential.json",
            "title": KIND,
            "type": "object",
            "additionalProperties": false,
            "required": ["apiVersion", "kind"],
            "properties": {
                "apiVersion": { "const": API_VERSION },
                "kind": { "const": KIND },
                "metadata": { "type": "object" },
                "spec": Self::schema(),
            },
        })
    }

    /// Reference values given here, in the form that a platform's are overlaid with.
    pub fn reference_overrides(&self) -> Vec<ReferenceOverride> {
        self.reference_values
            .iter()
            .map(References::to_override)
            .collect()
    }

    fn read_object(&mut self, value: &Value, reader: &mut Reader) {
        let Value::Object(object) = value else {
            return;
        };
        for key in object.keys() {
            if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "spec") {
                let known = Self::fields().iter().any(|field| field.key == key);
                let suggestion = match known {
                    true => Some(format!("spec.{key}")),
                    false => flat::closest(key, ["metadata", "spec"]).map(str::to_owned),
                };
                reader.within(key, |reader| {
                    reader.error_with(Reason::UnknownField, "unknown field", suggestion);
                });
            }
        }
        if let Some(spec) = object.get("spec") {
            reader.within("spec", |reader| self.update(spec, reader));
        }
    }

    fn read_flat(&mut self, entries: &BTreeMap<String, String>, reader: &mut Reader) {
        let spec = flat::nested(entries, reader);
        self.update(&spec, reader);
    }

    fn checked(self, mut reader: Reader) -> Result<Self, Vec<ConfigError>> {
        if reader.errors.is_empty() {
            check::all(&self, &mut reader);
        }
        match reader.errors.is_empty() {
            true => Ok(self),
            false => Err(reader.errors),
        }
    }
}

/// The fields, for the documentation and the flat names.
pub(crate) fn fields() -> &'static [Field] {
    Confidential::fields()
}

enum ObjectKind {
    Confidential,
    ConfigMap,
}

fn kind_of(value: &Value) -> Result<ObjectKind, ConfigError> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        (API_VERSION, KIND) => Ok(ObjectKind::Confidential),
        ("v1", "ConfigMap") => Ok(ObjectKind::ConfigMap),
        (version, KIND) => Err(ConfigError {
            path: "apiVersion".to_owned(),
            message: format!("{version:?} is not known"),
            suggestion: Some(format!("write {API_VERSION}")),
            known: Vec::new(),
            reason: Reason::WrongKind,
        }),
        (version, kind) => Err(ConfigError {
            path: "kind".to_owned(),
            message: format!("{version:?} {kind:?} is no configuration"),
            suggestion: Some(format!("use kind {KIND} of {API_VERSION}, or a ConfigMap")),
            known: Vec::new(),
            reason: Reason::WrongKind,
        }),
    }
}

#[cfg(test)]
mod tests;
