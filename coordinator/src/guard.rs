//! Who may do what: evidence against the manifest in force, signatures against its lists.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use nacre_api::{method, recover_digest, v1};
use nacre_atls::tonic::Caller;
use nacre_atls::{AppraisalError, Appraise, AttestedPeer};
use nacre_attest::{Claims, Counting, Evidence, HostData, ReportData, Timestamp, Verifier};
use nacre_history::Rules;
use nacre_manifest::{Manifest, PolicyEntry, PolicyHash, SeedshareOwnerKey, TransitionHash};

use crate::capacity::Capacity;
use crate::clock::Time;
use crate::denied::Denied;
use crate::metrics::Metrics;
use crate::state::{Cell, Ready, References, State};
use crate::storage::Storage;

/// Most connections whose evidence is remembered.
const MOST_SEEN: usize = 16_384;

/// What every part works with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) cell: Cell,
    pub(crate) time: Time,
    pub(crate) metrics: Metrics,
    pub(crate) storage: Storage,
    pub(crate) rules: Rules,
    pub(crate) capacity: Capacity,
    pub(crate) verifier: Arc<Verifier>,
    /// The Coordinator's own HOST_DATA.
    pub(crate) own: PolicyHash,
    /// The REPORT_ID of its guest.
    pub(crate) guest: [u8; 32],
    pub(crate) seen: Seen,
}

/// Whose evidence is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// Any policy that is listed.
    Listed,
    /// A policy with the role of the Coordinator.
    Coordinator,
    /// The same in a guest that enforces it: only such a one may be given the seed.
    Heir,
}

impl Wanted {
    fn fits(self, entry: &PolicyEntry) -> bool {
        self == Self::Listed || entry.is_coordinator()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Listed => "mesh",
            Self::Coordinator | Self::Heir => "peer",
        }
    }
}

impl Core {
    /// The manifest in force, or which phase it is instead.
    pub(crate) fn ready(&self) -> Result<Arc<Ready>, Denied> {
        match &*self.cell.load() {
            State::Ready(ready) => Ok(Arc::clone(ready)),
            State::Sealed(_) => Err(Denied::Sealed),
            State::Empty => Err(Denied::Empty),
        }
    }

    /// Compares evidence with a manifest, by the reference values that its own policy may run under.
    pub(crate) fn appraise(
        &self,
        manifest: &Manifest,
        references: &References,
        evidence: &Evidence,
        report_data: [u8; 64],
        wanted: Wanted,
    ) -> Result<Claims, AppraisalError> {
        let counting = Counting::of(manifest, &evidence.report, |entry| wanted.fits(entry));
        let mut policies = references.fitting(&counting.sets, wanted);
        if wanted != Wanted::Listed && !manifest.allow_any_chip {
            for policy in &mut policies {
                policy.require_chips = true;
            }
        }
        let expected = (
            ReportData::Exact(report_data),
            HostData::OneOf(counting.host_data),
        );
        let now = Timestamp(self.time.now());
        let (_, claims) = self
            .verifier
            .verify_any_by(&self.time.lists(), evidence, &policies, expected, now)
            .ok_or(AppraisalError::NoReference)?
            .map_err(|rejection| {
                let reason = rejection.reason().map_or("none", |check| check.id.name());
                self.metrics.denied(wanted.name(), reason);
                AppraisalError::Rejected(rejection)
            })?;
        self.time.saw_list_of(evidence, &claims);
        Ok(claims)
    }

    fn appraise_now(
        &self,
        ready: &Ready,
        evidence: &Evidence,
        report_data: [u8; 64],
        wanted: Wanted,
    ) -> Result<Claims, AppraisalError> {
        let manifest = ready.manifest();
        let references = ready.references();
        let claims = self.appraise(manifest, references, evidence, report_data, wanted)?;
        self.seen.remember(report_data, wanted, ready.head().hash);
        Ok(claims)
    }

    /// The manifest in force of this moment and the entry of a caller. A connection may be older than the
    /// manifest: its evidence is then compared again.
    pub(crate) fn entry_of(
        &self,
        peer: &AttestedPeer,
        wanted: Wanted,
    ) -> Result<(Arc<Ready>, PolicyHash), Denied> {
        let ready = self.ready()?;
        let policy = PolicyHash::from_bytes(peer.claims().host_data);
        let entry = ready.manifest().policies.get(&policy);
        let entry = entry.ok_or(Denied::NotListed { policy })?;
        if !wanted.fits(entry) {
            return Err(Denied::NotCoordinator { policy });
        }
        let (evidence, report_data) = (peer.evidence(), *peer.report_data());
        if !self.seen.recall(&report_data, wanted, ready.head().hash) {
            self.appraise_now(&ready, evidence, report_data, wanted)
                .map_err(|error| Denied::Evidence {
                    reason: error.to_string(),
                })?;
        }
        Ok((ready, policy))
    }
}

/// Decides on the evidence of new connections by the manifest in force.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) core: Arc<Core>,
    pub(crate) wanted: Wanted,
}

impl Appraise for InForce {
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError> {
        let ready = self.core.ready().map_err(|denied| {
            self.core
                .metrics
                .denied(self.wanted.name(), denied.reason());
            AppraisalError::NotReady
        })?;
        self.core
            .appraise_now(&ready, evidence, report_data, self.wanted)
    }
}

/// Which connections' evidence was compared with which manifest. REPORT_DATA is different for each.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    by_connection: BTreeMap<([u8; 64], Wanted), TransitionHash>,
    order: VecDeque<([u8; 64], Wanted)>,
}

impl Seen {
    fn remember(&self, report_data: [u8; 64], wanted: Wanted, transition: TransitionHash) {
        let key = (report_data, wanted);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.by_connection.insert(key, transition).is_none() {
            seen.order.push_back(key);
        }
        while seen.order.len() > MOST_SEEN {
            if let Some(oldest) = seen.order.pop_front() {
                seen.by_connection.remove(&oldest);
            }
        }
    }

    fn recall(&self, report_data: &[u8; 64], wanted: Wanted, transition: TransitionHash) -> bool {
        let key = (*report_data, wanted);
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.by_connection.get(&key) == Some(&transition)
    }
}

/// The seed-share owner of the manifest who signed a request for this connection.
pub(crate) fn share_owner(
    caller: &Caller,
    request: &v1::RecoverRequest,
    manifest: &Manifest,
) -> Result<SeedshareOwnerKey, Denied> {
    let signature = request.signature.as_ref().ok_or(Denied::ShareSignature)?;
    let key =
        SeedshareOwnerKey::from_spki_der(&signature.spki).map_err(|_| Denied::ShareSignature)?;
    // Listed first: a signature by whoever else is not worth verifying.
    if !manifest.seedshare_owner_pub_keys.contains(&key) {
        return Err(Denied::NotShareOwner);
    }
    let message = caller.owner_request(method::RECOVER, &recover_digest(request));
    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.as_der())
        .verify(&message, &signature.signature)
        .map_err(|_| Denied::ShareSignature)?;
    Ok(key)
}
