//! Whether a set of objects is a history.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use nacre_manifest::{PolicyHash, Role, TransitionHash};

use crate::confirmation::SignedConfirmation;
use crate::error::{FormatError, Invalid};
use crate::history::{History, Rules};
use crate::key::ObjectKey;
use crate::latest::Latest;
use crate::transition::SignedTransition;

/// Most transitions of a history: one an hour for seven years.
pub const MAX_GENERATIONS: u64 = 65_536;
/// Objects that are looked up, and in memory, at a time.
const AT_A_TIME: usize = 16;

/// What a lookup gives: the bytes, nothing, or why it failed.
pub type Lookup<'a> = Result<Option<Cow<'a, [u8]>>, Box<dyn std::error::Error + Send + Sync>>;

/// Where objects come from. Nothing it gives is believed.
pub trait Objects {
    /// The bytes of an object, `None` when there is none of this name.
    fn object(&self, key: &ObjectKey) -> Lookup<'_>;

    /// Several objects, in the order of their keys. Whoever can look them up at the same time does.
    fn objects(&self, keys: &[ObjectKey]) -> Vec<Lookup<'_>> {
        keys.iter().map(|key| self.object(key)).collect()
    }
}

impl Objects for BTreeMap<ObjectKey, Vec<u8>> {
    fn object(&self, key: &ObjectKey) -> Lookup<'_> {
        Ok(self.get(key).map(|bytes| Cow::Borrowed(bytes.as_slice())))
    }
}

/// What somebody knows besides the objects.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Transitions that were seen before: each has to be in the history, or it was rolled back.
    pub known: Vec<TransitionHash>,
    /// HOST_DATA of the Coordinator that serves or recovers the history: it has to be one of the
    /// Coordinators of the newest manifest.
    pub coordinator: Option<PolicyHash>,
    /// The policy hash of every manifest's policy is to be looked up and checked.
    pub policies: bool,
    /// The history is to be [`History::lean`], already while it is read.
    pub lean: bool,
}

impl Expect {
    /// Looks at policies too; nothing else is known.
    pub fn complete() -> Self {
        Self {
            policies: true,
            ..Self::default()
        }
    }

    /// No more manifests are kept than the first and the newest.
    #[must_use]
    pub fn lean(mut self) -> Self {
        self.lean = true;
        self
    }

    /// The Coordinator that serves or recovers the history.
    #[must_use]
    pub fn coordinator(mut self, policy: PolicyHash) -> Self {
        self.coordinator = Some(policy);
        self
    }

    /// A transition that was seen before.
    #[must_use]
    pub fn known(mut self, transition: TransitionHash) -> Self {
        self.known.push(transition);
        self
    }
}

/// Checks a whole history: chain, owners' signatures, confirmation, manifests, policies, the signature of
/// `latest`, the Coordinator's own role, and what was seen before.
///
/// It does not say that the keys of the confirmation are those of a seed or a certificate: the caller
/// compares those with [`History::check_keys`].
pub fn validate(objects: &dyn Objects, rules: &Rules, expect: &Expect) -> Result<History, Invalid> {
    check(None, objects, rules, expect)
}

/// As [`validate`], when a history is known that held already: of one that continues it, only what is new is
/// looked up and checked. Any other one is checked whole.
pub fn validate_after(
    known: &History,
    objects: &dyn Objects,
    rules: &Rules,
    expect: &Expect,
) -> Result<History, Invalid> {
    check(Some(known), objects, rules, expect)
}

fn check(
    known: Option<&History>,
    objects: &dyn Objects,
    rules: &Rules,
    expect: &Expect,
) -> Result<History, Invalid> {
    let latest = parsed(objects, ObjectKey::Latest, Latest::parse)?;
    let chain = walk(objects, latest.transition, known)?;
    let first = chain.first().filter(|first| first.body().is_genesis());
    let known = known.filter(|_| first.is_none());
    let mut history = match (known, first) {
        (Some(known), _) => known.clone(),
        (None, Some(first)) => genesis(objects, first, rules)?,
        (None, None) => {
            let key = ObjectKey::Latest;
            return Err(Invalid::Missing { key });
        }
    };
    if expect.lean {
        history = history.lean();
    }
    let later = usize::from(known.is_none());
    follow(
        objects,
        &mut history,
        chain.get(later..).unwrap_or_default(),
        rules,
    )?;
    let all = Arc::clone(history.objects());
    let new = all
        .iter()
        .filter(|key| known.is_none_or(|known| !known.objects().contains(key)));
    conclude(objects, history, &latest, new, expect)
}

/// Extends a history by transitions, whose manifests are looked up.
fn follow(
    objects: &dyn Objects,
    history: &mut History,
    chain: &[SignedTransition],
    rules: &Rules,
) -> Result<(), Invalid> {
    for signed in chain.chunks(AT_A_TIME) {
        let keys = signed
            .iter()
            .map(|signed| ObjectKey::Manifest(signed.body().manifest));
        let manifests = fetch_all(objects, keys.collect())?;
        for (signed, manifest) in signed.iter().zip(manifests) {
            history.extend(signed, &manifest, rules)?;
        }
    }
    Ok(())
}

