//! Which transition is the newest one, signed by the key that comes from the seed.

use nacre_manifest::TransitionHash;

use crate::error::FormatError;
use crate::frame::{Reader, frame};
use crate::owner::{self, MAX_SIGNATURE};

const DOMAIN: &[u8] = b"nacre/v1/latest";

/// The newest transition. The signature proves that a Coordinator with the seed stored it in this order,
/// nothing about who wanted it: that is for the owners' signatures in the transition.
///
/// Encoding: version 1, transition (32), the framed signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The newest transition.
    pub transition: TransitionHash,
    signature: Vec<u8>,
}

impl Latest {
    /// With the DER-encoded ECDSA signature (P-384, SHA-384) of the history's key over
    /// [`Latest::message`].
    pub fn new(transition: TransitionHash, signature: Vec<u8>) -> Result<Self, FormatError> {
        if signature.is_empty() || signature.len() > MAX_SIGNATURE {
            return Err(FormatError::PartLength {
                length: signature.len(),
                most: MAX_SIGNATURE,
            });
        }
        Ok(Self {
            transition,
            signature,
        })
    }

    /// What the history's key signs: the framed `nacre/v1/latest`, then the hash of the transition.
    pub fn message(transition: &TransitionHash) -> Vec<u8> {
        let mut message = Vec::new();
        frame(&mut message, DOMAIN);
        message.extend_from_slice(transition.as_bytes());
        message
    }

    /// Whether the key with this DER-encoded public part signed it.
    pub fn is_signed_by(&self, history_spki: &[u8]) -> bool {
        owner::verify(
            history_spki,
            &Self::message(&self.transition),
            &self.signature,
        )
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend_from_slice(self.transition.as_bytes());
        frame(&mut bytes, &self.signature);
        bytes
    }

    /// Reads what [`Latest::encode`] wrote, and nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        reader.version()?;
        let transition = TransitionHash::from_bytes(reader.array()?);
        let signature = reader.frame(MAX_SIGNATURE)?.to_vec();
        reader.end()?;
        Ok(Self {
            transition,
            signature,
        })
    }
}
