//! The audit log: one event for every certificate, update, recovery and refusal of an update.
//!
//! Events have the target `nacre::audit` and name hashes and identities, never secrets.

use std::net::SocketAddr;

use nacre_history::Entry;
use nacre_manifest::{Identity, KeyDigest, PolicyHash, TransitionHash};

/// Target of every event.
pub(crate) const TARGET: &str = "nacre::audit";

/// A certificate was made.
pub(crate) struct Certificate<'a> {
    pub(crate) generation: u64,
    pub(crate) transition: TransitionHash,
    pub(crate) policy: PolicyHash,
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) chip: &'a [u8; 64],
    /// SHA-256 of the DER.
    pub(crate) leaf: [u8; 32],
    pub(crate) secret: bool,
    pub(crate) remote: SocketAddr,
}

impl Certificate<'_> {
    pub(crate) fn log(&self) {
        tracing::info!(
            target: TARGET,
            event = "certificate",
            generation = self.generation,
            transition = %self.transition,
            policy = %self.policy,
            identity = self.identity.map(ToString::to_string),
            chip = hex::encode(self.chip),
            leaf = hex::encode(self.leaf),
            secret = self.secret,
            remote = %self.remote,
        );
    }
}

/// A manifest came into force.
pub(crate) fn in_force(how: &'static str, entry: &Entry) {
    tracing::info!(
        target: TARGET,
        event = "manifest",
        how,
        generation = entry.transition.generation,
        transition = %entry.hash,
        manifest = %entry.transition.manifest,
        signers = digests(&entry.signers),
        signed_at = entry.transition.signed_at,
    );
}

/// A transition waits for more owners.
pub(crate) fn pending(transition: &TransitionHash, approved: &[KeyDigest], needed: usize) {
    tracing::info!(
        target: TARGET,
        event = "pending",
        transition = %transition,
        approved = digests(approved),
        needed,
    );
}

/// Something that changes a state or hands out secrets was refused.
pub(crate) fn refused(what: &'static str, code: u16, reason: &str, remote: SocketAddr) {
    let code = format!("NCR{code:04}");
    tracing::warn!(target: TARGET, event = "refused", what, code, reason, remote = %remote);
}

/// A share arrived, or fits in a dry run.
pub(crate) fn share(index: u32, dry_run: bool, received: usize, needed: usize) {
    tracing::info!(target: TARGET, event = "share", index, dry_run, received, needed);
}

/// The seed was handed to another Coordinator.
pub(crate) fn peer(policy: &PolicyHash, chip: &[u8; 64], remote: SocketAddr) {
    tracing::info!(
        target: TARGET,
        event = "peer",
        policy = %policy,
        chip = hex::encode(chip),
        remote = %remote,
    );
}

fn digests(keys: &[KeyDigest]) -> String {
    let texts: Vec<String> = keys.iter().map(ToString::to_string).collect();
    texts.join(",")
}
