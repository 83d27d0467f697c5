//! The seed-share document: every owner's share, encrypted to the owner's key.
//!
//! JSON, strict and byte-stable. It is an object of the history, so its SHA-256 is signed by the owners.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use nacre_manifest::SeedshareOwnerKey;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::PkiError;
use crate::secret::Seed;
use crate::shamir::{self, Share};

const VERSION: u32 = 1;
/// Longest document, in bytes: 64 owners with keys of 8192 bits need some 270 kB.
const LONGEST: usize = 1 << 20;
/// First part of the OAEP label.
const LABEL_DOMAIN: &[u8] = b"nacre/v1/seed-share";
/// First part of what a commitment hashes.
const COMMITMENT_DOMAIN: &[u8] = b"nacre/v1/seed-share-commitment";

/// All shares of one seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SeedShares {
    version: u32,
    /// Tells one splitting from every other, 16 random bytes.
    #[serde(rename = "SetID", with = "hex::serde")]
    set_id: [u8; 16],
    threshold: u8,
    count: u8,
    /// Hash of the first transition of the history that the seed belongs to.
    #[serde(with = "hex::serde")]
    genesis: [u8; 32],
    shares: Vec<ShareEntry>,
}

/// The share of one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ShareEntry {
    /// Not 0.
    pub index: u8,
    /// Whose it is.
    pub owner: SeedshareOwnerKey,
    /// SHA-256 by which a wrong share is told from the right one.
    #[serde(with = "hex::serde")]
    pub commitment: [u8; 32],
    /// RSA-OAEP with SHA-256 and MGF1 with SHA-256, under a label that names set and index.
    #[serde(with = "hex::serde")]
    pub ciphertext: Vec<u8>,
}

impl SeedShares {
    /// Splits a seed among the owners, in the order given: any `threshold` of them can recover.
    ///
    /// `genesis` is the hash of the first transition.
    pub fn seal(
        seed: &Seed,
        threshold: u32,
        owners: &[SeedshareOwnerKey],
        genesis: [u8; 32],
    ) -> Result<Self, SharesError> {
        let count = u8::try_from(owners.len()).map_err(|_| SharesError::Threshold)?;
        let threshold = u8::try_from(threshold).map_err(|_| SharesError::Threshold)?;
        if threshold == 0 || threshold > count {
            return Err(SharesError::Threshold);
        }
        let mut set_id = [0; 16];
        rand::fill(&mut set_id).map_err(PkiError::from)?;
        let shares = shamir::split(seed, threshold, count)?
            .iter()
            .zip(owners)
            .map(|(share, owner)| {
                Ok(ShareEntry {
                    index: share.index(),
                    owner: owner.clone(),
                    commitment: commitment(&set_id, share),
                    ciphertext: encrypt(owner, &set_id, share)?,
                })
            })
            .collect::<Result<_, SharesError>>()?;
        let document = Self {
            version: VERSION,
            set_id,
            threshold,
            count,
            genesis,
            shares,
        };
        document.check()?;
        Ok(document)
    }

    /// Reads a document: unknown fields, indices or owners that come twice, or counts that do not fit
    /// are errors.
    pub fn parse(bytes: &[u8]) -> Result<Self, SharesError> {
        if bytes.len() > LONGEST {
            return Err(SharesError::TooLong { bytes: bytes.len() });
        }
        let document: Self = serde_json::from_slice(bytes).map_err(SharesError::Json)?;
        if document.version != VERSION {
            return Err(SharesError::Version {
                version: document.version,
            });
        }
        document.check()?;
        // One document, one text: its hash is what owners sign.
        if document.to_bytes() != bytes {
            return Err(SharesError::NotCanonical);
        }
        Ok(document)
    }

