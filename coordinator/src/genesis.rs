//! The first manifest: two signatures of the owners, and nothing in force before the second.

use std::fmt;
use std::sync::Arc;

use nacre_history::{
    Confirmation, History, ObjectKey, OwnerSignature, Signed, SignedTransition, Transition,
};
use nacre_manifest::SeedSharesHash;
use nacre_pki::{Authority as Ca, P384Key, Salt, Seed, SeedShares};

use crate::authority::{Authority, Draft, Inner, Outcome, latest, len, malformed, new_policies};
use crate::denied::{Denied, chain};
use crate::guard::Core;
use crate::state::{Parts, Ready, SeedKeys, State};

/// A first manifest that enough owners have signed and that waits for their confirmation. Another one may
/// take its place.
pub(crate) struct Candidate {
    signed: SignedTransition,
    manifest: Arc<[u8]>,
    keys: Arc<SeedKeys>,
    shares: Vec<u8>,
    confirmation: Confirmation,
    confirmed: Vec<OwnerSignature>,
}

/// What the owners are shown.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) confirmation: Confirmation,
    pub(crate) shares: Vec<u8>,
}

impl Candidate {
    fn new(draft: &Draft, signed: SignedTransition) -> Result<Self, Denied> {
        let manifest = &draft.proposed.manifest;
        let transition = signed.body().hash();
        let mut owners = manifest.seedshare_owner_pub_keys.clone();
        owners.sort_unstable();
        if owners.is_empty() {
            return Err(Denied::NoShareOwners);
        }
        let (seed, salt) = (Seed::generate()?, Salt::generate()?);
        let threshold = manifest.recovery_threshold;
        let shares = SeedShares::seal(&seed, threshold, &owners, *transition.as_bytes())?;
        let shares = shares.to_bytes();
        let keys = SeedKeys::derive(seed, salt)?;
        let confirmation = Confirmation {
            transition,
            salt: *keys.salt.as_bytes(),
            seed_shares: SeedSharesHash::of(&shares),
            root_spki: keys.root.spki().to_vec(),
            history_spki: keys.history.spki().to_vec(),
        };
        Ok(Self {
            signed,
            manifest: Arc::clone(&draft.manifest),
            keys: Arc::new(keys),
            shares,
            confirmation,
            confirmed: Vec::new(),
        })
    }

    pub(crate) fn transition(&self) -> &Transition {
        self.signed.body()
    }

    pub(crate) fn manifest(&self) -> Arc<[u8]> {
        Arc::clone(&self.manifest)
    }

    fn offered(&self) -> Offered {
        Offered {
            confirmation: self.confirmation.clone(),
            shares: self.shares.clone(),
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("transition", &self.transition().hash())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// What owners have to confirm: the same for every owner of the same transition.
    pub(crate) fn offer(
        &mut self,
        draft: &Draft,
        signed: SignedTransition,
        core: &Core,
    ) -> Result<Offered, Denied> {
        let hash = signed.body().hash();
        let same = |candidate: &&mut Candidate| candidate.transition().hash() == hash;
        if let Some(candidate) = self.candidate.as_mut().filter(same) {
            return Ok(candidate.offered());
        }
        core.time.has_passed(signed.body().signed_at);
        let candidate = Candidate::new(draft, signed)?;
        let offered = candidate.offered();
        self.candidate = Some(candidate);
        Ok(offered)
    }
}

impl Authority {
    /// Owners confirm what was offered. With enough of them the first manifest comes into force.
    pub(crate) async fn confirm(
        &self,
        draft: &Draft,
        confirmation: Confirmation,
        signatures: Vec<OwnerSignature>,
    ) -> Result<Outcome, Denied> {
        let mut inner = self.turn().await;
        if !matches!(&*self.core.cell.load(), State::Empty) {
            return Err(Denied::Conflict);
        }
        let owners = &draft.proposed.authority;
        let given = Signed::new(confirmation, signatures);
        let given = given.map_err(malformed("the list of signatures"))?;
        owners.signers(&given)?;
        let candidate = inner.candidate.as_mut().ok_or(Denied::ConfirmationOther)?;
        if candidate.confirmation != *given.body() {
            return Err(Denied::ConfirmationOther);
        }
        let (confirmation, new) = given.into_parts();
        for signature in new {
            let known = candidate
                .confirmed
                .iter()
                .any(|s| s.key() == signature.key());
            if !known {
                candidate.confirmed.push(signature);
            }
        }
        let confirmed = candidate.confirmed.clone();
        if confirmed.len() < owners.threshold() && !owners.keys().is_empty() {
            let (_, signatures) = candidate.signed.clone().into_parts();
            let manifest = candidate.manifest();
            let pending = inner
                .pending
                .keep(&draft.proposed, manifest, signatures, true)?;
            let approved_by = confirmed.iter().map(|s| s.key().as_bytes().to_vec());
            return Ok(Outcome::Pending(nacre_api::v1::PendingTransition {
                approved_by: approved_by.collect(),
                ..pending
            }));
        }
        let confirmation = Signed::new(confirmation, confirmed);
        let confirmation = confirmation.map_err(malformed("the list of signatures"))?;
        let ready = self.begin(&mut inner, &confirmation).await?;
        Ok(Outcome::Applied(ready))
    }

    /// Writes the first transition and everything that belongs to it, `latest` last.
    async fn begin(
        &self,
        inner: &mut Inner,
        confirmation: &Signed<Confirmation>,
    ) -> Result<Arc<Ready>, Denied> {
        let candidate = inner.candidate.as_ref().ok_or(Denied::Conflict)?;
        let (signed, manifest) = (candidate.signed.clone(), candidate.manifest());
        let (keys, shares) = (Arc::clone(&candidate.keys), candidate.shares.clone());
        let rules = &self.core.rules;
        let history = History::genesis(&signed, confirmation, &manifest, rules)?;
        history.check_keys(keys.root.spki(), keys.history.spki())?;
        let policies = new_policies(None, &history.head().manifest);
        let policies = inner.bytes_of(&policies);
        let now = self.core.time.now();
        let ca = Arc::new(Ca::new(&keys.root, P384Key::generate()?, now)?);
        let head = history.head().hash;
        let latest = latest(&keys.history, head)?;
        let others = len(&shares).saturating_add(policies);
        let history = history.lean().with_bytes(others);
        let (all, bytes) = (history.objects().len(), history.bytes());
        self.core.capacity.admits(all, bytes)?;
        let objects = vec![
            (
                ObjectKey::Manifest(signed.body().manifest),
                manifest.to_vec(),
            ),
            (ObjectKey::SeedShares(SeedSharesHash::of(&shares)), shares),
            (ObjectKey::Transition(head), signed.encode()),
        ];
        let storage = &self.core.storage;
        storage.write_all(objects).await?;
        // Another Coordinator has the same name for its own: whoever came first keeps it.
        if storage.latest().await?.is_some() {
            return Err(Denied::Conflict);
        }
        let (key, confirmation) = (ObjectKey::Confirmation(head), confirmation.encode());
        storage.write(&key, &confirmation).await?;
        let parts = Parts {
            history,
            latest,
            version: None,
            keys,
            ca,
            previous: None,
        };
        let ready = self.publish(inner, parts, None).await?;
        // Whoever came second may have written its own after that look.
        if let Err(error) = storage.write(&key, &confirmation).await {
            let reason = chain(&error);
            tracing::warn!(
                reason,
                "whether the confirmation is still there is not known"
            );
        }
        self.in_force(inner, Arc::clone(&ready), "first set");
        self.core.metrics.updated();
        Ok(ready)
    }
}
