//! The key of one end of one connection.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;

/// A P-256 key, made for one connection and never written anywhere; the library clears it when the last user of
/// the connection's configuration is gone.
#[derive(Debug)]
pub(crate) struct OneKey {
    pub(crate) certified: Arc<CertifiedKey>,
    /// DER of the public key.
    pub(crate) spki: Vec<u8>,
}

impl OneKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        Self::of(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?)
    }

    /// A key that somebody has got hold of.
    #[cfg(test)]
    pub(crate) fn from_pkcs8(bytes: &[u8]) -> Result<Self, Error> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes);
        Self::of(pair.map_err(|_| failed(aws_lc_rs::error::Unspecified))?)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, Error> {
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        let spki = der.as_ref().to_vec();
        let key = Arc::new(Held {
            pair: Arc::new(pair),
            spki: spki.clone(),
        });
        let certified = CertifiedKey::new(vec![CertificateDer::from(spki.clone())], key);
        Ok(Self {
            certified: Arc::new(certified),
            spki,
        })
    }
}

fn failed(_: aws_lc_rs::error::Unspecified) -> Error {
    Error::General("no key".into())
}

/// The key as the TLS library asks for it: without a detour over its encoding, which would be read and checked again.
#[derive(Debug)]
struct Held {
    pair: Arc<EcdsaKeyPair>,
    spki: Vec<u8>,
}

impl SigningKey for Held {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SCHEME)
            .then(|| Box::new(OneSigner(Arc::clone(&self.pair))) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.spki.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

#[derive(Debug)]
struct OneSigner(Arc<EcdsaKeyPair>);

impl Signer for OneSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|_| Error::General("signing failed".into()))?;
        Ok(signature.as_ref().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}
