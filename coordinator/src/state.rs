//! What the Coordinator is in: one immutable value, swapped whole.

use std::fmt;
use std::sync::{Arc, OnceLock};

use hyper::body::Bytes;
use nacre_api::v1::Phase;
use nacre_attest::Policy;
use nacre_history::{Entry, History};
use nacre_manifest::{
    HostDataBinding, Manifest, ManifestHash, PolicyEntry, PolicyHash, TransitionHash,
};
use nacre_pki::{Authority as Ca, P384Key, Salt, Seed};
use nacre_store::{Latest as Stored, Version};
use tokio::sync::watch;

use crate::denied::Denied;
use crate::guard::Wanted;

/// One of three phases.
#[derive(Debug)]
pub(crate) enum State {
    /// No history: waits for a first manifest.
    Empty,
    /// There is a history, but the seed is not here: waits for recovery.
    Sealed(Sealed),
    /// A manifest is in force.
    Ready(Arc<Ready>),
}

/// What is known without the seed. Nothing of it is proven.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The object `latest` that leads to it.
    pub(crate) latest: Vec<u8>,
    /// The history of the store, if it holds and this Coordinator may serve it; else why not.
    pub(crate) history: Result<Arc<History>, Arc<Denied>>,
}

impl Sealed {
    /// Whether this is what the store leads to, and it holds.
    pub(crate) fn is_of(&self, stored: &Stored) -> bool {
        self.history.is_ok() && self.latest == stored.bytes
    }
}

/// A manifest in force, and everything that belongs to it.
pub(crate) struct Ready {
    /// From the first transition to the one in force.
    pub(crate) history: History,
    /// The object `latest`, as signed.
    pub(crate) latest: Vec<u8>,
    /// By which `latest` is swapped in the store.
    pub(crate) version: Option<Version>,
    /// Everything that comes from the seed.
    pub(crate) keys: Arc<SeedKeys>,
    /// Root, intermediate, mesh CA.
    pub(crate) ca: Arc<Ca>,
    /// The mesh CA before, where the manifest asks for an overlap.
    pub(crate) previous: Option<Previous>,
    /// Reference values of the manifest.
    references: References,
    /// Names of its objects as a JSON array, once somebody has asked for them.
    names: OnceLock<Bytes>,
}

/// The seed and the keys derived from it. The library clears each when dropped.
pub(crate) struct SeedKeys {
    pub(crate) seed: Seed,
    pub(crate) salt: Salt,
    pub(crate) root: P384Key,
    pub(crate) history: P384Key,
}

/// The mesh CA of the generation before.
#[derive(Clone, Debug)]
pub(crate) struct Previous {
    /// DER of its certificate.
    pub(crate) mesh_ca: Vec<u8>,
    /// Its generation.
    pub(crate) generation: u64,
}

impl SeedKeys {
    pub(crate) fn derive(seed: Seed, salt: Salt) -> Result<Self, nacre_pki::PkiError> {
        Ok(Self {
            root: seed.root_ca_key(&salt)?,
            history: seed.history_key(&salt)?,
            seed,
            salt,
        })
    }
}

/// What makes a [`Ready`]; its reference values are read from the manifest.
pub(crate) struct Parts {
    pub(crate) history: History,
    pub(crate) latest: Vec<u8>,
    pub(crate) version: Option<Version>,
    pub(crate) keys: Arc<SeedKeys>,
    pub(crate) ca: Arc<Ca>,
    pub(crate) previous: Option<Previous>,
}

/// The reference values of a manifest, each in its place.
#[derive(Clone, Debug)]
pub(crate) struct References(Vec<Reference>);

/// One set of them.
#[derive(Clone, Debug)]
struct Reference {
    /// Whether the guest enforces the policy that its reports name.
    enforced: bool,
    /// `None` where nothing can be compared with it: it admits nobody.
    policy: Option<Policy>,
}

impl References {
    /// Those of a manifest. One in force was checked for values that nothing can be compared with.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let sets = manifest.reference_values.snp.iter();
        let sets = sets.map(|set| Reference {
            enforced: set.host_data_binding == HostDataBinding::Enforced,
            policy: Policy::try_from(set).ok(),
        });
        Self(sets.collect())
    }

    /// Of those that count for somebody, by their places, the ones under which he is what is wanted.
    pub(crate) fn fitting(&self, places: &[usize], wanted: Wanted) -> Vec<Policy> {
        let sets = places.iter().filter_map(|place| self.0.get(*place));
        let sets = sets.filter(|set| wanted != Wanted::Heir || set.enforced);
        sets.filter_map(|set| set.policy.clone()).collect()
    }
}

impl From<Parts> for Ready {
    fn from(parts: Parts) -> Self {
        let references = References::of(&parts.history.head().manifest);
        Self {
            history: parts.history,
            latest: parts.latest,
            version: parts.version,
            keys: parts.keys,
            ca: parts.ca,
            previous: parts.previous,
            references,
            names: OnceLock::new(),
        }
    }
}

