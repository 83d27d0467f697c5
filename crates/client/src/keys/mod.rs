//! Private keys of owners: read from PEM, used, never printed.

mod pbes2;
mod pem;

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use nacre_history::{OwnerKeyPair, OwnerSignature};
use nacre_manifest::{KeyDigest, SeedshareOwnerKey};
use zeroize::Zeroizing;

pub use self::pem::{Block, encode, private_block};

/// What opens an encrypted key. Cleared when it is dropped.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// Asked for a passphrase, once, when a key turns out to be encrypted. `None` = there is none.
pub type AskPassphrase<'a> = &'a mut dyn FnMut() -> Option<Passphrase>;

/// Why a file is no key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No PEM block.
    #[error("it is not PEM")]
    NotPem,
    /// A public key where a private one is needed.
    #[error("it holds a public key, and the private one is needed")]
    Public,
    /// A PEM block of another type.
    #[error("it is a {label}")]
    Label {
        /// The type.
        label: String,
    },
    /// `Proc-Type: 4,ENCRYPTED`, whose key derivation is one round of MD5.
    #[error("it is encrypted in the traditional form of openssl")]
    Traditional,
    /// The key is encrypted and there is no passphrase.
    #[error("it is encrypted, and no passphrase was given")]
    PassphraseNeeded,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it")]
    WrongPassphrase,
    /// Encrypted with something that is not read here.
    #[error("it is encrypted with {scheme}")]
    Scheme {
        /// What was found.
        scheme: String,
    },
    /// The bytes are not what the label says.
    #[error("it is damaged")]
    Malformed,
    /// Not a key on P-256, P-384 or P-521.
    #[error("it is no private key on P-256, P-384 or P-521")]
    NotElliptic,
    /// Not an RSA key.
    #[error("it is no RSA private key")]
    NotRsa,
    /// An RSA key that the manifest would not take.
    #[error("{0}")]
    Unfit(String),
    /// The library failed.
    #[error("the key could not be used")]
    Failed,
}

impl KeyError {
    /// What to do about it, where there is something to say.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Traditional | Self::Scheme { .. } => Some(
                "convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in OLD -out NEW",
            ),
            Self::PassphraseNeeded => {
                Some("name a file that holds it with --passphrase-file, or run on a terminal")
            }
            Self::Public => Some(
                "sign where the private key is: `nacre sign --prepare`, then `--signature` with `--signer`",
            ),
            _ => None,
        }
    }
}

/// Somebody who can sign as a workload owner.
pub trait OwnerSigner {
    /// DER `SubjectPublicKeyInfo` of the key.
    fn spki(&self) -> &[u8];

    /// ECDSA with the hash that belongs to the curve.
    fn sign(&self, message: &[u8]) -> Result<OwnerSignature, SignError>;

    /// What the manifest knows the key by.
    fn digest(&self) -> KeyDigest {
        KeyDigest::of_spki(self.spki())
    }
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key in memory failed.
    #[error("the key could not sign")]
    Key,
    /// An external signer failed.
    #[error("the signing command failed: {reason}")]
    Command {
        /// What it said.
        reason: String,
    },
}

/// A workload owner's private key in memory.
pub struct WorkloadKey(OwnerKeyPair);

impl WorkloadKey {
    /// Reads PKCS#8, encrypted or not, or SEC1, in PEM.
    pub fn from_pem(text: &str, ask: AskPassphrase<'_>) -> Result<Self, KeyError> {
        let block = open(text, ask)?;
        let key = OwnerKeyPair::from_der(&block.der).ok_or(KeyError::NotElliptic)?;
        Ok(Self(key))
    }
}

impl OwnerSigner for WorkloadKey {
    fn spki(&self) -> &[u8] {
        self.0.spki()
    }

    fn sign(&self, message: &[u8]) -> Result<OwnerSignature, SignError> {
        self.0.sign(message).map_err(|_| SignError::Key)
    }
}

impl fmt::Debug for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkloadKey({})", self.digest())
    }
}

/// A seed-share owner's private key in memory.
pub struct SeedshareKey {
    pkcs8: Zeroizing<Vec<u8>>,
    public: SeedshareOwnerKey,
    spki: Vec<u8>,
}

impl SeedshareKey {
    /// Reads PKCS#8, encrypted or not, or PKCS#1, in PEM.
    pub fn from_pem(text: &str, ask: AskPassphrase<'_>) -> Result<Self, KeyError> {
        let block = open(text, ask)?;
        let pkcs8 = match block.label.as_str() {
            "RSA PRIVATE KEY" => pem::pkcs8_of_pkcs1(&block.der),
            _ => block.der,
        };
        let key = rsa::KeyPair::from_pkcs8(&pkcs8).map_err(|_| KeyError::NotRsa)?;
        let public = SeedshareOwnerKey::from_pkcs1_der(key.public_key().as_ref())
            .map_err(|error| KeyError::Unfit(error.to_string()))?;
        let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| KeyError::Failed)?;
        Ok(Self {
            spki: spki.as_ref().to_vec(),
            pkcs8,
            public,
        })
    }

    /// The public key, as the manifest has it.
    pub fn public(&self) -> &SeedshareOwnerKey {
        &self.public
    }

    /// DER `SubjectPublicKeyInfo` of the key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// PKCS#8 DER of the private key.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// RSASSA-PSS signature with SHA-256 and a salt of 32 bytes.
    pub fn sign_pss(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let key = rsa::KeyPair::from_pkcs8(&self.pkcs8).map_err(|_| SignError::Key)?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(
            &RSA_PSS_SHA256,
            &SystemRandom::new(),
            message,
            &mut signature,
        )
        .map_err(|_| SignError::Key)?;
        Ok(signature)
    }
}

impl fmt::Debug for SeedshareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SeedshareKey(RSA {} bits)", self.public.bits())
    }
}

/// The private key of a text, opened.
pub fn open(text: &str, ask: AskPassphrase<'_>) -> Result<Block, KeyError> {
    let block = private_block(text)?;
    if block.label != "ENCRYPTED PRIVATE KEY" {
        return Ok(block);
    }
    let passphrase = ask().ok_or(KeyError::PassphraseNeeded)?;
    Ok(Block {
        label: "PRIVATE KEY".to_owned(),
        der: pbes2::decrypt(&block.der, &passphrase)?,
    })
}

#[cfg(test)]
mod tests;
