//! From one state to the next. Every change of the state goes through here, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use nacre_api::v1::PendingTransition;
use nacre_history::{
    Authority as Owners, GenesisAuthority, History, Invalid, Latest, ObjectKey, OwnerSignature,
    Proposed, SignedTransition, Transition,
};
use nacre_manifest::{Manifest, PolicyHash, TransitionHash};
use nacre_pki::{Authority as Ca, P384Key};
use nacre_store::{Latest as Stored, Version};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::Instant;

use crate::audit;
use crate::denied::Denied;
use crate::genesis::Candidate;
use crate::guard::Core;
use crate::pending::PendingList;
use crate::recovery::Session;
use crate::state::{Parts, Previous, Ready, State, is_coordinator};

/// How far an owner's clock may be ahead, in seconds. What is signed moves everybody's time forward.
const AHEAD: u64 = 86_400;
/// Objects that are looked up at a time.
const LOOKUPS: usize = 16;
/// Most states kept whose writing was not answered. One that is forgotten and comes to be needs recovery.
const UNFINISHED: usize = 8;

/// Moves the state.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) core: Arc<Core>,
    inner: Mutex<Inner>,
    shown: watch::Sender<Arc<Shown>>,
}

/// What is told about changes that are under way. Whoever asks does not wait for them, nor for the store.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) pending: Vec<PendingTransition>,
    /// Indices of shares that have arrived, and when the first one did.
    pub(crate) shares: Option<(Vec<u32>, Instant)>,
}

/// The one who changes something at the moment. What it leaves is shown when it is done.
pub(crate) struct Turn<'a> {
    inner: MutexGuard<'a, Inner>,
    shown: &'a watch::Sender<Arc<Shown>>,
}

impl Deref for Turn<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let recovery = self.inner.recovery.as_ref();
        self.shown.send_replace(Arc::new(Shown {
            pending: self.inner.pending.messages(),
            shares: recovery.map(Session::shown),
        }));
    }
}

/// What belongs to changes that are under way.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) pending: PendingList,
    pub(crate) candidate: Option<Candidate>,
    pub(crate) recovery: Option<Session>,
    /// Policies that were found or written since the start, with their lengths; those of the history in force are
    /// not asked for here.
    stored: BTreeMap<PolicyHash, u64>,
    /// States whose writing may or may not have reached the store, or may yet.
    pub(crate) unfinished: Unfinished,
}

/// States whose writing was not answered, newest last. At most one of them can come to be: each was to take
/// the place of the same version.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(Vec<Arc<Ready>>);

impl Unfinished {
    fn keep(&mut self, ready: Arc<Ready>) {
        if self.0.len() >= UNFINISHED {
            self.0.remove(0);
        }
        self.0.push(ready);
    }

    /// The one that stands in the store.
    pub(crate) fn of(&self, stored: &Stored) -> Option<Arc<Ready>> {
        let ready = self.0.iter().find(|ready| ready.latest == stored.bytes)?;
        Some(Arc::new(ready.with_version(stored.version.clone())))
    }
}

/// What an owner submits.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) transition: Transition,
    /// Empty when it is one that waits.
    pub(crate) manifest: Vec<u8>,
    pub(crate) signatures: Vec<OwnerSignature>,
    /// Signatures for this connection, and what they are over.
    pub(crate) online: Vec<OwnerSignature>,
    pub(crate) online_message: Vec<u8>,
}

/// A submission by owners, whose policies are still to come.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) proposed: Proposed,
    pub(crate) manifest: Arc<[u8]>,
    pub(crate) signatures: Vec<OwnerSignature>,
    /// Policies that the history lacks.
    pub(crate) wanted: BTreeSet<PolicyHash>,
}

/// How a submission ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is in force.
    Applied(Arc<Ready>),
    /// More owners have to sign.
    Pending(PendingTransition),
    /// The first manifest: owners have to confirm this.
    Offer(crate::genesis::Offered),
}

