//! The list form of Contrast v0.8, read only.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::bytes::{KeyDigest, LaunchMeasurement, PolicyHash};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::owner::SeedshareOwnerKey;
use crate::policy::PolicyEntry;
use crate::read;
use crate::reference::{Product, ReferenceValues, SnpReference, Tcb};

/// The only platform of v0.8.
const PLATFORM: &str = "aks-clh-snp";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Old {
    policies: BTreeMap<PolicyHash, Vec<String>>,
    reference_values: OldReferences,
    #[serde(default)]
    workload_owner_key_digests: Vec<KeyDigest>,
    #[serde(default)]
    seedshare_owner_pub_keys: Vec<SeedshareOwnerKey>,
}

/// Reference values, at the top or below the name of the platform.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldReferences {
    #[serde(rename = "SNP")]
    snp: Option<OldSnp>,
    #[serde(rename = "TrustedMeasurement")]
    measurement: Option<LaunchMeasurement>,
    aks: Option<OldPlatform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldPlatform {
    #[serde(rename = "SNP")]
    snp: OldSnp,
    #[serde(rename = "TrustedMeasurement")]
    measurement: Option<LaunchMeasurement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldSnp {
    #[serde(rename = "MinimumTCB")]
    minimum_tcb: Tcb,
}

/// Whether the fields are those of the list form: policies whose values are lists.
pub(crate) fn looks_like(object: &Map<String, Value>) -> bool {
    let policies = object.get("Policies").and_then(Value::as_object);
    policies.is_some_and(|policies| !policies.is_empty() && policies.values().all(Value::is_array))
}

/// Reads the list form.
///
/// v0.8 knew one measurement for every number of vCPUs; it is listed under one vCPU.
pub(crate) fn manifest(value: Value) -> Result<Manifest, Error> {
    if !value.is_object() {
        return Err(Error::NotAnObject);
    }
    let old: Old = read::fields(value)?;
    let policies = old.policies.into_iter().map(|(hash, sans)| {
        (
            hash,
            PolicyEntry {
                sans,
                ..PolicyEntry::default()
            },
        )
    });
    let references = match old.reference_values {
        OldReferences {
            snp: None,
            measurement: None,
            aks: None,
        } => None,
        OldReferences {
            snp,
            measurement,
            aks: None,
        } => Some((
            snp.map(|snp| snp.minimum_tcb).unwrap_or_default(),
            measurement,
        )),
        OldReferences {
            snp: None,
            measurement: None,
            aks: Some(aks),
        } => Some((aks.snp.minimum_tcb, aks.measurement)),
        OldReferences { aks: Some(_), .. } => {
            return Err(Error::Field {
                path: "ReferenceValues".to_owned(),
                reason: "values stand both at the top and below aks".to_owned(),
            });
        }
    };
    let snp = references.map(|(minimum_tcb, trusted_measurement)| SnpReference {
        minimum_tcb,
        trusted_measurement,
        ..SnpReference::new(PLATFORM, Product::Milan, 1)
    });
    Ok(Manifest {
        policies: policies.collect(),
        reference_values: ReferenceValues {
            snp: snp.into_iter().collect(),
        },
        workload_owner_key_digests: old.workload_owner_key_digests,
        seedshare_owner_pub_keys: old.seedshare_owner_pub_keys,
        ..Manifest::default()
    })
}
