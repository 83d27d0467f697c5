//! What earlier runs have seen: the keys of a deployment and how far its history had come.
//!
//! Storage is untrusted, and a Coordinator that has just started believes whatever valid history it is
//! shown. Only somebody who has seen a newer one can tell: that is what is written down here.

use std::collections::BTreeMap;

use nacre_attest::{MAX_CRL, NewestLists, Product, Timestamp};
use nacre_history::{MAX_GENERATIONS, Transition};
use nacre_manifest::{ManifestHash, TransitionHash};
use serde::{Deserialize, Serialize};

use crate::genesis::MeasuredOwners;

/// Version of the file.
const VERSION: u32 = 1;
/// Longest pin that is read: a manifest, a revocation list of each product in hex and a hash of each generation.
pub const MAX_PIN: usize = nacre_manifest::MAX_BYTES
    + 2 * MAX_CRL * Product::ALL.len()
    + 80 * MAX_GENERATIONS as usize
    + 64 * 1024;

/// A deployment as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    version: u32,
    /// First transition of the history: which deployment this is.
    pub genesis: TransitionHash,
    /// SHA-256 of the root CA's public key (DER `SubjectPublicKeyInfo`), in hex.
    pub root_key: Fingerprint,
    /// The same of the key that signs the head of the history.
    pub history_key: Fingerprint,
    /// What the seed is mixed with, 32 bytes in hex; no secret.
    #[serde(with = "hex::serde")]
    pub salt: [u8; 32],
    /// Every transition before the newest one seen, from the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<TransitionHash>,
    /// The newest transition seen.
    pub head: Seen,
    /// The newest transition up to which somebody has accepted every entry; absent = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<TransitionHash>,
    /// The manifest of the newest transition, byte for byte.
    pub manifest: String,
    /// Who may have set the first manifest, as the newest run that verified it knew; absent = no run has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<MeasuredOwners>,
    /// The newest revocation list verified, of each product; an older one does not count.
    #[serde(default)]
    pub revocation_lists: RevocationLists,
}

/// A transition that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SeenText", into = "SeenText")]
pub struct Seen(Transition);

impl Seen {
    /// This one.
    pub fn of(transition: &Transition) -> Self {
        Self(*transition)
    }

    /// The transition.
    pub fn transition(&self) -> &Transition {
        &self.0
    }

    /// Its hash.
    pub fn hash(&self) -> TransitionHash {
        self.0.hash()
    }
}

/// How it stands in the file: the encoding is what counts, the rest is for people.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SeenText {
    generation: u64,
    transition: TransitionHash,
    manifest: ManifestHash,
    encoding: String,
}

impl From<Seen> for SeenText {
    fn from(Seen(transition): Seen) -> Self {
        Self {
            generation: transition.generation,
            transition: transition.hash(),
            manifest: transition.manifest,
            encoding: hex::encode(transition.to_bytes()),
        }
    }
}

impl TryFrom<SeenText> for Seen {
    type Error = String;

    fn try_from(text: SeenText) -> Result<Self, String> {
        let bytes = hex::decode(&text.encoding).map_err(|error| error.to_string())?;
        let transition = Transition::parse(&bytes).map_err(|error| error.to_string())?;
        let agrees = transition.hash() == text.transition
            && transition.manifest == text.manifest
            && transition.generation == text.generation;
        match agrees {
            true => Ok(Self(transition)),
            false => Err("the encoding is that of another transition".to_owned()),
        }
    }
}

/// SHA-256 of a public key, in hex.
pub type Fingerprint = nacre_manifest::KeyDigest;

/// What a pin is compared with.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// SHA-256 of the root CA's public key.
    pub root_key: Fingerprint,
    /// SHA-256 of the history key.
    pub history_key: Fingerprint,
    /// What the seed is mixed with.
    pub salt: [u8; 32],
    /// Every transition, from the first to the head.
    pub chain: &'a [TransitionHash],
}

/// How a history goes on from the one that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many transitions are newer than the newest that was seen.
    pub newer: usize,
    /// How many transitions nobody has accepted, the newest ones.
    pub unaccepted: usize,
}

