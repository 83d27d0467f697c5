//! The history as meaning: what changed from each manifest to the next.

use std::collections::BTreeMap;

use nacre_attest::Timestamp;
use nacre_history::History;
use nacre_manifest::{KeyDigest, Manifest, ManifestHash, PolicyHash, TransitionHash};
use nacre_review::diff::{self, Diff};
use serde::Serialize;

use super::Question;
use crate::changes;
use crate::workloads::Policies;

/// One step of the history, as meaning.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Number, from 1.
    pub generation: u64,
    /// Hash of the transition.
    pub transition: TransitionHash,
    /// The manifest it put in force.
    pub manifest: ManifestHash,
    /// By the owner's clock.
    pub signed_at: Timestamp,
    /// Owners who signed.
    pub signers: Vec<KeyDigest>,
    /// Whether an earlier run, or this one, accepted it.
    pub accepted: bool,
    /// How many workloads the manifest has.
    pub workloads: usize,
    /// What changed since the step before; empty for the first.
    pub changes: Diff,
    /// What changed inside of policies, by workload.
    pub policies: BTreeMap<String, Vec<String>>,
}

/// One step for each entry; `unaccepted` counts the newest ones that nobody has accepted.
pub(super) fn steps(
    history: &History,
    policies: &Policies,
    unaccepted: usize,
    question: &Question<'_>,
) -> Vec<Step> {
    let entries = history.entries();
    let known = entries.len().saturating_sub(unaccepted);
    let given = question.active.map(|given| ManifestHash::of(given.bytes));
    let mut previous: Option<&Manifest> = None;
    let mut steps = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let changes = previous.map(|old| diff::manifests(old, &entry.manifest));
        let inside = previous.map(|old| policy_changes(old, &entry.manifest, policies));
        previous = Some(&entry.manifest);
        steps.push(Step {
            generation: entry.transition.generation,
            transition: entry.hash,
            manifest: entry.transition.manifest,
            signed_at: Timestamp(entry.transition.signed_at),
            signers: entry.signers.clone(),
            accepted: index < known
                || question.accept_history
                || Some(entry.transition.manifest) == given,
            workloads: entry.manifest.policies.len(),
            changes: changes.unwrap_or_default(),
            policies: inside.unwrap_or_default(),
        });
    }
    steps
}

/// What changed inside of the policies of workloads that are in both manifests.
fn policy_changes(
    old: &Manifest,
    new: &Manifest,
    policies: &Policies,
) -> BTreeMap<String, Vec<String>> {
    let mut out = BTreeMap::new();
    for (hash, entry) in &new.policies {
        let Some(identity) = &entry.identity else {
            continue;
        };
        let same = |(_, old): &(&PolicyHash, &nacre_manifest::PolicyEntry)| {
            old.identity.as_ref() == Some(identity)
        };
        let Some((before, _)) = old.policies.iter().find(same) else {
            continue;
        };
        if before == hash || old.policies.contains_key(hash) {
            continue;
        }
        let lines = match (policies.known(before), policies.known(hash)) {
            (Some(before), Some(after)) => changes::between(before, after),
            _ => vec!["the policy changed, and its rules are not known".to_owned()],
        };
        out.insert(identity.to_string(), lines);
    }
    out
}
