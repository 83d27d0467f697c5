//! A history that holds, and how it grows.

use std::collections::BTreeSet;
use std::sync::Arc;

use nacre_manifest::{
    KeyDigest, Manifest, ManifestHash, PoliciesDigest, ProblemKind, Severity, Strictness,
    TransitionHash,
};

use crate::authority::{Authority, GenesisAuthority};
use crate::confirmation::{Confirmation, SignedConfirmation};
use crate::error::Invalid;
use crate::key::ObjectKey;
use crate::transition::{SignedTransition, Transition};
use crate::validate::MAX_GENERATIONS;

/// Reads the bytes of a manifest: [`Manifest::parse`] in every program that is shipped. Simulation
/// programs bring one that knows their root.
pub type ManifestReader = fn(&[u8]) -> Result<Manifest, nacre_manifest::Error>;

/// What decides besides the objects themselves.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Reads manifests.
    pub reader: ManifestReader,
    /// Who may start.
    pub genesis: GenesisAuthority,
}

/// One step of a history and the manifest it brought into force.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Identity of the transition.
    pub hash: TransitionHash,
    /// The transition.
    pub transition: Transition,
    /// Owners who signed it, sorted.
    pub signers: Vec<KeyDigest>,
    /// The manifest.
    pub manifest: Arc<Manifest>,
}

/// A step that follows a history but is not authorised yet.
#[derive(Clone, Debug)]
pub struct Proposed {
    /// The step.
    pub transition: Transition,
    /// Its manifest, complete and without mistakes.
    pub manifest: Arc<Manifest>,
    /// Who has to sign.
    pub authority: Authority,
}

impl Proposed {
    /// Whether the manifest is the one that is in force already: such a step changes nothing but the head,
    /// which makes every signature for another successor of the old head void.
    pub fn is_no_op(&self, head: Option<&Entry>) -> bool {
        head.is_some_and(|head| head.transition.manifest == self.transition.manifest)
    }

    fn entry(self, signed: &SignedTransition) -> Result<Entry, Invalid> {
        Ok(Entry {
            hash: self.transition.hash(),
            transition: self.transition,
            signers: self.authority.authorise(signed)?,
            manifest: self.manifest,
        })
    }
}

/// A history that holds: there is no other way to make one than to check it.
#[derive(Clone, Debug)]
pub struct History {
    /// Every transition, oldest first.
    hashes: Vec<TransitionHash>,
    /// Those whose manifests are kept.
    entries: Vec<Arc<Entry>>,
    head: Arc<Entry>,
    confirmation: Arc<Confirmation>,
    bound: bool,
    lean: bool,
    objects: Arc<BTreeSet<ObjectKey>>,
    bytes: u64,
}

impl History {
    /// Checks a first transition except for its signatures. What is proposed has to satisfy every check of
    /// manifests that there is; what owners signed before is not judged by those that came since.
    pub fn propose_genesis(
        transition: Transition,
        manifest: &[u8],
        rules: &Rules,
    ) -> Result<Proposed, Invalid> {
        Self::first(transition, manifest, rules, Judged::Proposed)
    }

    fn first(
        transition: Transition,
        manifest: &[u8],
        rules: &Rules,
        judged: Judged,
    ) -> Result<Proposed, Invalid> {
        if !transition.is_genesis() {
            return Err(Invalid::NotNext {
                found: transition.previous,
                head: TransitionHash::NONE,
            });
        }
        let manifest = read(&transition, manifest, rules, judged)?;
        Ok(Proposed {
            transition,
            authority: rules.genesis.for_manifest(&manifest)?,
            manifest: Arc::new(manifest),
        })
    }

    /// The history of one transition, which its owners have signed and confirmed. Its manifest is judged as one of
    /// before: see [`History::propose_genesis`].
    pub fn genesis(
        signed: &SignedTransition,
        confirmation: &SignedConfirmation,
        manifest: &[u8],
        rules: &Rules,
    ) -> Result<Self, Invalid> {
        let proposed = Self::first(*signed.body(), manifest, rules, Judged::Signed)?;
        if confirmation.body().transition != proposed.transition.hash() {
            return Err(Invalid::ConfirmationOther {
                what: "first transition",
            });
        }
        // A manifest without owners that anybody may set has nobody who could sign.
        let nobody = proposed.authority.keys().is_empty();
        let head = Arc::new(if nobody {
            unsigned(proposed, signed)?
        } else {
            proposed.authority.authorise(confirmation)?;
            proposed.entry(signed)?
        });
        let body = confirmation.body();
        let objects = BTreeSet::from([
            ObjectKey::Confirmation(body.transition),
            ObjectKey::SeedShares(body.seed_shares),
            ObjectKey::Latest,
        ]);
        let mut history = Self {
            hashes: Vec::new(),
            entries: Vec::new(),
            head: Arc::clone(&head),
            confirmation: Arc::new(body.clone()),
            bound: rules.genesis != GenesisAuthority::InsecureUnbound,
            lean: false,
            objects: Arc::new(objects),
            bytes: len(&confirmation.encode()),
        };
        history.push(head, signed, manifest);
        Ok(history)
    }