/// Why a history is not the one that was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// Another deployment: the history begins with another transition.
    #[error("the history begins with {found}, that of earlier runs with {seen}")]
    Genesis {
        /// Of earlier runs.
        seen: TransitionHash,
        /// Found now; the zero hash when there is none.
        found: TransitionHash,
    },
    /// Another root CA.
    #[error("the root CA's key is {found}, that of earlier runs was {seen}")]
    RootKey {
        /// Of earlier runs.
        seen: Fingerprint,
        /// Found now.
        found: Fingerprint,
    },
    /// Another history key.
    #[error("the history key is {found}, that of earlier runs was {seen}")]
    HistoryKey {
        /// Of earlier runs.
        seen: Fingerprint,
        /// Found now.
        found: Fingerprint,
    },
    /// The history ends before what was seen.
    #[error("the history ends at generation {found}, and generation {seen} was seen before")]
    Rollback {
        /// Generation of the newest transition seen.
        seen: u64,
        /// Generation of the head now.
        found: u64,
    },
    /// Another transition stands where one was seen.
    #[error(
        "generation {generation} is {found}, and was {seen} before: the history has been split"
    )]
    Fork {
        /// Where.
        generation: u64,
        /// Of earlier runs.
        seen: TransitionHash,
        /// Found now.
        found: TransitionHash,
    },
}

/// Why a file is no pin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// Not the JSON of a pin.
    #[error("it is not readable")]
    Syntax(#[source] serde_json::Error),
    /// Written by a later version.
    #[error("it has version {version}, and this program knows version {VERSION}")]
    Version {
        /// As written.
        version: u32,
    },
    /// Its manifest is not the one its head names.
    #[error("its manifest is not the one of its head")]
    Manifest,
    /// Its earlier transitions do not lead to its head.
    #[error("its earlier transitions do not lead to its head")]
    Earlier,
}

impl Pin {
    /// A pin of a deployment at its head.
    pub fn new(genesis: TransitionHash, found: &Found<'_>, head: Seen, manifest: String) -> Self {
        Self {
            version: VERSION,
            genesis,
            root_key: found.root_key,
            history_key: found.history_key,
            salt: found.salt,
            earlier: before(found),
            head,
            accepted: None,
            manifest,
            owners: None,
            revocation_lists: RevocationLists::default(),
        }
    }

    /// Reads what [`Pin::to_bytes`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, PinError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(PinError::Syntax)?;
        if version != VERSION {
            return Err(PinError::Version { version });
        }
        let pin: Self = serde_json::from_slice(bytes).map_err(PinError::Syntax)?;
        if ManifestHash::of(pin.manifest.as_bytes()) != pin.head.0.manifest {
            return Err(PinError::Manifest);
        }
        let head = &pin.head.0;
        let length = u64::try_from(pin.earlier.len()).unwrap_or(u64::MAX);
        let ends = match pin.earlier.as_slice() {
            [] => pin.head.hash() == pin.genesis,
            [first, ..] => *first == pin.genesis && pin.earlier.last() == Some(&head.previous),
        };
        match ends && length.checked_add(1) == Some(head.generation) {
            true => Ok(pin),
            false => Err(PinError::Earlier),
        }
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers always become JSON.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Every transition that was seen, from the first.
    fn seen(&self) -> impl Iterator<Item = TransitionHash> {
        let earlier = self.earlier.iter().copied();
        earlier.chain([self.head.hash()])
    }

    /// How many transitions of a history, the newest ones, nobody has accepted.
    pub fn unaccepted(&self, chain: &[TransitionHash]) -> usize {
        let accepted = self.accepted.and_then(|accepted| {
            let mut all = chain.iter().copied();
            // In a history of before, everything up to what was accepted later is accepted.
            all.position(|transition| transition == accepted)
                .or(self.seen().position(|transition| transition == accepted))
        });
        let accepted = accepted.map_or(0, |at| at + 1);
        chain.len().saturating_sub(accepted)
    }

    /// Whether a history is the pinned one, gone on or not. One that ends before what was seen is told from one
    /// that went another way.
    pub fn compare(&self, found: &Found<'_>) -> Result<Progress, Contradiction> {
        let zero = TransitionHash::from_bytes([0; 32]);
        let genesis = found.chain.first().copied().unwrap_or(zero);
        if genesis != self.genesis {
            return Err(Contradiction::Genesis {
                seen: self.genesis,
                found: genesis,
            });
        }
        if found.root_key != self.root_key {
            return Err(Contradiction::RootKey {
                seen: self.root_key,
                found: found.root_key,
            });
        }
        if found.history_key != self.history_key {
            return Err(Contradiction::HistoryKey {
                seen: self.history_key,
                found: found.history_key,
            });
        }
        let length = found.chain.len();
        let place = usize::try_from(self.head.0.generation).unwrap_or(usize::MAX);
        match place.checked_sub(1).and_then(|at| found.chain.get(at)) {
            None => {
                let mut pairs = (1u64..).zip(self.seen().zip(found.chain));
                let fork = pairs.find(|(_, (seen, found))| seen != *found);
                Err(match fork {
                    Some((generation, (seen, found))) => Contradiction::Fork {
                        generation,
                        seen,
                        found: *found,
                    },
                    None => Contradiction::Rollback {
                        seen: self.head.0.generation,
                        found: u64::try_from(length).unwrap_or(u64::MAX),
                    },
                })
            }
            Some(there) if *there != self.head.hash() => Err(Contradiction::Fork {
                generation: self.head.0.generation,
                seen: self.head.hash(),
                found: *there,
            }),
            Some(_) => Ok(Progress {
                newer: length - place,
                unaccepted: self.unaccepted(found.chain),
            }),
        }
    }