impl Authority {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            inner: Mutex::default(),
            shown: watch::Sender::default(),
        }
    }

    /// Waits for its turn, for as long as others need the store.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn {
            inner: self.inner.lock().await,
            shown: &self.shown,
        }
    }

    /// What was shown last.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.borrow())
    }

    /// Judges a submission and finds out which policies are missing. Nothing changes.
    pub(crate) async fn draft(&self, submission: Submission) -> Result<Draft, Denied> {
        let state = self.core.cell.load();
        let transition = submission.transition;
        let signed = signed(transition, submission.signatures.clone())?;
        // Signatures first: whoever is no owner costs a lookup and a verification.
        if let Some(owners) = self.owners(&state)? {
            if signed.signatures().is_empty() {
                return Err(Denied::NoSignature);
            }
            owners.signers(&signed)?;
        }
        for online in &submission.online {
            let known = signed.signatures().iter().any(|s| s.key() == online.key());
            if !known || !online.verify(&submission.online_message) {
                return Err(Denied::Online);
            }
        }
        self.not_from_the_future(&transition)?;
        let manifest = self.manifest_of(&transition, submission.manifest).await?;
        let rules = &self.core.rules;
        let proposed = match &*state {
            State::Empty => History::propose_genesis(transition, &manifest, rules)?,
            State::Sealed(_) => return Err(Denied::Sealed),
            State::Ready(ready) => ready.history.propose(transition, &manifest, rules)?,
        };
        proposed.authority.signers(&signed)?;
        if signed.signatures().is_empty() && !proposed.authority.keys().is_empty() {
            return Err(Denied::NoSignature);
        }
        // The Coordinator must not set itself aside.
        if !is_coordinator(&proposed.manifest, &self.core.own) {
            let policy = self.core.own;
            return Err(Invalid::NotCoordinator { policy }.into());
        }
        let history = state.ready().map(|ready| &ready.history);
        let new = new_policies(history, &proposed.manifest);
        let (objects, bytes) =
            history.map_or((0, 0), |history| (history.objects().len(), history.bytes()));
        // Nobody sends policies in vain. How long those are that are still to come is seen at the end.
        let objects = objects.saturating_add(new.len()).saturating_add(1);
        self.core.capacity.admits(objects, bytes)?;
        let wanted = self.missing(new).await?;
        Ok(Draft {
            proposed,
            manifest,
            signatures: submission.signatures,
            wanted,
        })
    }

    /// Who has to sign whatever comes next; `None` when the manifest itself says so.
    fn owners(&self, state: &State) -> Result<Option<Owners>, Denied> {
        match state {
            State::Sealed(_) => Err(Denied::Sealed),
            State::Empty => Ok(match &self.core.rules.genesis {
                GenesisAuthority::Owners(owners) => Some(owners.clone()),
                GenesisAuthority::InsecureUnbound => None,
            }),
            State::Ready(ready) => {
                let owners = Owners::of(ready.manifest());
                if owners.keys().is_empty() {
                    return Err(Invalid::NoUpdates.into());
                }
                Ok(Some(owners))
            }
        }
    }

    fn not_from_the_future(&self, transition: &Transition) -> Result<(), Denied> {
        let (signed, now) = (transition.signed_at, self.core.time.now());
        if signed > now.saturating_add(AHEAD) {
            return Err(Denied::Future { signed, now });
        }
        Ok(())
    }

    async fn manifest_of(
        &self,
        transition: &Transition,
        given: Vec<u8>,
    ) -> Result<Arc<[u8]>, Denied> {
        if !given.is_empty() {
            return Ok(given.into());
        }
        let inner = self.turn().await;
        let pending = inner.pending.get(&transition.hash());
        let pending = pending.map(|pending| Arc::clone(&pending.manifest));
        let candidate = inner.candidate.as_ref();
        let candidate = candidate
            .filter(|candidate| candidate.transition().hash() == transition.hash())
            .map(Candidate::manifest);
        pending.or(candidate).ok_or(Denied::NotPending)
    }

    /// Policies that are not in the store, or are not what their name says.
    async fn missing(&self, policies: Vec<PolicyHash>) -> Result<BTreeSet<PolicyHash>, Denied> {
        let unknown: Vec<PolicyHash> = {
            let inner = self.turn().await;
            let unknown = |hash: &PolicyHash| !inner.stored.contains_key(hash);
            policies.into_iter().filter(unknown).collect()
        };
        let keys: Vec<ObjectKey> = unknown.iter().copied().map(ObjectKey::Policy).collect();
        let there = self.core.storage.there(&keys).await?;
        let mut missing: BTreeSet<PolicyHash> = unknown.iter().copied().collect();
        let mut present = BTreeMap::new();
        let there = unknown.into_iter().zip(there).filter(|(_, there)| *there);
        let there: Vec<PolicyHash> = there.map(|(hash, _)| hash).collect();
        for hashes in there.chunks(LOOKUPS) {
            let keys: Vec<ObjectKey> = hashes.iter().copied().map(ObjectKey::Policy).collect();
            let found = self.core.storage.intact(&keys).await?;
            for (hash, bytes) in hashes.iter().zip(found) {
                if let Some(bytes) = bytes {
                    missing.remove(hash);
                    present.insert(*hash, len(&bytes));
                }
            }
        }
        self.turn().await.stored.extend(present);
        Ok(missing)
    }

    /// Writes some of the wanted policies.
    pub(crate) async fn store_policies(
        &self,
        policies: Vec<(PolicyHash, Vec<u8>)>,
    ) -> Result<(), Denied> {
        let lengths: Vec<(PolicyHash, u64)> = policies
            .iter()
            .map(|(hash, raw)| (*hash, len(raw)))
            .collect();
        let objects = policies
            .into_iter()
            .map(|(hash, raw)| (ObjectKey::Policy(hash), raw));
        self.core.storage.write_all(objects.collect()).await?;
        self.turn().await.stored.extend(lengths);
        Ok(())
    }

    /// Ends a submission whose policies are all there.
    pub(crate) async fn conclude(&self, draft: &Draft) -> Result<Outcome, Denied> {
        let mut inner = self.turn().await;
        let state = self.core.cell.load();
        let proposed = &draft.proposed;
        let hash = proposed.transition.hash();
        let mut signatures = inner.pending.merged(&hash, &draft.signatures);
        signatures.truncate(nacre_history::MAX_SIGNATURES);
        let signed = signed(proposed.transition, signatures)?;
        let signers = proposed.authority.signers(&signed)?.len();
        let enough =
            signers >= proposed.authority.threshold() || proposed.authority.keys().is_empty();
        match &*state {
            State::Sealed(_) => Err(Denied::Sealed),
            State::Empty if !proposed.transition.is_genesis() => Err(Denied::Conflict),
            State::Empty if enough => {
                let offered = inner.offer(draft, signed, &self.core)?;
                Ok(Outcome::Offer(offered))
            }
            State::Ready(ready) if proposed.transition.previous != ready.head().hash => {
                Err(Denied::Conflict)
            }
            State::Ready(ready) if enough => {
                let next = self
                    .update(&mut inner, ready, &signed, &draft.manifest)
                    .await?;
                Ok(Outcome::Applied(next))
            }
            State::Empty | State::Ready(_) => {
                let no_op = proposed.is_no_op(state.ready().map(|ready| ready.head()));
                let (_, signatures) = signed.into_parts();
                let manifest = Arc::clone(&draft.manifest);
                let pending = inner.pending.keep(proposed, manifest, signatures, no_op)?;
                Ok(Outcome::Pending(pending))
            }
        }
    }

    /// Writes an authorised transition and brings it into force.
    async fn update(
        &self,
        inner: &mut Inner,
        ready: &Arc<Ready>,
        signed: &SignedTransition,
        manifest: &[u8],
    ) -> Result<Arc<Ready>, Denied> {
        let history = ready.history.extended(signed, manifest, &self.core.rules)?;
        let new = new_policies(Some(&ready.history), &history.head().manifest);
        let history = history.with_bytes(inner.bytes_of(&new));
        let (objects, bytes) = (history.objects().len(), history.bytes());
        self.core.capacity.admits(objects, bytes)?;
        let transition = signed.body();
        self.core.time.has_passed(transition.signed_at);
        let same = transition.manifest == ready.manifest_hash();
        // The same manifest keeps its CA: certificates stay good.
        let ca = if same {
            Arc::clone(&ready.ca)
        } else {
            let now = self.core.time.now();
            Arc::new(Ca::new(&ready.keys.root, P384Key::generate()?, now)?)
        };
        let overlap = history.head().manifest.ca_overlap && !same;
        let previous = overlap.then(|| Previous {
            mesh_ca: ready.ca.mesh_ca().to_vec(),
            generation: ready.generation(),
        });
        let latest = latest(&ready.keys.history, history.head().hash)?;
        let objects = vec![
            (ObjectKey::Manifest(transition.manifest), manifest.to_vec()),
            (ObjectKey::Transition(transition.hash()), signed.encode()),
        ];
        self.core.storage.write_all(objects).await?;
        let next = Parts {
            history,
            latest,
            version: ready.version.clone(),
            keys: Arc::clone(&ready.keys),
            ca,
            previous,
        };
        let next = self.publish(inner, next, ready.version.as_ref()).await?;
        self.in_force(inner, Arc::clone(&next), "set");
        self.core.metrics.updated();
        Ok(next)
    }

    /// Moves `latest`. When the answer of the store is lost, it is asked what it has now.
    pub(crate) async fn publish(
        &self,
        inner: &mut Inner,
        mut parts: Parts,
        expected: Option<&Version>,
    ) -> Result<Arc<Ready>, Denied> {
        let bytes = parts.latest.clone();
        let moved = match self.core.storage.swap(expected, &bytes).await {
            Ok(moved) => moved,
            Err(error) => {
                // If it has moved after all, or will, the same keys have to serve it.
                inner.unfinished.keep(Arc::new(parts.into()));
                let stored = self.core.storage.latest().await;
                let found = stored.ok().flatten();
                let mine = found.and_then(|stored| inner.unfinished.of(&stored));
                return mine.filter(|ready| ready.latest == bytes).ok_or(error);
            }
        };
        parts.version = Some(moved.ok_or(Denied::Conflict)?);
        Ok(Arc::new(parts.into()))
    }

    /// Swaps the state; what waited for the old head is void.
    pub(crate) fn in_force(&self, inner: &mut Inner, ready: Arc<Ready>, how: &'static str) {
        audit::in_force(how, ready.head());
        self.core.time.has_passed(ready.head().transition.signed_at);
        let history = &ready.history;
        let (objects, bytes) = (history.objects().len(), history.bytes());
        if self.core.capacity.is_short(history) {
            tracing::warn!(objects, bytes, "the history nears what clients take");
        }
        inner.pending.clear();
        inner.candidate = None;
        inner.recovery = None;
        inner.unfinished = Unfinished::default();
        self.core.metrics.diverged(false);
        self.core.cell.swap(State::Ready(ready));
    }
}