    /// Checks a next transition except for its signatures; its manifest as [`History::propose_genesis`] does.
    pub fn propose(
        &self,
        transition: Transition,
        manifest: &[u8],
        rules: &Rules,
    ) -> Result<Proposed, Invalid> {
        self.next(transition, manifest, rules, Judged::Proposed)
    }

    fn next(
        &self,
        transition: Transition,
        manifest: &[u8],
        rules: &Rules,
        judged: Judged,
    ) -> Result<Proposed, Invalid> {
        let head = &self.head;
        if transition.previous != head.hash {
            return Err(Invalid::NotNext {
                found: transition.previous,
                head: head.hash,
            });
        }
        let expected = head.transition.generation.saturating_add(1);
        if transition.generation != expected {
            return Err(Invalid::Generation {
                found: transition.generation,
                expected,
            });
        }
        if transition.generation > MAX_GENERATIONS {
            return Err(Invalid::TooLong {
                generation: transition.generation,
                most: MAX_GENERATIONS,
            });
        }
        if transition.signed_at < head.transition.signed_at {
            return Err(Invalid::TimeBackwards {
                found: transition.signed_at,
                previous: head.transition.signed_at,
            });
        }
        let authority = Authority::of(&head.manifest);
        if authority.keys().is_empty() {
            return Err(Invalid::NoUpdates);
        }
        let manifest = read(&transition, manifest, rules, judged)?;
        immutable(&self.genesis_entry().manifest, &manifest)?;
        Ok(Proposed {
            transition,
            manifest: Arc::new(manifest),
            authority,
        })
    }

    /// This history and one more transition, which was proposed and which enough owners have signed.
    pub fn extended(
        &self,
        signed: &SignedTransition,
        manifest: &[u8],
        rules: &Rules,
    ) -> Result<Self, Invalid> {
        let proposed = self.propose(*signed.body(), manifest, rules)?;
        let mut next = self.clone();
        next.append(proposed, signed, manifest)?;
        Ok(next)
    }

    /// One more transition that is read, not proposed.
    pub(crate) fn extend(
        &mut self,
        signed: &SignedTransition,
        manifest: &[u8],
        rules: &Rules,
    ) -> Result<(), Invalid> {
        let proposed = self.next(*signed.body(), manifest, rules, Judged::Signed)?;
        self.append(proposed, signed, manifest)
    }

    fn append(
        &mut self,
        proposed: Proposed,
        signed: &SignedTransition,
        manifest: &[u8],
    ) -> Result<(), Invalid> {
        let head = Arc::new(proposed.entry(signed)?);
        self.push(head, signed, manifest);
        Ok(())
    }

    fn push(&mut self, head: Arc<Entry>, signed: &SignedTransition, manifest: &[u8]) {
        let objects = Arc::make_mut(&mut self.objects);
        if objects.insert(ObjectKey::Transition(head.hash)) {
            self.bytes = self.bytes.saturating_add(len(&signed.encode()));
        }
        if objects.insert(ObjectKey::Manifest(head.transition.manifest)) {
            self.bytes = self.bytes.saturating_add(len(manifest));
        }
        let policies = head.manifest.policies.keys();
        objects.extend(policies.copied().map(ObjectKey::Policy));
        if self.lean {
            self.entries.truncate(1);
        }
        self.hashes.push(head.hash);
        self.entries.push(Arc::clone(&head));
        self.head = head;
    }

    /// Keeps no more manifests than the first and the newest, now and when it grows.
    #[must_use]
    pub fn lean(mut self) -> Self {
        self.lean = true;
        let head = Arc::clone(&self.head);
        if self.entries.len() > 1 {
            self.entries.truncate(1);
            self.entries.push(head);
        }
        self
    }

    /// Counts bytes of objects that it did not see itself: policies and the seed-share document.
    #[must_use]
    pub fn with_bytes(mut self, more: u64) -> Self {
        self.bytes = self.bytes.saturating_add(more);
        self
    }

    /// Names of every object it consists of, `latest` last.
    pub fn objects(&self) -> &Arc<BTreeSet<ObjectKey>> {
        &self.objects
    }

    /// How many bytes these are but for `latest`, as far as they were counted: see [`History::with_bytes`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of its transitions, at least one.
    pub fn generations(&self) -> usize {
        self.hashes.len()
    }

