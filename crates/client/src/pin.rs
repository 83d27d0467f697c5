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
    /// Every transition before the newest one seen, from the first; absent = not known, in a pin of a version that did
    /// not write them. The next run that sees the deployment writes them.
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
    /// The history ends before what was seen, and the pin does not say what was there then.
    #[error(
        "the history ends at generation {found}, and generation {seen} was seen before; whether one leads to the other the \
         pin of an earlier version does not say"
    )]
    Undecided {
        /// Of earlier runs.
        seen: u64,
        /// Found now.
        found: u64,
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
            [] => match head.generation {
                1 => pin.head.hash() == pin.genesis,
                2 => head.previous == pin.genesis,
                _ => true,
            },
            [first, ..] => *first == pin.genesis && pin.earlier.last() == Some(&head.previous),
        };
        let complete = length.checked_add(1) == Some(head.generation);
        let absent = pin.earlier.is_empty() && head.generation > 1;
        match ends && (complete || absent) {
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

    /// Generation and hash of every transition that is known to have been seen, oldest first: without the earlier
    /// ones, the first, the one before the head, and the head.
    fn seen(&self) -> BTreeMap<u64, TransitionHash> {
        let head = &self.head.0;
        let earlier = (1..).zip(self.earlier.iter().copied());
        let ends = [
            (1, self.genesis),
            (head.generation, self.head.hash()),
            (head.generation.saturating_sub(1), head.previous),
        ];
        let ends = ends.into_iter().filter(|(generation, _)| *generation > 0);
        ends.chain(earlier).collect()
    }

    /// How many transitions of a history, the newest ones, nobody has accepted.
    pub fn unaccepted(&self, chain: &[TransitionHash]) -> usize {
        let accepted = self.accepted.and_then(|accepted| {
            let mut all = chain.iter().copied();
            // In a history of before, everything up to what was accepted later is accepted.
            let there = all.position(|transition| transition == accepted);
            there.map(|at| at + 1).or_else(|| {
                let seen = self.seen();
                let seen = seen.iter().find(|(_, seen)| **seen == accepted);
                seen.and_then(|(generation, _)| usize::try_from(*generation).ok())
            })
        });
        let accepted = accepted.unwrap_or(0);
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
                let seen = self.seen();
                let mut pairs = (1u64..).zip(found.chain);
                let fork = pairs.find_map(|(generation, found)| {
                    let seen = seen.get(&generation).filter(|seen| *seen != found)?;
                    Some((generation, *seen, *found))
                });
                let (newest, length) = (
                    self.head.0.generation,
                    u64::try_from(length).unwrap_or(u64::MAX),
                );
                Err(match fork {
                    Some((generation, seen, found)) => Contradiction::Fork {
                        generation,
                        seen,
                        found,
                    },
                    // Each transition names the one before it: the last being the same, all are.
                    None if seen.contains_key(&length) => Contradiction::Rollback {
                        seen: newest,
                        found: length,
                    },
                    None => Contradiction::Undecided {
                        seen: newest,
                        found: length,
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
mod tests;