impl Ready {
    /// The transition in force.
    pub(crate) fn head(&self) -> &Entry {
        self.history.head()
    }

    /// The manifest in force.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.head().manifest
    }

    /// Its hash.
    pub(crate) fn manifest_hash(&self) -> ManifestHash {
        self.head().transition.manifest
    }

    /// 1 for the first.
    pub(crate) fn generation(&self) -> u64 {
        self.head().transition.generation
    }

    /// Names of the objects of the history, a JSON array of text.
    pub(crate) fn names(&self) -> Bytes {
        let names = self.names.get_or_init(|| {
            let names = self.history.objects().iter();
            let names: serde_json::Value = names.map(ToString::to_string).collect();
            format!("{names:#}\n").into()
        });
        names.clone()
    }

    /// Its reference values.
    pub(crate) fn references(&self) -> &References {
        &self.references
    }

    /// The same state, whose `latest` the store knows by another version.
    pub(crate) fn with_version(&self, version: Version) -> Self {
        Self {
            history: self.history.clone(),
            latest: self.latest.clone(),
            version: Some(version),
            keys: Arc::clone(&self.keys),
            ca: Arc::clone(&self.ca),
            previous: self.previous.clone(),
            references: self.references.clone(),
            names: self.names.clone(),
        }
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready")
            .field("generation", &self.generation())
            .field("transition", &self.head().hash)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::Empty => Phase::Empty,
            Self::Sealed(_) => Phase::Sealed,
            Self::Ready(_) => Phase::Ready,
        }
    }

    pub(crate) fn ready(&self) -> Option<&Arc<Ready>> {
        match self {
            Self::Ready(ready) => Some(ready),
            _ => None,
        }
    }

    /// Generation, transition and manifest of the head; unproven while sealed.
    pub(crate) fn head(&self) -> Option<(u64, TransitionHash, ManifestHash)> {
        let of = |history: &History| {
            let head = history.head();
            let transition = head.transition;
            (transition.generation, head.hash, transition.manifest)
        };
        match self {
            Self::Empty => None,
            Self::Sealed(sealed) => sealed.history.as_ref().ok().map(|history| of(history)),
            Self::Ready(ready) => Some(of(&ready.history)),
        }
    }
}

/// Holds the state. Readers take a snapshot and never see half of a change.
#[derive(Debug)]
pub(crate) struct Cell(watch::Sender<Arc<State>>);

impl Cell {
    pub(crate) fn new(state: State) -> Self {
        Self(watch::Sender::new(Arc::new(state)))
    }

    /// The state of this moment.
    pub(crate) fn load(&self) -> Arc<State> {
        Arc::clone(&self.0.borrow())
    }

    /// The manifest in force of this moment.
    pub(crate) fn ready(&self) -> Option<Arc<Ready>> {
        self.0.borrow().ready().cloned()
    }

    pub(crate) fn swap(&self, state: State) {
        self.0.send_replace(Arc::new(state));
    }

    /// Told of every swap.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<State>> {
        self.0.subscribe()
    }
}

/// Whether this policy is a Coordinator in the manifest.
pub(crate) fn is_coordinator(manifest: &Manifest, policy: &PolicyHash) -> bool {
    let entry = manifest.policies.get(policy);
    entry.is_some_and(PolicyEntry::is_coordinator)
}

#[cfg(test)]
mod tests {
    use nacre_attest::Counting;
    use nacre_manifest::{Identity, LaunchMeasurement, Product, SnpReference, Tcb};

    use super::*;

    #[test]
    fn the_seed_is_only_for_guests_that_enforce_their_policy() {
        let set = |platform: &str, binding, first| SnpReference {
            trusted_measurement: Some(LaunchMeasurement::from_bytes([first; 48])),
            host_data_binding: binding,
            minimum_tcb: Tcb {
                bootloader: Some(1),
                tee: Some(1),
                snp: Some(1),
                microcode: Some(1),
                ..Tcb::default()
            },
            ..SnpReference::new(platform, Product::Genoa, 1)
        };
        let mut manifest = Manifest::default();
        manifest.reference_values.snp = vec![
            set("kata-qemu-snp", HostDataBinding::None, 1),
            set("metal-qemu-snp", HostDataBinding::Enforced, 2),
        ];
        let references = References::of(&manifest);
        let mut entry = PolicyEntry::new(Identity::new("shop", "StatefulSet", "c"), Vec::new());
        let count = |entry: &PolicyEntry, wanted| {
            let places = Counting::sets_for(&manifest, entry);
            references.fitting(&places, wanted).len()
        };
        assert_eq!(count(&entry, Wanted::Listed), 2);
        assert_eq!(count(&entry, Wanted::Coordinator), 2);
        assert_eq!(count(&entry, Wanted::Heir), 1);
        entry.platforms = vec!["kata-qemu-snp".to_owned()];
        assert_eq!(count(&entry, Wanted::Coordinator), 1);
        assert_eq!(count(&entry, Wanted::Heir), 0);
    }
}
