//! What people wrote into the previous manifest by hand.

use std::collections::BTreeSet;
use std::fmt;

use crate::bytes::PolicyHash;
use crate::identity::Identity;
use crate::manifest::Manifest;
use crate::policy::PolicyEntry;
use crate::reference::SnpReference;

/// Something taken over from the previous manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedEdit {
    /// Where it stands now.
    pub path: String,
    /// The workload it belongs to; `None` for reference values.
    pub identity: Option<Identity>,
    /// What was taken over.
    pub field: CarriedField,
}

/// What was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CarriedField {
    /// A name that rendering did not produce.
    San(String),
    /// The name of the workload's secret, which decides about data at rest.
    WorkloadSecretId(String),
    /// Reference values that the platform leaves open.
    ReferenceValues {
        /// The platform.
        platform: String,
        /// Number of vCPUs.
        cpus: u32,
    },
}

impl fmt::Display for CarriedEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.field, &self.identity) {
            (CarriedField::San(san), Some(identity)) => {
                write!(
                    f,
                    "{identity} keeps the name {san:?} of the previous manifest"
                )
            }
            (CarriedField::WorkloadSecretId(id), Some(identity)) => {
                write!(
                    f,
                    "{identity} keeps the WorkloadSecretID {id:?} of the previous manifest"
                )
            }
            (CarriedField::ReferenceValues { platform, cpus }, _) => write!(
                f,
                "reference values of {platform} with {cpus} vCPUs are those of the previous manifest"
            ),
            (CarriedField::San(value) | CarriedField::WorkloadSecretId(value), None) => {
                write!(f, "{value:?} is kept from the previous manifest")
            }
        }
    }
}

impl Manifest {
    /// Takes over what a person changed in `previous`: names, secret names and reference values
    /// that rendering left open. Entries are found by [`Identity`]; an entry of the v0.8 list form,
    /// which has none, by its first name, where that is the name of one workload only.
    ///
    /// `settled` are the policies whose secret name the user gave in this rendering: it stays.
    pub fn carry_from(
        &mut self,
        previous: &Self,
        settled: &BTreeSet<PolicyHash>,
    ) -> Vec<CarriedEdit> {
        let mut edits = Vec::new();
        let identities: Vec<Identity> = self
            .policies
            .values()
            .filter_map(|entry| entry.identity.clone())
            .collect();
        for (hash, entry) in &mut self.policies {
            let Some(identity) = entry.identity.clone() else {
                continue;
            };
            let of_same = |old: &&PolicyEntry| match &old.identity {
                Some(old) => *old == identity,
                None => old.sans.first() == Some(&identity.name) && unique(&identities, &identity),
            };
            for old in previous.policies.values().filter(of_same) {
                carry_entry(
                    entry,
                    old,
                    hash,
                    &identity,
                    settled.contains(hash),
                    &mut edits,
                );
            }
        }
        self.carry_references(previous, &mut edits);
        edits
    }

    fn carry_references(&mut self, previous: &Self, edits: &mut Vec<CarriedEdit>) {
        let mut sets = Vec::new();
        for set in std::mem::take(&mut self.reference_values.snp) {
            let old: Vec<&SnpReference> = previous
                .reference_values
                .snp
                .iter()
                .filter(|old| old.key() == set.key() && old.trusted_measurement.is_some())
                .collect();
            if set.trusted_measurement.is_some() || old.is_empty() {
                sets.push(set);
                continue;
            }
            for old in old {
                edits.push(CarriedEdit {
                    path: format!("ReferenceValues.snp[{}]", sets.len()),
                    identity: None,
                    field: CarriedField::ReferenceValues {
                        platform: set.platform.clone(),
                        cpus: set.cpus,
                    },
                });
                sets.push(old.clone());
            }
        }
        self.reference_values.snp = sets;
    }
}

fn carry_entry(
    entry: &mut PolicyEntry,
    old: &PolicyEntry,
    hash: &PolicyHash,
    identity: &Identity,
    secret_is_settled: bool,
    edits: &mut Vec<CarriedEdit>,
) {
    for san in &old.sans {
        if !entry.sans.contains(san) {
            edits.push(CarriedEdit {
                path: format!("Policies.{hash}.SANs[{}]", entry.sans.len()),
                identity: Some(identity.clone()),
                field: CarriedField::San(san.clone()),
            });
            entry.sans.push(san.clone());
        }
    }
    if let (Some(id), false) = (&old.workload_secret_id, secret_is_settled)
        && entry.workload_secret_id.as_ref() != Some(id)
    {
        edits.push(CarriedEdit {
            path: format!("Policies.{hash}.WorkloadSecretID"),
            identity: Some(identity.clone()),
            field: CarriedField::WorkloadSecretId(id.clone()),
        });
        entry.workload_secret_id = Some(id.clone());
    }
}

fn unique(identities: &[Identity], identity: &Identity) -> bool {
    identities
        .iter()
        .filter(|other| other.name == identity.name)
        .count()
        == 1
}

#[cfg(test)]
mod tests;