    /// The same pin with these lists, where they are newer.
    #[must_use]
    pub fn with_lists(self, lists: &NewestLists) -> Self {
        Self {
            revocation_lists: RevocationLists(self.revocation_lists.0.merged(lists)),
            ..self
        }
    }

    /// The pin after a run that saw this head. What was accepted stays so.
    #[must_use]
    pub fn advanced(&self, found: &Found<'_>, head: Seen, manifest: String) -> Self {
        Self {
            earlier: before(found),
            head,
            manifest,
            ..self.clone()
        }
    }
}

/// The transitions before the head.
fn before(found: &Found<'_>) -> Vec<TransitionHash> {
    let before = found.chain.split_last().map(|(_, before)| before);
    before.unwrap_or_default().to_vec()
}

/// The revocation lists that earlier runs have verified.
pub fn known_lists(pin: Option<&Pin>) -> NewestLists {
    pin.map(|pin| pin.revocation_lists.0.clone())
        .unwrap_or_default()
}

/// Verified revocation lists in a file: by product, start in seconds since 1970 and DER in hex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    try_from = "BTreeMap<String, ListText>",
    into = "BTreeMap<String, ListText>"
)]
pub struct RevocationLists(pub NewestLists);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListText {
    this_update: u64,
    der: String,
}

impl From<RevocationLists> for BTreeMap<String, ListText> {
    fn from(lists: RevocationLists) -> Self {
        let text = |(product, start, der): (&str, Timestamp, &[u8])| {
            let text = ListText {
                this_update: start.0,
                der: hex::encode(der),
            };
            (product.to_owned(), text)
        };
        lists.0.iter().map(text).collect()
    }
}

impl TryFrom<BTreeMap<String, ListText>> for RevocationLists {
    type Error = String;

    fn try_from(texts: BTreeMap<String, ListText>) -> Result<Self, String> {
        let mut lists = NewestLists::default();
        for (name, text) in texts {
            let product = Product::parse(&name);
            let product = product.ok_or_else(|| format!("{name:?} is no product"))?;
            let der = hex::decode(&text.der).map_err(|error| error.to_string())?;
            if der.len() > MAX_CRL {
                return Err(format!("the revocation list of {name} is too long"));
            }
            lists.saw(product, Timestamp(text.this_update), &der);
        }
        Ok(Self(lists))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }

    /// A chain of this many transitions; `at` makes one chain differ from another.
    fn chain(length: u64, at: u64) -> Vec<Transition> {
        let manifest = nacre_manifest::Manifest::default();
        let mut all: Vec<Transition> = Vec::new();
        for generation in 1..=length {
            let hash = ManifestHash::of(b"{}");
            all.push(match all.last() {
                None => Transition::genesis(&manifest, hash, 1),
                Some(last) => last.next(&manifest, hash, at + generation),
            });
        }
        all
    }

    fn hashes(chain: &[Transition]) -> Vec<TransitionHash> {
        chain.iter().map(Transition::hash).collect()
    }

