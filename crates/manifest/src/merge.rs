//! Several manifests into one.

use std::collections::BTreeMap;

use crate::bytes::PolicyHash;
use crate::identity::Identity;
use crate::manifest::Manifest;
use crate::reference::SnpReference;

/// A manifest and what to call it in a message, for example its file.
#[derive(Debug, Clone, Copy)]
pub struct MergeSource<'a> {
    /// Its name.
    pub name: &'a str,
    /// The manifest.
    pub manifest: &'a Manifest,
}

/// Two manifests that say different things about the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} differs: {first} says {first_value}, {second} says {second_value}")]
pub struct MergeConflict {
    /// The field.
    pub path: String,
    /// Name of the first manifest.
    pub first: String,
    /// What it says.
    pub first_value: String,
    /// Name of the other manifest.
    pub second: String,
    /// What that one says.
    pub second_value: String,
}

/// The union of the workloads and reference values of several manifests.
///
/// Everything that decides about authority (owners, thresholds, trust domain, switches) must be the
/// same in all of them; a workload or a reference value in two of them must be the same in both.
pub fn merge(sources: &[MergeSource<'_>]) -> Result<Manifest, Vec<MergeConflict>> {
    let Some((first, rest)) = sources.split_first() else {
        return Ok(Manifest::default());
    };
    let mut union = Union::new(*first);
    for source in rest {
        union.settings(*source);
        union.policies(*source);
        union.references(*source);
    }
    if union.conflicts.is_empty() {
        Ok(union.merged)
    } else {
        Err(union.conflicts)
    }
}

struct Union<'a> {
    merged: Manifest,
    first: MergeSource<'a>,
    policy_sources: BTreeMap<PolicyHash, &'a str>,
    identities: BTreeMap<Identity, PolicyHash>,
    reference_sources: Vec<&'a str>,
    conflicts: Vec<MergeConflict>,
}

impl<'a> Union<'a> {
    fn new(first: MergeSource<'a>) -> Self {
        let manifest = first.manifest;
        let identities = manifest
            .policies
            .iter()
            .filter_map(|(hash, entry)| entry.identity.clone().map(|identity| (identity, *hash)));
        Self {
            merged: manifest.clone(),
            first,
            policy_sources: manifest
                .policies
                .keys()
                .map(|hash| (*hash, first.name))
                .collect(),
            identities: identities.collect(),
            reference_sources: vec![first.name; manifest.reference_values.snp.len()],
            conflicts: Vec::new(),
        }
    }

    /// Compares everything but policies and reference values, as it would be written.
    fn settings(&mut self, source: MergeSource<'a>) {
        let settings = |manifest: &Manifest| {
            let bare = Manifest {
                policies: BTreeMap::new(),
                reference_values: crate::ReferenceValues::default(),
                ..manifest.clone()
            };
            bare.to_value()
        };
        let (one, other) = (settings(self.first.manifest), settings(source.manifest));
        let fields = [&one, &other]
            .into_iter()
            .filter_map(|value| value.as_object());
        let names: std::collections::BTreeSet<&String> =
            fields.flat_map(|object| object.keys()).collect();
        for name in names {
            let (here, there) = (one.get(name), other.get(name));
            if here != there {
                let text = |value: Option<&serde_json::Value>| {
                    value.map_or_else(|| "nothing".to_owned(), ToString::to_string)
                };
                self.conflict(
                    name.clone(),
                    self.first.name,
                    text(here),
                    source.name,
                    text(there),
                );
            }
        }
    }

    fn policies(&mut self, source: MergeSource<'a>) {
        for (hash, entry) in &source.manifest.policies {
            if let Some(known) = self.merged.policies.get(hash) {
                if known != entry {
                    let first = self.policy_sources.get(hash).copied().unwrap_or_default();
                    let (here, there) = (json(known), json(entry));
                    self.conflict(format!("Policies.{hash}"), first, here, source.name, there);
                }
                continue;
            }
            if let Some(identity) = &entry.identity {
                // Two Coordinators may stand side by side during an upgrade.
                if let Some(other) = self.identities.get(identity).copied()
                    && !entry.is_coordinator()
                {
                    let first = self.policy_sources.get(&other).copied().unwrap_or_default();
                    let (here, there) = (other.to_string(), hash.to_string());
                    let path = format!("policy of {identity}");
                    self.conflict(path, first, here, source.name, there);
                    continue;
                }
                self.identities.insert(identity.clone(), *hash);
            }
            self.policy_sources.insert(*hash, source.name);
            self.merged.policies.insert(*hash, entry.clone());
        }
    }

    fn references(&mut self, source: MergeSource<'a>) {
        for set in &source.manifest.reference_values.snp {
            let same = |known: &SnpReference| {
                known.key() == set.key() && known.trusted_measurement == set.trusted_measurement
            };
            let known = &self.merged.reference_values.snp;
            match known
                .iter()
                .zip(&self.reference_sources)
                .find(|(known, _)| same(known))
            {
                None => {
                    self.merged.reference_values.snp.push(set.clone());
                    self.reference_sources.push(source.name);
                }
                Some((known, _)) if known == set => {}
                Some((known, first)) => {
                    let (platform, product, cpus) = set.key();
                    let path =
                        format!("reference values of {platform} on {product} with {cpus} vCPUs");
                    let (here, there, first) = (json(known), json(set), *first);
                    self.conflict(path, first, here, source.name, there);
                }
            }
        }
    }

    fn conflict(
        &mut self,
        path: String,
        first: &str,
        first_value: String,
        second: &str,
        second_value: String,
    ) {
        self.conflicts.push(MergeConflict {
            path,
            first: first.to_owned(),
            first_value,
            second: second.to_owned(),
            second_value,
        });
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
