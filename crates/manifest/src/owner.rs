//! Public keys of owners.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bytes::KeyDigest;
use crate::der::{self, DerError, Reader};
use crate::pem::{self, PemError};

/// Object identifier `id-ecPublicKey`, 1.2.840.10045.2.1 (RFC 5480).
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// Object identifier `rsaEncryption`, 1.2.840.113549.1.1.1 (RFC 8017).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Named curves a workload owner may use, with the bytes of one coordinate (RFC 5480).
const CURVES: [(&[u8], usize); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 32),
    (&[0x2b, 0x81, 0x04, 0x00, 0x22], 48),
    (&[0x2b, 0x81, 0x04, 0x00, 0x23], 66),
];
/// Least bits of a seed-share key's modulus.
const MIN_RSA_BITS: usize = 2048;
/// Most bits of a seed-share key's modulus, so that nobody's recovery takes minutes.
const MAX_RSA_BITS: usize = 8192;

/// Why a text is not the public key of an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerKeyError {
    /// No PEM block.
    #[error("no PEM block (-----BEGIN PUBLIC KEY-----)")]
    NoPem,
    /// More than one PEM block.
    #[error("more than one PEM block: give each key as an entry of its own")]
    SeveralPem,
    /// A PEM block without its end.
    #[error("the PEM block has no matching end")]
    UnfinishedPem,
    /// A PEM block that is not base64.
    #[error("the PEM block is not base64")]
    Base64,
    /// A private key. Nothing of it is repeated.
    #[error("this is a private key: give the public key, and keep this one out of the pipeline")]
    PrivateKey,
    /// A PEM block of another type.
    #[error("a PEM block of type {label:?} is not a public key")]
    Label {
        /// The type.
        label: String,
    },
    /// The bytes in the block are not a public key.
    #[error("not a public key")]
    Der(#[source] DerError),
    /// A workload owner's key on another algorithm.
    #[error("a workload owner has an elliptic-curve key (P-256, P-384 or P-521)")]
    NotElliptic,
    /// A seed-share owner's key on another algorithm.
    #[error("a seed-share owner has an RSA key")]
    NotRsa,
    /// A point that is not on the wire form of its curve.
    #[error("the point of the key is not uncompressed or has a wrong length")]
    Point,
    /// A modulus of unfit size.
    #[error("the RSA key has {bits} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted")]
    RsaSize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// An exponent that is even or below three.
    #[error("the public exponent of the RSA key is even or below 3")]
    RsaExponent,
    /// Not lower-case hex.
    #[error("not lower-case hex")]
    Hex,
}

impl From<DerError> for OwnerKeyError {
    fn from(error: DerError) -> Self {
        Self::Der(error)
    }
}

impl KeyDigest {
    /// The digest of a workload owner's public key, from its PEM form (`PUBLIC KEY`).
    pub fn from_pem(text: &str) -> Result<Self, OwnerKeyError> {
        let block = block(text)?;
        if block.label != "PUBLIC KEY" {
            return Err(OwnerKeyError::Label { label: block.label });
        }
        Self::from_spki(&block.der)
    }

    /// The digest of a workload owner's public key, from its DER-encoded `SubjectPublicKeyInfo`.
    pub fn from_spki(spki: &[u8]) -> Result<Self, OwnerKeyError> {
        let (mut algorithm, key) = public_key_info(spki)?;
        if algorithm.value(der::OBJECT_IDENTIFIER)? != EC_PUBLIC_KEY {
            return Err(OwnerKeyError::NotElliptic);
        }
        let curve = algorithm.value(der::OBJECT_IDENTIFIER)?;
        algorithm.end()?;
        let size = CURVES
            .iter()
            .find(|(oid, _)| *oid == curve)
            .map(|(_, size)| *size);
        let size = size.ok_or(OwnerKeyError::NotElliptic)?;
        if key.first() != Some(&4) || key.len() != 1 + 2 * size {
            return Err(OwnerKeyError::Point);
        }
        Ok(Self::of_spki(spki))
    }
}

/// RSA public key of a seed-share owner, as PKCS#1 DER; hex in the manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeedshareOwnerKey(Vec<u8>);

impl SeedshareOwnerKey {
    /// From PEM: `RSA PUBLIC KEY` (PKCS#1) or `PUBLIC KEY` (`SubjectPublicKeyInfo`).
    pub fn from_pem(text: &str) -> Result<Self, OwnerKeyError> {
        let block = block(text)?;
        match block.label.as_str() {
            "RSA PUBLIC KEY" => Self::from_pkcs1_der(&block.der),
            "PUBLIC KEY" => Self::from_spki_der(&block.der),
            _ => Err(OwnerKeyError::Label { label: block.label }),
        }
    }

    /// From a DER-encoded `SubjectPublicKeyInfo`.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, OwnerKeyError> {
        let (mut algorithm, key) = public_key_info(der)?;
        if algorithm.value(der::OBJECT_IDENTIFIER)? != RSA_ENCRYPTION {
            return Err(OwnerKeyError::NotRsa);
        }
        algorithm.value(der::NULL)?;
        algorithm.end()?;
        Self::from_pkcs1_der(key)
    }

    /// From PKCS#1 DER: `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`.
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, OwnerKeyError> {
        let bits = modulus_bits(der)?;
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(OwnerKeyError::RsaSize { bits });
        }
        Ok(Self(der.to_vec()))
    }

    /// The PKCS#1 DER bytes.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> usize {
        modulus_bits(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SeedshareOwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for SeedshareOwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedshareOwnerKey({self})")
    }
}

impl FromStr for SeedshareOwnerKey {
    type Err = OwnerKeyError;

    fn from_str(text: &str) -> Result<Self, OwnerKeyError> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(OwnerKeyError::Hex);
        }
        Self::from_pkcs1_der(&hex::decode(text).map_err(|_| OwnerKeyError::Hex)?)
    }
}

impl Serialize for SeedshareOwnerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SeedshareOwnerKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The algorithm and the key bits of a `SubjectPublicKeyInfo` (RFC 5280).
fn public_key_info(spki: &[u8]) -> Result<(Reader<'_>, &[u8]), OwnerKeyError> {
    let mut outer = Reader::new(spki);
    let mut info = outer.sequence()?;
    outer.end()?;
    let algorithm = info.sequence()?;
    let key = info.bits()?;
    info.end()?;
    Ok((algorithm, key))
}

fn modulus_bits(pkcs1: &[u8]) -> Result<usize, OwnerKeyError> {
    let mut outer = Reader::new(pkcs1);
    let mut key = outer.sequence()?;
    outer.end()?;
    let modulus = key.unsigned()?;
    let exponent = key.unsigned()?;
    key.end()?;
    let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if !odd || exponent == [1] {
        return Err(OwnerKeyError::RsaExponent);
    }
    let first = modulus
        .first()
        .map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    Ok(modulus.len().saturating_sub(1) * 8 + first)
}

fn block(text: &str) -> Result<pem::Block, OwnerKeyError> {
    let block = pem::single(text).map_err(|error| match error {
        PemError::None => OwnerKeyError::NoPem,
        PemError::Several => OwnerKeyError::SeveralPem,
        PemError::Unfinished => OwnerKeyError::UnfinishedPem,
        PemError::Base64 => OwnerKeyError::Base64,
    })?;
    if block.label.ends_with("PRIVATE KEY") {
        return Err(OwnerKeyError::PrivateKey);
    }
    Ok(block)
}

#[cfg(test)]
mod tests;