    /// The canonical text: two spaces, fields in order, a newline at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A struct of numbers and strings always becomes an object.
        let value = serde_json::to_value(self).unwrap_or_default();
        format!("{value:#}\n").into_bytes()
    }

    /// How many shares recover the seed.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Hash of the first transition of the history that the seed belongs to.
    pub fn genesis(&self) -> &[u8; 32] {
        &self.genesis
    }

    /// Every share.
    pub fn entries(&self) -> &[ShareEntry] {
        &self.shares
    }

    /// Decrypts the share of an owner with the owner's private key (PKCS#8 DER).
    pub fn open(&self, pkcs8: &[u8]) -> Result<Share, SharesError> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| SharesError::PrivateKey)?;
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(PkiError::from)?;
        let entry = self
            .shares
            .iter()
            .find(|entry| spki(&entry.owner) == public.as_ref())
            .ok_or(SharesError::NoOwner)?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(PkiError::from)?;
        let mut plain = Zeroizing::new(vec![0; key.min_output_size()]);
        let plain = key
            .decrypt(
                &OAEP_SHA256_MGF1SHA256,
                &entry.ciphertext,
                &mut plain,
                Some(&label(&self.set_id, entry.index)),
            )
            .map_err(|_| SharesError::Undecryptable { index: entry.index })?;
        let share = Share::new(entry.index, plain);
        let share = share.ok_or(SharesError::Undecryptable { index: entry.index })?;
        self.check_share(&share)?;
        Ok(share)
    }

    /// Whether a share is the one of its index.
    pub fn check_share(&self, share: &Share) -> Result<(), SharesError> {
        let index = share.index();
        let entry = self.shares.iter().find(|entry| entry.index == index);
        let entry = entry.ok_or(SharesError::Wrong { index })?;
        let found = commitment(&self.set_id, share);
        match bool::from(found.ct_eq(&entry.commitment)) {
            true => Ok(()),
            false => Err(SharesError::Wrong { index }),
        }
    }

    /// The seed, from enough shares of different owners. A wrong one is named.
    ///
    /// That it is the seed of this history is for the caller to see: it has to give the keys that the
    /// owners confirmed.
    pub fn join(&self, shares: &[Share]) -> Result<Seed, SharesError> {
        let mut seen = BTreeSet::new();
        let mut different = Vec::new();
        for share in shares {
            self.check_share(share)?;
            if seen.insert(share.index()) {
                different.push(share);
            }
        }
        if different.len() < usize::from(self.threshold) {
            return Err(SharesError::TooFew {
                given: different.len(),
                needed: self.threshold,
            });
        }
        different.truncate(self.threshold.into());
        Ok(shamir::join(&different))
    }

    fn check(&self) -> Result<(), SharesError> {
        if self.threshold == 0 || self.threshold > self.count {
            return Err(SharesError::Threshold);
        }
        if self.shares.len() != usize::from(self.count) {
            return Err(SharesError::Count);
        }
        let indices: BTreeSet<_> = self.shares.iter().map(|entry| entry.index).collect();
        let owners: BTreeSet<_> = self.shares.iter().map(|entry| &entry.owner).collect();
        if indices.len() != self.shares.len() || indices.contains(&0) {
            return Err(SharesError::Index);
        }
        if owners.len() != self.shares.len() {
            return Err(SharesError::OwnerTwice);
        }
        for entry in &self.shares {
            if entry.ciphertext.len() != entry.owner.bits().div_ceil(8) {
                return Err(SharesError::Ciphertext { index: entry.index });
            }
        }
        Ok(())
    }
}

fn encrypt(
    owner: &SeedshareOwnerKey,
    set_id: &[u8; 16],
    share: &Share,
) -> Result<Vec<u8>, SharesError> {
    let index = share.index();
    let refused = |_| SharesError::OwnerKey { index };
    let key = PublicEncryptingKey::from_der(&spki(owner)).map_err(refused)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(PkiError::from)?;
    let mut ciphertext = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(
            &OAEP_SHA256_MGF1SHA256,
            share.value(),
            &mut ciphertext,
            Some(&label(set_id, index)),
        )
        .map_err(PkiError::from)?
        .len();
    ciphertext.truncate(length);
    Ok(ciphertext)
}

