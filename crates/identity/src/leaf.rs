//! What a leaf certificate says about its bearer.

use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::OID_X509_SERIALNUMBER;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{POLICY_HASH_LEN, SpiffeId, parse_policy_hash};

/// Who a verified leaf speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaf {
    /// Its one SPIFFE id; None where it has none or several, because then nobody is meant.
    pub spiffe: Option<SpiffeId>,
    /// The policy hash; None where the subject has no `serialNumber`, several, or one of another form.
    pub policy_hash: Option<[u8; POLICY_HASH_LEN]>,
}

impl Leaf {
    /// Reads the DER of a certificate.
    ///
    /// # Errors
    /// [`LeafError`] where this is not one certificate and nothing else.
    pub fn parse(der: &[u8]) -> Result<Self, LeafError> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| LeafError::NotACertificate)?;
        if !rest.is_empty() {
            return Err(LeafError::TrailingBytes(rest.len()));
        }
        let mut numbers = certificate
            .subject()
            .iter_by_oid(&OID_X509_SERIALNUMBER)
            .map(|attribute| attribute.as_str().ok().and_then(parse_policy_hash));
        let policy_hash = match (numbers.next(), numbers.next()) {
            (Some(hash), None) => hash,
            _ => None,
        };
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| LeafError::NotACertificate)?;
        let mut ids = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) if uri.starts_with("spiffe://") => Some(*uri),
                _ => None,
            });
        let spiffe = match (ids.next(), ids.next()) {
            (Some(id), None) => SpiffeId::parse(id),
            _ => None,
        };
        Ok(Self {
            spiffe,
            policy_hash,
        })
    }
}

/// Why bytes are not a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// Not the DER of a certificate.
    #[error("this is no X.509 certificate in DER")]
    NotACertificate,
    /// Something follows the certificate.
    #[error("{0} bytes follow the certificate")]
    TrailingBytes(usize),
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    use super::*;
    use crate::policy_hash_text;

    fn leaf(numbers: &[&str], uris: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        for number in numbers {
            params.distinguished_name.push(
                DnType::CustomDnType(vec![2, 5, 4, 5]),
                DnValue::PrintableString((*number).try_into().unwrap()),
            );
        }
        params.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()))
            .collect();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_are_read() {
        let hash = [0xa5; 32];
        let der = leaf(
            &[&policy_hash_text(&hash)],
            &["https://shop.example/", "spiffe://nacre.local/ns/a/Pod/b"],
        );
        let leaf = Leaf::parse(&der).unwrap();
        assert_eq!(leaf.policy_hash, Some(hash));
        assert_eq!(
            leaf.spiffe.unwrap().as_str(),
            "spiffe://nacre.local/ns/a/Pod/b"
        );
    }

    #[test]
    fn two_ids_are_none_and_a_strange_number_is_none() {
        let two = leaf(&["1234"], &["spiffe://a/b", "spiffe://a/c"]);
        let two = Leaf::parse(&two).unwrap();
        assert_eq!((two.spiffe, two.policy_hash), (None, None));
        let upper = leaf(&[&policy_hash_text(&[0xa5; 32]).to_uppercase()], &[]);
        assert_eq!(Leaf::parse(&upper).unwrap().policy_hash, None);
    }

    #[test]
    fn foreign_bytes_are_an_error() {
        let mut der = leaf(&[], &["spiffe://a/b"]);
        der.push(0);
        assert_eq!(Leaf::parse(&der), Err(LeafError::TrailingBytes(1)));
        der.truncate(40);
        assert_eq!(Leaf::parse(&der), Err(LeafError::NotACertificate));
        assert_eq!(Leaf::parse(b""), Err(LeafError::NotACertificate));
    }
}
