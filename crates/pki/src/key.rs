//! Private keys. None of them is printed or left behind in memory.

use std::fmt;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
};
use rcgen::{
    CertificateParams, DistinguishedName, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PublicKeyData, SignatureAlgorithm, SigningKey,
};
use zeroize::Zeroizing;

use crate::derive::{self, SCALAR, SCALAR_INPUT};
use crate::error::PkiError;
use crate::pem::{read_secret_pem, secret_pem};

/// `ECPrivateKey` (RFC 5915) of secp384r1 around the private key, which stands between the two.
const BEFORE_SCALAR: [u8; 7] = [0x30, 0x3e, 0x02, 0x01, 0x01, 0x04, 0x30];
const BEHIND_SCALAR: [u8; 9] = [0xa0, 0x07, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// A key on P-384 that signs with SHA-384: CA keys and the history key.
pub struct P384Key {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

impl P384Key {
    /// Bytes of a private key.
    pub const LEN: usize = SCALAR;

    /// A new one, from the random number generator.
    pub fn generate() -> Result<Self, PkiError> {
        let mut input = Zeroizing::new([0; SCALAR_INPUT]);
        rand::fill(input.as_mut())?;
        Self::from_scalar(&derive::scalar(&input))
    }

    /// The key with this private key, big-endian.
    pub fn from_scalar(scalar: &[u8; Self::LEN]) -> Result<Self, PkiError> {
        let mut der = Zeroizing::new([0; 64]);
        let parts = BEFORE_SCALAR.iter().chain(scalar).chain(&BEHIND_SCALAR);
        der.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        let pair =
            EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, der.as_ref())?;
        Ok(Self::of(pair))
    }

    /// The private key, big-endian: for another Coordinator over attested TLS, and for nobody else.
    pub fn to_scalar(&self) -> Result<Zeroizing<[u8; Self::LEN]>, PkiError> {
        let bytes = self.pair.private_key().as_be_bytes()?;
        let mut out = Zeroizing::new([0; Self::LEN]);
        if bytes.as_ref().len() != Self::LEN {
            return Err(PkiError::Key);
        }
        out.copy_from_slice(bytes.as_ref());
        Ok(out)
    }

    /// PKCS#8 DER of the private key: as [`P384Key::to_scalar`], in the form that travels.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, PkiError> {
        let document = self.pair.to_pkcs8v1()?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads what [`P384Key::to_pkcs8`] wrote.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, PkiError> {
        Ok(Self::of(EcdsaKeyPair::from_pkcs8(
            &ECDSA_P384_SHA384_ASN1_SIGNING,
            der,
        )?))
    }

    /// DER of the public key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        let mut key = Self {
            pair,
            spki: Vec::new(),
        };
        key.spki = key.subject_public_key_info();
        key
    }

    /// ECDSA with SHA-384, ASN.1.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PkiError> {
        let signature = self.pair.sign(&SystemRandom::new(), message)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for P384Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P384Key(..)")
    }
}

impl PublicKeyData for P384Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P384_SHA384
    }
}

impl SigningKey for P384Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        P384Key::sign(self, message).map_err(|_| rcgen::Error::RingUnspecified)
    }
}

/// The key of a workload: P-256, made where the workload runs.
pub struct LeafKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl LeafKey {
    /// A new one.
    pub fn generate() -> Result<Self, PkiError> {
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::generate(algorithm)?;
        let pkcs8 = Zeroizing::new(pair.to_pkcs8v1()?.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }

    /// Reads what [`LeafKey::to_pem`] wrote.
    pub fn from_pem(text: &str) -> Result<Self, PkiError> {
        let pkcs8 = read_secret_pem("PRIVATE KEY", text).ok_or(PkiError::Key)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8)?;
        Ok(Self { pair, pkcs8 })
    }

    /// PEM of the private key (`PRIVATE KEY`, PKCS#8).
    pub fn to_pem(&self) -> Zeroizing<String> {
        secret_pem("PRIVATE KEY", &self.pkcs8)
    }

    /// DER of the public key.
    pub fn spki(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// DER of a certificate request (PKCS#10). It proves possession of the key and asks for nothing:
    /// what the certificate says is for the Coordinator to decide.
    pub fn request(&self) -> Result<Vec<u8>, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(self)?.der().to_vec())
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafKey(..)")
    }
}

impl PublicKeyData for LeafKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for LeafKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_key_survives_its_file() {
        let key = LeafKey::generate().unwrap();
        let text = key.to_pem();
        let again = LeafKey::from_pem(&text).unwrap();
        assert_eq!(again.spki(), key.spki());
        assert_eq!(*again.to_pem(), *text);
        let other = LeafKey::generate().unwrap().to_pem();
        for wrong in [
            String::new(),
            text.replace("PRIVATE", "PUBLIC"),
            text.replace("-----END", "----END"),
            format!("{}{}", *text, *other),
            text.replacen('M', "N", 1),
        ] {
            assert!(LeafKey::from_pem(&wrong).is_err());
        }
    }

    #[test]
    fn a_key_survives_the_journey_to_another_coordinator() {
        let key = P384Key::generate().unwrap();
        let again = P384Key::from_scalar(&key.to_scalar().unwrap()).unwrap();
        assert_eq!(key.spki(), again.spki());
        let again = P384Key::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!(key.spki(), again.spki());
        assert!(P384Key::from_pkcs8(&LeafKey::generate().unwrap().pkcs8).is_err());
        assert_ne!(key.spki(), P384Key::generate().unwrap().spki());
    }

    #[test]
    fn numbers_outside_of_the_order_are_no_keys() {
        assert!(P384Key::from_scalar(&[0; 48]).is_err());
        assert!(P384Key::from_scalar(&[0xff; 48]).is_err());
    }

    #[test]
    fn signatures_are_those_of_the_public_key() {
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
        let key = P384Key::generate().unwrap();
        let signature = key.sign(b"latest").unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, key.der_bytes());
        assert!(public.verify(b"latest", &signature).is_ok());
        assert!(public.verify(b"older", &signature).is_err());
    }
}
