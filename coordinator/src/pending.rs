//! Transitions that wait for more owners, in memory, for the present head only.

use std::sync::Arc;

use nacre_api::v1::PendingTransition;
use nacre_history::{Authority, OwnerSignature, Proposed, Transition};
use nacre_manifest::TransitionHash;

use crate::audit;
use crate::denied::Denied;

/// Most transitions that wait at a time.
const MOST: usize = 16;
/// Most bytes of their manifests together.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) transition: Transition,
    pub(crate) manifest: Arc<[u8]>,
    authority: Authority,
    signatures: Vec<OwnerSignature>,
}

impl Pending {
    /// As callers see it.
    pub(crate) fn message(&self) -> PendingTransition {
        PendingTransition {
            transition: self.transition.to_bytes().to_vec(),
            approved_by: approvers(&self.signatures),
            needed: u32::try_from(self.authority.threshold()).unwrap_or(u32::MAX),
        }
    }
}

fn approvers(signatures: &[OwnerSignature]) -> Vec<Vec<u8>> {
    signatures
        .iter()
        .map(|signature| signature.key().as_bytes().to_vec())
        .collect()
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct PendingList(Vec<Pending>);

impl PendingList {
    pub(crate) fn get(&self, transition: &TransitionHash) -> Option<&Pending> {
        self.0
            .iter()
            .find(|pending| pending.transition.hash() == *transition)
    }

    pub(crate) fn messages(&self) -> Vec<PendingTransition> {
        self.0.iter().map(Pending::message).collect()
    }

    /// The given signatures and those that were there already, one of each owner. All are checked.
    pub(crate) fn merged(
        &self,
        transition: &TransitionHash,
        new: &[OwnerSignature],
    ) -> Vec<OwnerSignature> {
        let mut all = new.to_vec();
        if let Some(pending) = self.get(transition) {
            let known = |key| new.iter().any(|signature| signature.key() == key);
            let others = pending.signatures.iter();
            all.extend(others.filter(|other| !known(other.key())).cloned());
        }
        all.sort_by_key(OwnerSignature::key);
        all
    }

    /// Keeps a transition with checked signatures until more come. There is always room for the one that
    /// makes all others void.
    pub(crate) fn keep(
        &mut self,
        proposed: &Proposed,
        manifest: Arc<[u8]>,
        signatures: Vec<OwnerSignature>,
        no_op: bool,
    ) -> Result<PendingTransition, Denied> {
        let hash = proposed.transition.hash();
        let pending = Pending {
            transition: proposed.transition,
            manifest,
            authority: proposed.authority.clone(),
            signatures,
        };
        let approved: Vec<_> = pending.signatures.iter().map(OwnerSignature::key).collect();
        let message = pending.message();
        let present = self
            .0
            .iter_mut()
            .find(|other| other.transition.hash() == hash);
        match present {
            Some(slot) => *slot = pending,
            None => {
                let most = if no_op { MOST + 1 } else { MOST };
                let bytes = self
                    .0
                    .iter()
                    .map(|other| other.manifest.len())
                    .sum::<usize>();
                let fits = bytes.saturating_add(pending.manifest.len()) <= MOST_BYTES;
                if self.0.len() >= most || !(fits || no_op) {
                    return Err(Denied::TooManyPending { most: MOST });
                }
                self.0.push(pending);
            }
        }
        audit::pending(&hash, &approved, proposed.authority.threshold());
        Ok(message)
    }

    /// The head has moved: nothing that waited follows it.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