    /// Every step, oldest first; never empty. Of a [`History::lean`] one the first and the newest.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The newest step.
    pub fn head(&self) -> &Arc<Entry> {
        &self.head
    }

    /// The first step.
    pub fn genesis_entry(&self) -> &Arc<Entry> {
        self.entries.first().unwrap_or(&self.head)
    }

    /// What the owners confirmed about the keys of this history.
    pub fn confirmation(&self) -> &Confirmation {
        &self.confirmation
    }

    /// Whether the first transition was authorised by owners measured into the Coordinator. When not,
    /// every verdict says that the Coordinator instance is not authenticated.
    pub fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether the transition is one of this history.
    pub fn contains(&self, transition: &TransitionHash) -> bool {
        self.objects.contains(&ObjectKey::Transition(*transition))
    }

    /// How another history stands to this one.
    pub fn relation(&self, other: &Self) -> Relation {
        let common = self
            .hashes
            .iter()
            .zip(&other.hashes)
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        match (self.hashes.len() - common, other.hashes.len() - common) {
            (0, 0) => Relation::Same,
            (0, ahead) => Relation::Ahead { by: ahead },
            (behind, 0) => Relation::Behind { by: behind },
            _ => Relation::Fork { common },
        }
    }

    /// Fails unless the keys that a seed gives are those that were confirmed.
    pub fn check_keys(&self, root_spki: &[u8], history_spki: &[u8]) -> Result<(), Invalid> {
        if self.confirmation.root_spki != root_spki {
            return Err(Invalid::ForeignSeed { key: "root CA" });
        }
        if self.confirmation.history_spki != history_spki {
            return Err(Invalid::ForeignSeed { key: "history" });
        }
        Ok(())
    }
}

/// How one history stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Both are the same.
    Same,
    /// The other one continues this one.
    Ahead {
        /// By so many transitions.
        by: usize,
    },
    /// This one continues the other one.
    Behind {
        /// By so many transitions.
        by: usize,
    },
    /// They part ways: somebody shows different people different histories.
    Fork {
        /// So many transitions are the same.
        common: usize,
    },
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Whose manifest is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// That of a transition which is not in force yet.
    Proposed,
    /// That of a transition of a history.
    Signed,
}

impl Judged {
    /// Whether a mistake is none here.
    fn excuses(self, kind: &ProblemKind) -> bool {
        match kind {
            // Which roots of evidence may be named is for the reader to decide, and a guest that does not enforce its
            // policy is a row of every verdict.
            ProblemKind::TestRoot | ProblemKind::HostDataUnbound => true,
            // Histories are older than this check. Nobody loses by reading one: a seed goes only to a guest that
            // enforces its policy, whatever its manifest says.
            ProblemKind::PeerRecoveryUnbound { .. } => self == Self::Signed,
            _ => false,
        }
    }
}

/// Reads and checks the manifest of a transition.
fn read(
    transition: &Transition,
    bytes: &[u8],
    rules: &Rules,
    judged: Judged,
) -> Result<Manifest, Invalid> {
    let hash = ManifestHash::of(bytes);
    if hash != transition.manifest {
        return Err(Invalid::ManifestOther {
            found: hash,
            signed: transition.manifest,
        });
    }
    let manifest = (rules.reader)(bytes).map_err(|source| Invalid::Manifest { hash, source })?;
    let problems: Vec<_> = manifest
        .validate(Strictness::Strict)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .filter(|problem| !judged.excuses(&problem.kind))
        .collect();
    if !problems.is_empty() {
        return Err(Invalid::ManifestProblems { hash, problems });
    }
    if PoliciesDigest::of(manifest.policies.keys()) != transition.policies {
        return Err(Invalid::PoliciesOther);
    }
    Ok(manifest)
}

fn immutable(first: &Manifest, next: &Manifest) -> Result<(), Invalid> {
    let sorted = |manifest: &Manifest| {
        let mut keys = manifest.seedshare_owner_pub_keys.clone();
        keys.sort_unstable();
        keys
    };
    if sorted(first) != sorted(next) {
        return Err(Invalid::Immutable {
            field: "SeedshareOwnerPubKeys",
        });
    }
    if first.recovery_threshold != next.recovery_threshold {
        return Err(Invalid::Immutable {
            field: "RecoveryThreshold",
        });
    }
    Ok(())
}

/// The entry of a first manifest that has no owners and may be set by anybody.
fn unsigned(proposed: Proposed, signed: &SignedTransition) -> Result<Entry, Invalid> {
    // A signature would be somebody's who is no owner.
    let signers = proposed.authority.signers(signed)?;
    Ok(Entry {
        hash: proposed.transition.hash(),
        transition: proposed.transition,
        signers,
        manifest: proposed.manifest,
    })
}
