//! The seed, the salt and what is derived from them.

use std::fmt;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::derive;
use crate::error::PkiError;
use crate::key::P384Key;

/// The one secret of a deployment, 32 bytes. Whoever has it can be its Coordinator.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; Self::LEN]>);

/// What the seed is mixed with, 32 bytes. Not secret: it stands in the signed history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt([u8; Self::LEN]);

/// The secret of one `WorkloadSecretID`, 32 bytes; the same after updates and recoveries.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkloadSecret(Zeroizing<[u8; Self::LEN]>);

impl Seed {
    /// Bytes of a seed.
    pub const LEN: usize = 32;

    /// A new one.
    pub fn generate() -> Result<Self, PkiError> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        rand::fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// The seed with these bytes.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The key of the root CA: the same as long as the deployment lives.
    pub fn root_ca_key(&self, salt: &Salt) -> Result<P384Key, PkiError> {
        derive::p384_key(self, salt, "root-ca-key")
    }

    /// The key that signs which transition is the newest.
    pub fn history_key(&self, salt: &Salt) -> Result<P384Key, PkiError> {
        derive::p384_key(self, salt, "history-key")
    }

    /// The secret of a workload.
    pub fn workload_secret(&self, salt: &Salt, id: &str) -> Result<WorkloadSecret, PkiError> {
        let mut bytes = Zeroizing::new([0; WorkloadSecret::LEN]);
        derive::expand(self, salt, "workload-secret", id.as_bytes(), bytes.as_mut())?;
        Ok(WorkloadSecret(bytes))
    }
}

impl Salt {
    /// Bytes of a salt.
    pub const LEN: usize = 32;

    /// A new one.
    pub fn generate() -> Result<Self, PkiError> {
        let mut bytes = [0; Self::LEN];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The salt with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl WorkloadSecret {
    /// Bytes of a secret.
    pub const LEN: usize = 32;

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Lower-case hex, as the secret stands in a workload's file.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0.as_ref()))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

impl fmt::Debug for WorkloadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkloadSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let seed = Seed::from_bytes([0xab; 32]);
        let salt = Salt::from_bytes([1; 32]);
        let secret = seed.workload_secret(&salt, "shop").unwrap();
        let key = seed.root_ca_key(&salt).unwrap();
        let text = format!("{seed:?} {secret:?} {key:?}");
        assert_eq!(text, "Seed(..) WorkloadSecret(..) P384Key(..)");
    }

    #[test]
    fn every_purpose_every_id_and_every_salt_gives_something_else() {
        let seed = Seed::from_bytes([7; 32]);
        let salts = [Salt::from_bytes([1; 32]), Salt::from_bytes([2; 32])];
        let mut seen = std::collections::BTreeSet::new();
        for salt in &salts {
            for id in ["", "a", "b", "ab"] {
                let secret = seed.workload_secret(salt, id).unwrap();
                assert!(seen.insert(secret.as_bytes().to_vec()));
            }
            for key in [seed.root_ca_key(salt), seed.history_key(salt)] {
                assert!(seen.insert(key.unwrap().spki().to_vec()));
            }
        }
        assert_eq!(seen.len(), 12);
    }
}