    fn found(chain: &[TransitionHash]) -> Found<'_> {
        Found {
            root_key: key(1),
            history_key: key(2),
            salt: [3; 32],
            chain,
        }
    }

    fn pin(chain: &[Transition]) -> Pin {
        let genesis = chain.first().unwrap().hash();
        let head = Seen::of(chain.last().unwrap());
        Pin::new(genesis, &found(&hashes(chain)), head, "{}".into())
    }

    fn lists(all: &[(Product, u64)]) -> NewestLists {
        let mut lists = NewestLists::default();
        for (product, start) in all {
            lists.saw(*product, Timestamp(*start), &[7; 3]);
        }
        lists
    }

    #[test]
    fn revocation_lists_only_get_newer_each_product_for_itself() {
        let pin = pin(&chain(1, 5)).with_lists(&lists(&[(Product::Genoa, 9)]));
        let pin = pin.with_lists(&lists(&[(Product::Milan, 20), (Product::Genoa, 3)]));
        let RevocationLists(kept) = &pin.revocation_lists;
        assert_eq!(*kept, lists(&[(Product::Genoa, 9), (Product::Milan, 20)]));
        let advanced = pin.advanced(&found(&[]), pin.head, pin.manifest.clone());
        assert_eq!(advanced.revocation_lists, pin.revocation_lists);
        // What is no list of a product is refused.
        let text = String::from_utf8(pin.to_bytes()).unwrap();
        for (from, to) in [
            ("\"Genoa\"", "\"Naples\""),
            ("\"070707\"", "\"07070\""),
            ("\"thisUpdate\"", "\"thisupdate\""),
        ] {
            assert!(text.contains(from), "{text}");
            assert!(Pin::parse(text.replace(from, to).as_bytes()).is_err());
        }
    }

    #[test]
    fn a_pin_survives_its_file() {
        let chain = chain(2, 5);
        let pin = Pin {
            accepted: Some(chain[0].hash()),
            ..pin(&chain).with_lists(&lists(&[(Product::Genoa, 9), (Product::Milan, 20)]))
        };
        assert_eq!(Pin::parse(&pin.to_bytes()).unwrap(), pin);
        let text = String::from_utf8(pin.to_bytes()).unwrap();
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            ("\"{}\"", "\"{ }\""),
            ("\"head\"", "\"heads\""),
            ("\"generation\": 2", "\"generation\": 3"),
            ("\"encoding\": \"01", "\"encoding\": \"02"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(Pin::parse(changed.as_bytes()).is_err(), "{from}");
        }
    }

    #[test]
    fn earlier_transitions_lead_to_the_head() {
        let chain = chain(3, 5);
        let good = pin(&chain);
        assert_eq!(good.earlier, hashes(&chain[..2]));
        let changes: [fn(&mut Pin); 4] = [
            |pin| pin.earlier.clear(),
            |pin| pin.earlier.swap(0, 1),
            |pin| pin.earlier.truncate(1),
            |pin| pin.earlier.push(pin.head.hash()),
        ];
        for change in changes {
            let mut pin = good.clone();
            change(&mut pin);
            let read = Pin::parse(&pin.to_bytes());
            assert!(matches!(read, Err(PinError::Earlier)), "{read:?}");
        }
    }

    #[test]
    fn of_a_history_of_before_everything_is_accepted_that_was_accepted_later() {
        let all = hashes(&chain(3, 5));
        let pin = |accepted: Option<usize>| Pin {
            accepted: accepted.map(|at| all[at - 1]),
            ..pin(&chain(3, 5))
        };
        assert_eq!(pin(Some(3)).unaccepted(&all[..2]), 0);
        assert_eq!(pin(Some(1)).unaccepted(&all[..2]), 1);
        assert_eq!(pin(None).unaccepted(&all[..2]), 2);
    }

    #[test]
    fn the_same_history_and_a_longer_one_are_told_apart() {
        let all = chain(3, 5);
        let hashes = hashes(&all);
        let seen = |length: usize, accepted: Option<usize>| Pin {
            accepted: accepted.map(|at| hashes[at - 1]),
            ..pin(&all[..length])
        };
        let compare = |pin: Pin| pin.compare(&found(&hashes)).unwrap();
        let progress = |newer, unaccepted| Progress { newer, unaccepted };
        assert_eq!(compare(seen(3, None)), progress(0, 3));
        assert_eq!(compare(seen(3, Some(3))), progress(0, 0));
        assert_eq!(compare(seen(1, Some(1))), progress(2, 2));
        assert_eq!(compare(seen(2, Some(1))), progress(1, 2));
    }

    #[test]
    fn every_contradiction_has_its_reason() {
        let (three, other) = (chain(3, 5), chain(3, 6));
        let (short, others) = (hashes(&three[..2]), hashes(&other));
        let compare = |found: &Found<'_>| pin(&three).compare(found).unwrap_err();
        let rollback = Contradiction::Rollback { seen: 3, found: 2 };
        assert_eq!(compare(&found(&short)), rollback);
        let fork = Contradiction::Fork {
            generation: 3,
            seen: three[2].hash(),
            found: other[2].hash(),
        };
        assert_eq!(compare(&found(&others)), fork);
        let fork = Contradiction::Fork {
            generation: 2,
            seen: three[1].hash(),
            found: other[1].hash(),
        };
        assert_eq!(compare(&found(&others[..2])), fork, "shorter, and another");
        for chain in [&[][..], &others[1..]] {
            assert!(matches!(
                compare(&found(chain)),
                Contradiction::Genesis { .. }
            ));
        }
        let hashes = hashes(&three);
        let other_key = Found {
            root_key: key(7),
            ..found(&hashes)
        };
        assert!(matches!(compare(&other_key), Contradiction::RootKey { .. }));
        let other_key = Found {
            history_key: key(7),
            ..found(&hashes)
        };
        assert!(matches!(
            compare(&other_key),
            Contradiction::HistoryKey { .. }
        ));
    }
}