/// frame(domain) ‖ set id ‖ index.
fn label(set_id: &[u8; 16], index: u8) -> Vec<u8> {
    framed(LABEL_DOMAIN, &[set_id, &[index]])
}

/// SHA-256 of frame(domain) ‖ set id ‖ index ‖ share. A share is as random as the seed: nobody guesses it.
fn commitment(set_id: &[u8; 16], share: &Share) -> [u8; 32] {
    let message = Zeroizing::new(framed(
        COMMITMENT_DOMAIN,
        &[set_id, &[share.index()], share.value()],
    ));
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &message).as_ref());
    out
}

fn framed(domain: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let length = u32::try_from(domain.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let size = length.len() + domain.len() + parts.iter().map(|part| part.len()).sum::<usize>();
    // Reserved at once: growing would leave copies of a share behind.
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&length);
    out.extend_from_slice(domain);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// `SubjectPublicKeyInfo` around a PKCS#1 key (RFC 3279, 2.3.1).
fn spki(owner: &SeedshareOwnerKey) -> Vec<u8> {
    const ALGORITHM: [u8; 15] = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    let bits = [&[0], owner.as_der()].concat();
    let body = [&ALGORITHM[..], &tlv(0x03, &bits)].concat();
    tlv(0x30, &body)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let used: Vec<u8> = bytes
                .iter()
                .copied()
                .skip_while(|byte| *byte == 0)
                .collect();
            out.push(0x80 | u8::try_from(used.len()).unwrap_or(8));
            out.extend(used);
        }
    }
    out.extend_from_slice(content);
    out
}

/// Why a document or a share is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SharesError {
    /// Longer than any document.
    #[error("the document has {bytes} bytes, {LONGEST} are read")]
    TooLong {
        /// Bytes given.
        bytes: usize,
    },
    /// Not the JSON of a document.
    #[error("not a seed-share document")]
    Json(#[source] serde_json::Error),
    /// A version this build does not know.
    #[error("version {version} of seed-share documents is not known, {VERSION} is")]
    Version {
        /// Version given.
        version: u32,
    },
    /// The same content in another text.
    #[error("the document is not in its canonical form: use the file as the Coordinator gave it")]
    NotCanonical,
    /// A threshold that no set of owners can meet.
    #[error("the threshold is 0 or more than there are shares, of which there are at most 255")]
    Threshold,
    /// A count that is not the number of shares.
    #[error("the document does not have as many shares as it says")]
    Count,
    /// An index that is 0 or comes twice.
    #[error("an index is 0 or comes twice")]
    Index,
    /// An owner with two shares.
    #[error("an owner comes twice")]
    OwnerTwice,
    /// A ciphertext that is not as long as the key.
    #[error("the ciphertext of share {index} is not as long as its owner's key")]
    Ciphertext {
        /// Which.
        index: u8,
    },
    /// A key that nothing can be encrypted to.
    #[error("the key of owner {index} is refused")]
    OwnerKey {
        /// Which, from 1.
        index: u8,
    },
    /// Not a private key.
    #[error("not an RSA private key (PKCS#8)")]
    PrivateKey,
    /// The private key is nobody's in the document.
    #[error("no share is encrypted to this key")]
    NoOwner,
    /// The ciphertext was not made for this key, this set and this index.
    #[error("share {index} cannot be decrypted: it was changed, or belongs to another document")]
    Undecryptable {
        /// Which.
        index: u8,
    },
    /// Not the share that was given to its owner.
    #[error("share {index} is wrong")]
    Wrong {
        /// Which.
        index: u8,
    },
    /// Not enough different shares.
    #[error("{given} of {needed} shares are there")]
    TooFew {
        /// How many different ones.
        given: usize,
        /// How many it takes.
        needed: u8,
    },
    /// An operation failed.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

#[cfg(test)]
mod tests;
