//! An object with the signatures of owners behind it.

use std::fmt;

use crate::error::FormatError;
use crate::frame::{Reader, frame};
use crate::owner::{MAX_SIGNATURE, MAX_SPKI, OwnerSignature};

/// Most signatures of one object.
pub const MAX_SIGNATURES: usize = nacre_manifest::MAX_THRESHOLD as usize;

/// What owners sign.
pub trait Body: Clone + fmt::Debug + PartialEq {
    /// Domain of the signature, so that one for this purpose is none for another.
    const DOMAIN: &'static [u8];

    /// The canonical bytes.
    fn encode(&self) -> Vec<u8>;

    /// Reads what [`Body::encode`] wrote, and nothing behind it.
    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError>;

    /// What owners sign: the framed domain, then the canonical bytes.
    fn message(&self) -> Vec<u8> {
        let mut message = Vec::new();
        frame(&mut message, Self::DOMAIN);
        message.extend_from_slice(&self.encode());
        message
    }
}

/// A body and signatures over its message. That they hold is for [`crate::Authority`] to say.
///
/// Encoding: the body, the number of signatures (u16), then for each the framed public key and the framed
/// signature, sorted by the SHA-256 of the key. All numbers are big-endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<B> {
    body: B,
    signatures: Vec<OwnerSignature>,
}

impl<B: Body> Signed<B> {
    /// Sorts the signatures; refuses two of one key and more than [`MAX_SIGNATURES`].
    pub fn new(body: B, mut signatures: Vec<OwnerSignature>) -> Result<Self, FormatError> {
        signatures.sort_by_key(OwnerSignature::key);
        check(&signatures)?;
        Ok(Self { body, signatures })
    }

    /// What is signed.
    pub fn body(&self) -> &B {
        &self.body
    }

    /// The signatures, sorted by key.
    pub fn signatures(&self) -> &[OwnerSignature] {
        &self.signatures
    }

    /// The body without its signatures.
    pub fn into_parts(self) -> (B, Vec<OwnerSignature>) {
        (self.body, self.signatures)
    }

    /// The one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body.encode();
        // At most MAX_SIGNATURES, by construction.
        let count = u16::try_from(self.signatures.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&count.to_be_bytes());
        for signature in &self.signatures {
            frame(&mut bytes, signature.spki());
            frame(&mut bytes, signature.signature());
        }
        bytes
    }

    /// Reads what [`Signed::encode`] wrote, and nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let body = B::read(&mut reader)?;
        let count = usize::from(reader.u16()?);
        if count > MAX_SIGNATURES {
            return Err(too_many(count));
        }
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            let spki = reader.frame(MAX_SPKI)?;
            let signature = reader.frame(MAX_SIGNATURE)?;
            signatures.push(OwnerSignature::new(spki, signature)?);
        }
        reader.end()?;
        check(&signatures)?;
        Ok(Self { body, signatures })
    }
}

fn check(signatures: &[OwnerSignature]) -> Result<(), FormatError> {
    if signatures.len() > MAX_SIGNATURES {
        return Err(too_many(signatures.len()));
    }
    let sorted = signatures.is_sorted_by(|a, b| a.key() < b.key());
    sorted.then_some(()).ok_or(FormatError::SignatureOrder)
}

fn too_many(count: usize) -> FormatError {
    FormatError::TooManySignatures {
        count,
        most: MAX_SIGNATURES,
    }
}