/// What is left when the chain holds: the signature of `latest`, policies, and what was known.
fn conclude<'a>(
    objects: &dyn Objects,
    mut history: History,
    latest: &Latest,
    new: impl Iterator<Item = &'a ObjectKey>,
    expect: &Expect,
) -> Result<History, Invalid> {
    if !latest.is_signed_by(&history.confirmation().history_spki) {
        return Err(Invalid::LatestSignature);
    }
    if expect.policies {
        let bytes = policies(objects, new)?;
        history = history.with_bytes(bytes);
    }
    history.meets(expect)?;
    Ok(history)
}

/// Signed transitions, oldest first: those after the head of the known history, if they lead to it, else from
/// the first one on.
fn walk(
    objects: &dyn Objects,
    newest: TransitionHash,
    known: Option<&History>,
) -> Result<Vec<SignedTransition>, Invalid> {
    let mut chain: Vec<SignedTransition> = Vec::new();
    let mut next = newest;
    loop {
        if known.is_some_and(|known| known.head().hash == next) {
            chain.reverse();
            return Ok(chain);
        }
        let key = ObjectKey::Transition(next);
        let signed = parsed(objects, key, SignedTransition::parse)?;
        let transition = *signed.body();
        if transition.hash() != next {
            return Err(Invalid::Tampered { key });
        }
        if transition.generation > MAX_GENERATIONS {
            return Err(Invalid::TooLong {
                generation: transition.generation,
                most: MAX_GENERATIONS,
            });
        }
        if let Some(after) = chain.last() {
            // Strictly downwards, so the walk ends.
            let expected = after.body().generation.saturating_sub(1);
            if transition.generation != expected {
                return Err(Invalid::Generation {
                    found: transition.generation,
                    expected,
                });
            }
        }
        let genesis = transition.is_genesis();
        next = transition.previous;
        chain.push(signed);
        if genesis {
            chain.reverse();
            return Ok(chain);
        }
    }
}

fn genesis(
    objects: &dyn Objects,
    first: &SignedTransition,
    rules: &Rules,
) -> Result<History, Invalid> {
    let key = ObjectKey::Confirmation(first.body().hash());
    let confirmation = parsed(objects, key, SignedConfirmation::parse)?;
    let manifest = fetch(objects, ObjectKey::Manifest(first.body().manifest))?;
    let history = History::genesis(first, &confirmation, &manifest, rules)?;
    let shares = ObjectKey::SeedShares(confirmation.body().seed_shares);
    let bytes = fetch(objects, shares)?.len();
    Ok(history.with_bytes(u64::try_from(bytes).unwrap_or(u64::MAX)))
}

/// Looks up the policies among these; gives how many bytes they are.
fn policies<'a>(
    objects: &dyn Objects,
    keys: impl Iterator<Item = &'a ObjectKey>,
) -> Result<u64, Invalid> {
    let policy = |key: &&ObjectKey| matches!(key, ObjectKey::Policy(_));
    let keys: Vec<ObjectKey> = keys.filter(policy).copied().collect();
    let mut bytes: u64 = 0;
    for keys in keys.chunks(AT_A_TIME) {
        let found = fetch_all(objects, keys.to_vec())?;
        let sum = found.iter().map(|bytes| bytes.len()).sum::<usize>();
        bytes = bytes.saturating_add(u64::try_from(sum).unwrap_or(u64::MAX));
    }
    Ok(bytes)
}

impl History {
    /// Compares with what somebody knows. Policies are not looked at: a history that holds was checked for
    /// them when its objects were there.
    pub fn meets(&self, expect: &Expect) -> Result<(), Invalid> {
        for transition in &expect.known {
            if !self.contains(transition) {
                return Err(Invalid::Rollback {
                    transition: *transition,
                });
            }
        }
        if let Some(policy) = expect.coordinator {
            let entry = self.head().manifest.policies.get(&policy);
            if entry.and_then(|entry| entry.role) != Some(Role::Coordinator) {
                return Err(Invalid::NotCoordinator { policy });
            }
        }
        Ok(())
    }
}

/// An object whose bytes are those its name stands for.
fn fetch(objects: &dyn Objects, key: ObjectKey) -> Result<Cow<'_, [u8]>, Invalid> {
    checked(key, objects.object(&key))
}

/// The same for several; what a lookup leaves out is missing.
fn fetch_all(objects: &dyn Objects, keys: Vec<ObjectKey>) -> Result<Vec<Cow<'_, [u8]>>, Invalid> {
    let mut found = objects.objects(&keys).into_iter();
    keys.into_iter()
        .map(|key| checked(key, found.next().unwrap_or(Ok(None))))
        .collect()
}

fn checked(key: ObjectKey, found: Lookup<'_>) -> Result<Cow<'_, [u8]>, Invalid> {
    let bytes = found
        .map_err(|source| Invalid::Unreadable { key, source })?
        .ok_or(Invalid::Missing { key })?;
    if !key.holds(&bytes) {
        return Err(Invalid::Tampered { key });
    }
    Ok(bytes)
}

fn parsed<T>(
    objects: &dyn Objects,
    key: ObjectKey,
    parse: impl FnOnce(&[u8]) -> Result<T, FormatError>,
) -> Result<T, Invalid> {
    parse(&fetch(objects, key)?).map_err(|source| Invalid::Format { key, source })
}
