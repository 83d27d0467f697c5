//! Certificates, with any field settable.

use nacre_attest::Timestamp;

use crate::SimError;
use crate::der::{
    bit_string, explicit, integer, integer_bytes, octet_string, oid, sequence, time, tlv,
};
use crate::pki::RsaKey;

/// What is to stand in a certificate.
#[derive(Clone, Debug)]
pub struct CertificateSpec {
    /// X.509 version, 1 to 3; 1 leaves the field away.
    pub version: u64,
    /// Content bytes of the serial number.
    pub serial: Vec<u8>,
    /// DER of the algorithm identifier, used in both places.
    pub algorithm: Vec<u8>,
    /// DER of the issuer's name.
    pub issuer: Vec<u8>,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
    /// DER of the subject's name.
    pub subject: Vec<u8>,
    /// DER of the subject's key.
    pub spki: Vec<u8>,
    /// Extensions in order.
    pub extensions: Vec<ExtensionSpec>,
}

/// One extension.
#[derive(Clone, Debug)]
pub struct ExtensionSpec {
    /// Its identifier.
    pub oid: String,
    /// Whether it is critical.
    pub critical: bool,
    /// Its content.
    pub value: Vec<u8>,
}

/// A non-critical extension below AMD's arc, `"3.1"` for example.
pub fn amd_extension(below: &str, value: Vec<u8>) -> ExtensionSpec {
    ExtensionSpec {
        oid: format!("1.3.6.1.4.1.3704.1.{below}"),
        critical: false,
        value,
    }
}

impl CertificateSpec {
    /// DER of the certificate, signed.
    pub fn sign(&self, key: &RsaKey) -> Result<Vec<u8>, SimError> {
        let mut tbs = Vec::new();
        if self.version > 1 {
            tbs.extend(explicit(0, &integer(self.version - 1)));
        }
        tbs.extend(integer_bytes(&self.serial));
        tbs.extend_from_slice(&self.algorithm);
        tbs.extend_from_slice(&self.issuer);
        tbs.extend(sequence(&[&time(self.not_before)?, &time(self.not_after)?]));
        tbs.extend_from_slice(&self.subject);
        tbs.extend_from_slice(&self.spki);
        if !self.extensions.is_empty() {
            tbs.extend(explicit(3, &extensions(&self.extensions)?));
        }
        signed(&tlv(0x30, &tbs), &self.algorithm, key)
    }

    /// The extension with this identifier below AMD's arc, to be changed.
    pub fn amd_extension_mut(&mut self, below: &str) -> Option<&mut ExtensionSpec> {
        let wanted = format!("1.3.6.1.4.1.3704.1.{below}");
        self.extensions
            .iter_mut()
            .find(|extension| extension.oid == wanted)
    }

    /// Takes away the extension with this identifier below AMD's arc.
    pub fn remove_amd_extension(&mut self, below: &str) {
        let unwanted = format!("1.3.6.1.4.1.3704.1.{below}");
        self.extensions
            .retain(|extension| extension.oid != unwanted);
    }
}

/// `SEQUENCE OF Extension`.
pub(crate) fn extensions(extensions: &[ExtensionSpec]) -> Result<Vec<u8>, SimError> {
    let mut all = Vec::new();
    for extension in extensions {
        let critical: &[u8] = if extension.critical {
            &[0x01, 0x01, 0xff]
        } else {
            &[]
        };
        all.extend(sequence(&[
            &oid(&extension.oid)?,
            critical,
            &octet_string(&extension.value),
        ]));
    }
    Ok(tlv(0x30, &all))
}

/// The signed form of certificates and revocation lists.
pub(crate) fn signed(tbs: &[u8], algorithm: &[u8], key: &RsaKey) -> Result<Vec<u8>, SimError> {
    let signature = key.sign(tbs)?;
    Ok(sequence(&[tbs, algorithm, &bit_string(&signature)]))
}
