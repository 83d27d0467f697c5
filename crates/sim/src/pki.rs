//! The hierarchy of a product: ARK, and under it ASK and ASVK.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA384, RsaKeyPair};
use nacre_attest::danger::{OtherRoot, verifier_for};
use nacre_attest::{Product, Timestamp, Verifier};

use crate::SimError;
use crate::certificate::{CertificateSpec, ExtensionSpec};
use crate::crl::CrlSpec;
use crate::der::{name, pss};

/// 2020-10-22, when AMD's first ARK for SNP was made.
const NOT_BEFORE: Timestamp = Timestamp(1_603_324_800);
/// 25 years later.
const NOT_AFTER: Timestamp = Timestamp(2_392_329_600);

/// An RSA key of 4096 bits that signs as AMD's do.
#[derive(Clone)]
pub struct RsaKey(Arc<RsaKeyPair>);

impl RsaKey {
    /// A new one. Takes about a second.
    pub fn generate() -> Result<Self, SimError> {
        Ok(Self(Arc::new(RsaKeyPair::generate(KeySize::Rsa4096)?)))
    }

    /// RSASSA-PSS with SHA-384 and a salt of 48 bytes.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SimError> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(
            &RSA_PSS_SHA384,
            &SystemRandom::new(),
            message,
            &mut signature,
        )?;
        Ok(signature)
    }

    /// PKCS#8 DER of the private key.
    pub(crate) fn to_pkcs8(&self) -> Result<Vec<u8>, SimError> {
        let der: Pkcs8V1Der<'_> = self.0.as_der()?;
        Ok(der.as_ref().to_vec())
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        Some(Self(Arc::new(RsaKeyPair::from_pkcs8(der).ok()?)))
    }

    /// DER of the public key.
    pub fn spki(&self) -> Result<Vec<u8>, SimError> {
        Ok(self.0.public_key().as_der()?.as_ref().to_vec())
    }
}

impl std::fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaKey(..)")
    }
}

/// A key with its certificate.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The key.
    pub key: RsaKey,
    /// DER of its name.
    pub subject: Vec<u8>,
    /// Content bytes of its serial number.
    pub serial: Vec<u8>,
    /// DER of its certificate.
    pub certificate: Vec<u8>,
}

/// What is to stand in the certificate of an authority.
#[derive(Clone, Debug)]
pub struct AuthoritySpec {
    /// Common name.
    pub common_name: String,
    /// Content bytes of the serial number.
    pub serial: Vec<u8>,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

impl AuthoritySpec {
    /// A name and a serial number, valid as long as AMD's.
    pub fn new(common_name: impl Into<String>, serial: [u8; 3]) -> Self {
        Self {
            common_name: common_name.into(),
            serial: serial.to_vec(),
            not_before: NOT_BEFORE,
            not_after: NOT_AFTER,
        }
    }

    /// Certifies `key`; without an issuer it certifies itself.
    pub fn certify(&self, key: &RsaKey, by: Option<&Authority>) -> Result<Authority, SimError> {
        let subject = name(&self.common_name)?;
        let certificate = CertificateSpec {
            version: 3,
            serial: self.serial.clone(),
            algorithm: pss(48)?,
            issuer: by.map_or_else(|| subject.clone(), |by| by.subject.clone()),
            not_before: self.not_before,
            not_after: self.not_after,
            subject: subject.clone(),
            spki: key.spki()?,
            extensions: vec![
                // keyCertSign, and cRLSign for the root.
                critical(
                    "2.5.29.15",
                    if by.is_none() {
                        &[3, 2, 1, 6]
                    } else {
                        &[3, 2, 2, 4]
                    },
                ),
                // CA, and for the others no CA below.
                critical(
                    "2.5.29.19",
                    if by.is_none() {
                        &[0x30, 3, 1, 1, 0xff]
                    } else {
                        &[0x30, 6, 1, 1, 0xff, 2, 1, 0]
                    },
                ),
            ],
        }
        .sign(by.map_or(key, |by| &by.key))?;
        Ok(Authority {
            key: key.clone(),
            subject,
            serial: self.serial.clone(),
            certificate,
        })
    }
}

fn critical(oid: &str, value: &[u8]) -> ExtensionSpec {
    ExtensionSpec {
        oid: oid.into(),
        critical: true,
        value: value.to_vec(),
    }
}

/// The authorities of one product.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The product.
    pub product: Product,
    /// Root.
    pub ark: Authority,
    /// Signs VCEKs.
    pub ask: Authority,
    /// Signs VLEKs.
    pub asvk: Authority,
}

impl Pki {
    /// The one of this process: new keys in every process, the same three for all products.
    pub fn of_process(product: Product) -> Result<&'static Self, SimError> {
        static MILAN: LazyLock<Option<Pki>> = LazyLock::new(|| Pki::new(Product::Milan).ok());
        static GENOA: LazyLock<Option<Pki>> = LazyLock::new(|| Pki::new(Product::Genoa).ok());
        static TURIN: LazyLock<Option<Pki>> = LazyLock::new(|| Pki::new(Product::Turin).ok());
        let of_product = match product {
            Product::Milan => &MILAN,
            Product::Genoa => &GENOA,
            _ => &TURIN,
        };
        of_product.as_ref().ok_or(SimError::Crypto)
    }

    fn new(product: Product) -> Result<Self, SimError> {
        static KEYS: LazyLock<Option<[RsaKey; 3]>> = LazyLock::new(|| {
            let key = || RsaKey::generate().ok();
            Some([key()?, key()?, key()?])
        });
        Self::with_keys(product, KEYS.as_ref().ok_or(SimError::Crypto)?)
    }

    pub(crate) fn with_new_keys(product: Product) -> Result<Self, SimError> {
        let keys = [
            RsaKey::generate()?,
            RsaKey::generate()?,
            RsaKey::generate()?,
        ];
        Self::with_keys(product, &keys)
    }

    pub(crate) fn with_keys(product: Product, keys: &[RsaKey; 3]) -> Result<Self, SimError> {
        let [ark_key, ask_key, asvk_key] = keys;
        let line = match product {
            Product::Milan => 1,
            Product::Genoa => 2,
            _ => 3,
        };
        let ark =
            AuthoritySpec::new(format!("ARK-{product}"), [line, 0, 0]).certify(ark_key, None)?;
        let ask = AuthoritySpec::new(format!("SEV-{product}"), [line, 0, 1])
            .certify(ask_key, Some(&ark))?;
        let asvk = AuthoritySpec::new(format!("SEV-VLEK-{product}"), [line, 1, 1])
            .certify(asvk_key, Some(&ark))?;
        Ok(Self {
            product,
            ark,
            ask,
            asvk,
        })
    }

    /// The real verifier, trusting this root and no other.
    pub fn verifier(&self) -> Result<Verifier, SimError> {
        self.verifier_with_pins(None)
    }

    /// As [`Pki::verifier`], with digests that ARK, ASK and ASVK are held against.
    pub fn verifier_with_pins(&self, pins: Option<[[u8; 32]; 3]>) -> Result<Verifier, SimError> {
        let root = OtherRoot {
            product: self.product,
            ark: &self.ark.certificate,
            ask: &self.ask.certificate,
            asvk: &self.asvk.certificate,
            pins,
        };
        verifier_for(&[root]).ok_or(SimError::Roots)
    }

    /// An empty revocation list that is good now.
    pub fn crl(&self) -> Result<Vec<u8>, SimError> {
        CrlSpec::new(&self.ark)?.sign(&self.ark.key)
    }
}