impl Inner {
    /// Bytes of policies that are in the store.
    pub(crate) fn bytes_of(&self, policies: &[PolicyHash]) -> u64 {
        let lengths = policies.iter().filter_map(|policy| self.stored.get(policy));
        lengths.sum()
    }
}

/// Policies of a manifest that the history does not have.
pub(crate) fn new_policies(history: Option<&History>, manifest: &Manifest) -> Vec<PolicyHash> {
    let new = |policy: &&PolicyHash| {
        let key = ObjectKey::Policy(**policy);
        history.is_none_or(|history| !history.objects().contains(&key))
    };
    manifest.policies.keys().filter(new).copied().collect()
}

pub(crate) fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A policy of a submission, by its hash, if it is one of those wanted.
pub(crate) fn wanted_policy(
    wanted: &BTreeSet<PolicyHash>,
    raw: &[u8],
) -> Result<PolicyHash, Denied> {
    let policy = PolicyHash::of(raw);
    if !wanted.contains(&policy) {
        return Err(Denied::PolicyUnwanted { policy });
    }
    Ok(policy)
}

/// The signed object `latest`.
pub(crate) fn latest(key: &P384Key, head: TransitionHash) -> Result<Vec<u8>, Denied> {
    let signature = key.sign(&Latest::message(&head))?;
    let latest = Latest::new(head, signature);
    Ok(latest.map_err(malformed("the newest transition"))?.encode())
}

pub(crate) fn signed(
    transition: Transition,
    signatures: Vec<OwnerSignature>,
) -> Result<SignedTransition, Denied> {
    transition
        .signed(signatures)
        .map_err(malformed("the list of signatures"))
}

pub(crate) fn malformed(what: &'static str) -> impl FnOnce(nacre_history::FormatError) -> Denied {
    move |source| Denied::Malformed { what, source }
}
