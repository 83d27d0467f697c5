//! The second signature of the first set: owners confirm the keys that belong to the seed.

use nacre_manifest::{SeedSharesHash, TransitionHash};

use crate::error::FormatError;
use crate::frame::{Reader, frame};
use crate::owner::{MAX_SPKI, OwnerSignature};
use crate::signed::{Body, Signed};

/// A confirmation with its owners' signatures.
pub type SignedConfirmation = Signed<Confirmation>;

/// Ties the keys that come from the seed to the first transition. Until owners have signed it, nothing is
/// issued.
///
/// Encoding: version 1, transition (32), salt (32), hash of the seed-share document (32), then framed the
/// public key of the root CA and of the history, both as DER `SubjectPublicKeyInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// The first transition.
    pub transition: TransitionHash,
    /// Salt of every derivation from the seed; no secret.
    pub salt: [u8; 32],
    /// The document with the encrypted shares of the seed.
    pub seed_shares: SeedSharesHash,
    /// Public key of the root CA, DER.
    pub root_spki: Vec<u8>,
    /// Public key that `latest` is signed with, DER.
    pub history_spki: Vec<u8>,
}

impl Confirmation {
    /// Reads what [`Body::encode`] wrote, and nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let confirmation = Self::read(&mut reader)?;
        reader.end()?;
        Ok(confirmation)
    }

    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        Body::encode(self)
    }

    /// What owners sign: the framed `nacre/v1/confirmation`, then the encoding.
    pub fn message(&self) -> Vec<u8> {
        Body::message(self)
    }

    /// With signatures.
    pub fn signed(
        self,
        signatures: Vec<OwnerSignature>,
    ) -> Result<SignedConfirmation, FormatError> {
        Signed::new(self, signatures)
    }
}

impl Body for Confirmation {
    const DOMAIN: &'static [u8] = b"nacre/v1/confirmation";

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend_from_slice(self.transition.as_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(self.seed_shares.as_bytes());
        frame(&mut bytes, &self.root_spki);
        frame(&mut bytes, &self.history_spki);
        bytes
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.version()?;
        Ok(Self {
            transition: TransitionHash::from_bytes(reader.array()?),
            salt: reader.array()?,
            seed_shares: SeedSharesHash::from_bytes(reader.array()?),
            root_spki: reader.frame(MAX_SPKI)?.to_vec(),
            history_spki: reader.frame(MAX_SPKI)?.to_vec(),
        })
    }
}
