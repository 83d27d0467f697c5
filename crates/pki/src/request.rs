//! Certificate requests (PKCS#10, RFC 2986) of workloads.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, EcdsaVerificationAlgorithm, UnparsedPublicKey,
};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Longest request that is read, in bytes. One for a P-384 key without attributes has some 250.
const LONGEST: usize = 4096;

/// DER of `AlgorithmIdentifier` around a point, up to and with the count of unused bits.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_HEAD: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

/// What goes together.
struct Curve {
    head: &'static [u8],
    point: usize,
    signature: &'static str,
    verification: &'static EcdsaVerificationAlgorithm,
    algorithm: &'static SignatureAlgorithm,
}

const CURVES: [Curve; 2] = [
    Curve {
        head: P256_HEAD,
        point: 65,
        signature: ECDSA_SHA256,
        verification: &ECDSA_P256_SHA256_ASN1,
        algorithm: &PKCS_ECDSA_P256_SHA256,
    },
    Curve {
        head: P384_HEAD,
        point: 97,
        signature: ECDSA_SHA384,
        verification: &ECDSA_P384_SHA384_ASN1,
        algorithm: &PKCS_ECDSA_P384_SHA384,
    },
];

/// A request whose sender has proven to hold the key.
///
/// Names and extensions that it asks for are not kept: a workload gets what the manifest says.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    spki: Vec<u8>,
    point: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl CertificateRequest {
    /// Reads a request and checks the signature in it.
    pub fn verify(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > LONGEST {
            return Err(RequestError::TooLong { bytes: der.len() });
        }
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        let info = &request.certification_request_info;
        let spki = info.subject_pki.raw;
        let curve = CURVES.iter().find(|curve| {
            spki.starts_with(curve.head) && spki.len() == curve.head.len() + curve.point
        });
        let curve = curve.ok_or(RequestError::Key)?;
        let point = spki.get(curve.head.len()..).unwrap_or_default();
        if point.first() != Some(&4) {
            return Err(RequestError::Key);
        }
        if request.signature_algorithm.algorithm.to_id_string() != curve.signature {
            return Err(RequestError::Algorithm);
        }
        if request.signature_value.unused_bits != 0 {
            return Err(RequestError::Malformed);
        }
        UnparsedPublicKey::new(curve.verification, point)
            .verify(info.raw, request.signature_value.data.as_ref())
            .map_err(|_| RequestError::Possession)?;
        Ok(Self {
            spki: spki.to_vec(),
            point: point.to_vec(),
            algorithm: curve.algorithm,
        })
    }

    /// DER of the public key. It must not be the key of the connection that the request came over.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
}

impl PublicKeyData for CertificateRequest {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// Why a certificate request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// More bytes than a request needs.
    #[error("the request has {bytes} bytes, {LONGEST} are read")]
    TooLong {
        /// Bytes given.
        bytes: usize,
    },
    /// Not a request.
    #[error("not a certificate request (PKCS#10, DER)")]
    Malformed,
    /// A key of another kind.
    #[error("the key is none on P-256 or P-384, uncompressed")]
    Key,
    /// A signature of another kind.
    #[error("the signature is not ECDSA with the hash of the key's curve")]
    Algorithm,
    /// Whoever made the request does not hold the key.
    #[error("the request is not signed by its own key")]
    Possession,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{LeafKey, P384Key};

    #[test]
    fn possession_is_proven_on_both_curves() {
        let key = LeafKey::generate().unwrap();
        let request = CertificateRequest::verify(&key.request().unwrap()).unwrap();
        assert_eq!(request.spki(), key.spki());
        assert_eq!(request.subject_public_key_info(), key.spki());

        let key = P384Key::generate().unwrap();
        let der = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let request = CertificateRequest::verify(der.der()).unwrap();
        assert_eq!(request.spki(), key.spki());
        assert_eq!(request.subject_public_key_info(), key.spki());
    }

    #[test]
    fn no_changed_bit_gives_another_key() {
        let der = LeafKey::generate().unwrap().request().unwrap();
        let good = CertificateRequest::verify(&der).unwrap();
        // The reader overlooks a few bits of the shell; what is signed, and the key, are not among them.
        let signed = der
            .windows(good.spki.len())
            .position(|w| w == good.spki)
            .unwrap()
            + good.spki.len()
            + 2;
        let shell = [0..3, signed..signed + 14];
        for at in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[at / 8] ^= 1 << (at % 8);
            if let Ok(request) = CertificateRequest::verify(&changed) {
                assert_eq!(request.spki, good.spki, "bit {at}");
                let overlooked = shell.iter().any(|range| range.contains(&(at / 8)));
                assert!(overlooked, "bit {at} does not matter");
            }
        }
        for length in 0..der.len() {
            assert!(CertificateRequest::verify(&der[..length]).is_err());
        }
        let longer = [&der[..], &[0]].concat();
        assert_eq!(
            CertificateRequest::verify(&longer).unwrap_err(),
            RequestError::Malformed
        );
        let long = vec![0x30; LONGEST + 1];
        assert_eq!(
            CertificateRequest::verify(&long).unwrap_err(),
            RequestError::TooLong { bytes: LONGEST + 1 }
        );
    }

    #[test]
    fn somebody_elses_key_is_refused() {
        let (one, other) = (LeafKey::generate().unwrap(), LeafKey::generate().unwrap());
        let der = one.request().unwrap();
        let (spki, foreign) = (one.spki(), other.spki());
        let at = der
            .windows(spki.len())
            .position(|window| window == spki)
            .unwrap();
        let mut forged = der.clone();
        forged[at..at + spki.len()].copy_from_slice(&foreign);
        assert_eq!(
            CertificateRequest::verify(&forged).unwrap_err(),
            RequestError::Possession
        );
    }

    #[test]
    fn other_keys_are_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let der = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        assert_eq!(
            CertificateRequest::verify(der.der()).unwrap_err(),
            RequestError::Key
        );
    }
}
