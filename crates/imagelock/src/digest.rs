//! Content digests: `sha256:` and 64 lower-case hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 content digest, as registries write it (OCI image specification, "Digests").
///
/// Other algorithms are refused: what a guest pulls is compared with this value, and one
/// spelling per content keeps that comparison a comparison of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A digest computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((algorithm, digits)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm);
        };
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm {
                found: printable(algorithm),
            });
        }
        if digits.len() != 64 {
            return Err(DigestError::Length {
                found: digits.len(),
            });
        }
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError::UpperCase);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| DigestError::NotHex)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a [`Digest`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// No `algorithm:` in front.
    #[error("a digest is written sha256:<64 hexadecimal digits>")]
    NoAlgorithm,
    /// Another algorithm than SHA-256.
    #[error("digest algorithm {found:?} is not supported, only sha256 is")]
    Algorithm {
        /// What was written.
        found: String,
    },
    /// Not 64 digits.
    #[error("a sha256 digest has 64 hexadecimal digits, not {found}")]
    Length {
        /// How many bytes stand there.
        found: usize,
    },
    /// `A` to `F`.
    #[error("a digest is written with lower-case hexadecimal digits")]
    UpperCase,
    /// Something else than a hexadecimal digit.
    #[error("a digest has hexadecimal digits only")]
    NotHex,
}

/// At most 80 characters of foreign text, without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_value_round_trips() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), digest);
        assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
    }

    #[test]
    fn every_malformation_has_its_reason() {
        let hex = &EMPTY[7..];
        let cases = [
            (hex.to_owned(), DigestError::NoAlgorithm),
            (
                format!("sha512:{hex}"),
                DigestError::Algorithm {
                    found: "sha512".into(),
                },
            ),
            (
                format!("SHA256:{hex}"),
                DigestError::Algorithm {
                    found: "SHA256".into(),
                },
            ),
            (EMPTY[..70].to_owned(), DigestError::Length { found: 63 }),
            (format!("{EMPTY}0"), DigestError::Length { found: 65 }),
            (
                format!("sha256:{}", hex.to_uppercase()),
                DigestError::UpperCase,
            ),
            (
                format!("sha256:{}", hex.replace('e', "g")),
                DigestError::NotHex,
            ),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<Digest>().unwrap_err(), reason, "{text}");
        }
    }
}
