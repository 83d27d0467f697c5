//! Names of objects.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Name of an object: `<kind>/<64 hex>`, where the kind has lower-case letters only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreKey {
    text: String,
    slash: usize,
}

impl StoreKey {
    /// Reads a name. Nothing else reaches a file system or a cluster.
    pub fn new(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey {
            text: text.chars().take(100).collect(),
        };
        let (kind, hash) = text.split_once('/').ok_or_else(bad)?;
        let kind_fits =
            (1..=32).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase());
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if !kind_fits || hash.len() != 64 || !hash.bytes().all(digit) {
            return Err(bad());
        }
        Ok(Self {
            text: text.to_owned(),
            slash: kind.len(),
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the slash.
    pub fn kind(&self) -> &str {
        self.text.get(..self.slash).unwrap_or_default()
    }

    /// The hash behind the slash, in hex.
    pub fn hash(&self) -> &str {
        self.text.get(self.slash + 1..).unwrap_or_default()
    }

    /// Whether this is the SHA-256 of these bytes, as that of a policy is: then they are the object. Other objects have
    /// the hash of something in them.
    pub(crate) fn is_sha256_of(&self, bytes: &[u8]) -> bool {
        hex::encode(Sha256::digest(bytes)) == self.hash()
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Not the name of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of an object (<kind>/<64 hex>)")]
pub struct BadKey {
    /// What was given, its first 100 characters.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_objects_are_names() {
        let hash = "0a".repeat(32);
        let key = StoreKey::new(&format!("manifests/{hash}")).unwrap();
        assert_eq!((key.kind(), key.hash()), ("manifests", hash.as_str()));
        assert!(!key.is_sha256_of(b"abc"));
        // FIPS 180-4, the first example.
        let abc = "k/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(StoreKey::new(abc).unwrap().is_sha256_of(b"abc"));
        for text in [
            "".to_owned(),
            "latest".to_owned(),
            format!("/{hash}"),
            format!("../{hash}"),
            format!("a/b/{hash}"),
            format!("Manifests/{hash}"),
            format!("manifests/{}", hash.to_uppercase()),
            format!("manifests/{hash}0"),
            format!("{}/{hash}", "a".repeat(33)),
        ] {
            assert!(StoreKey::new(&text).is_err(), "{text}");
        }
    }
}
