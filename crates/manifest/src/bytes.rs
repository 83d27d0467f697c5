//! Byte strings of fixed size that are written as lower-case hex.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Defines one newtype over `[u8; N]`.
macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Number of bytes; the text has twice as many characters.
            pub const LEN: usize = $len;

            /// The value with exactly these bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes, in the order in which they are written.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(text: &str) -> Result<Self, HexError> {
                decode(text).map(Self)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = HexError;

            fn try_from(bytes: &[u8]) -> Result<Self, HexError> {
                let bytes = <[u8; $len]>::try_from(bytes).map_err(|_| HexError::Length {
                    expected: $len * 2,
                    found: bytes.len() * 2,
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

fixed_bytes! {
    /// Identity of a workload: SHA-256 of the raw policy text or of the raw initdata, as it stands
    /// in `HOST_DATA` of the pod's SNP report.
    PolicyHash, 32
}
fixed_bytes! {
    /// Identity of a manifest: SHA-256 of its bytes as received.
    ManifestHash, 32
}
fixed_bytes! {
    /// A workload owner: SHA-256 of the DER-encoded `SubjectPublicKeyInfo` of the key.
    KeyDigest, 32
}
fixed_bytes! {
    /// `MEASUREMENT` of an SNP report: SHA-384 launch digest of the guest.
    LaunchMeasurement, 48
}
fixed_bytes! {
    /// `CHIP_ID` of an SNP report.
    ChipId, 64
}
fixed_bytes! {
    /// Digest of the key that signed a guest's ID block, or of the author key: SHA-384 of the key
    /// in the firmware's format (`ID_KEY_DIGEST`, `AUTHOR_KEY_DIGEST` of an SNP report).
    SignerDigest, 48
}
fixed_bytes! {
    /// Digest of a simulated root certificate: SHA-256 of its DER encoding.
    RootDigest, 32
}
fixed_bytes! {
    /// Identity of a transition from one manifest to the next: SHA-256 of its canonical bytes, without
    /// signatures. All zero stands for "none" before the first one.
    TransitionHash, 32
}
fixed_bytes! {
    /// Identity of a document with encrypted shares of the seed: SHA-256 of its bytes.
    SeedSharesHash, 32
}
fixed_bytes! {
    /// Digest of a manifest's set of policy hashes, as a transition carries it.
    PoliciesDigest, 32
}

impl PolicyHash {
    /// The hash of a raw policy text or raw initdata.
    pub fn of(raw: &[u8]) -> Self {
        Self(Sha256::digest(raw).into())
    }
}

impl ManifestHash {
    /// The hash of a manifest's bytes as received.
    pub fn of(raw: &[u8]) -> Self {
        Self(Sha256::digest(raw).into())
    }
}

impl KeyDigest {
    /// The digest of a DER-encoded `SubjectPublicKeyInfo`.
    pub fn of_spki(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl TransitionHash {
    /// What the first transition names as the one before it.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a transition's canonical bytes.
    pub fn of(raw: &[u8]) -> Self {
        Self(Sha256::digest(raw).into())
    }

    /// Whether this stands for "no transition".
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl SeedSharesHash {
    /// The hash of a seed-share document's bytes.
    pub fn of(raw: &[u8]) -> Self {
        Self(Sha256::digest(raw).into())
    }
}

impl PoliciesDigest {
    const DOMAIN: &'static [u8] = b"nacre/v1/policies";

    /// SHA-256 of the framed domain `nacre/v1/policies` (length as u32, big-endian) and the policy
    /// hashes, each once and sorted.
    pub fn of<'h>(hashes: impl IntoIterator<Item = &'h PolicyHash>) -> Self {
        let sorted: std::collections::BTreeSet<&PolicyHash> = hashes.into_iter().collect();
        let mut digest = Sha256::new();
        // The domain has 17 bytes.
        digest.update([0, 0, 0, 17]);
        digest.update(Self::DOMAIN);
        for hash in sorted {
            digest.update(hash.as_bytes());
        }
        Self(digest.finalize().into())
    }
}

impl RootDigest {
    /// The digest of a DER-encoded certificate.
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

/// Why a text is not one of the hex values of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HexError {
    /// Too short or too long.
    #[error("expected {expected} hex digits, found {found}")]
    Length {
        /// Digits that the value has.
        expected: usize,
        /// Characters that were given.
        found: usize,
    },
    /// Upper-case digits: two spellings of one value would be two keys.
    #[error("upper-case hex digit {digit:?} at position {position}: write lower case")]
    UpperCase {
        /// The digit.
        digit: char,
        /// Its place in the text, from 1.
        position: usize,
    },
    /// Something that is no hex digit.
    #[error("{character:?} at position {position} is not a hex digit")]
    NotHex {
        /// The character.
        character: char,
        /// Its place in the text, from 1.
        position: usize,
    },
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    for (index, character) in text.chars().enumerate() {
        let position = index + 1;
        match character {
            '0'..='9' | 'a'..='f' => {}
            'A'..='F' => {
                return Err(HexError::UpperCase {
                    digit: character,
                    position,
                });
            }
            _ => {
                return Err(HexError::NotHex {
                    character,
                    position,
                });
            }
        }
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| HexError::Length {
        expected: N * 2,
        found: text.chars().count(),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_sha256_in_lower_case() {
        assert_eq!(
            PolicyHash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn each_reason_is_told_apart() {
        let upper = "A".repeat(64).parse::<PolicyHash>();
        assert_eq!(
            upper,
            Err(HexError::UpperCase {
                digit: 'A',
                position: 1
            })
        );
        let short = "ab".parse::<PolicyHash>();
        assert_eq!(
            short,
            Err(HexError::Length {
                expected: 64,
                found: 2
            })
        );
        let other = "zz".parse::<PolicyHash>();
        assert_eq!(
            other,
            Err(HexError::NotHex {
                character: 'z',
                position: 1
            })
        );
        let odd = "a".repeat(63).parse::<PolicyHash>();
        assert_eq!(
            odd,
            Err(HexError::Length {
                expected: 64,
                found: 63
            })
        );
        let long = "a".repeat(66).parse::<PolicyHash>();
        assert_eq!(
            long,
            Err(HexError::Length {
                expected: 64,
                found: 66
            })
        );
    }

    #[test]
    fn text_and_bytes_agree() {
        let text = format!("{}{}", "00".repeat(47), "ff");
        let value: LaunchMeasurement = text.parse().unwrap();
        assert_eq!(value.as_bytes()[47], 0xff);
        assert_eq!(value.to_string(), text);
        assert_eq!(
            LaunchMeasurement::try_from(value.as_bytes().as_slice()),
            Ok(value)
        );
    }
}
