//! The three CA certificates of a Coordinator, and whether they belong together.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use crate::snapshot::Head;

/// What is wrong with the CA certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not a certificate, or more than one.
    #[error("the {which} certificate cannot be read")]
    Unreadable {
        /// Which.
        which: &'static str,
    },
    /// No certificate of a CA.
    #[error("the {which} certificate is not one of a CA")]
    NotCa {
        /// Which.
        which: &'static str,
    },
    /// A signature that does not hold.
    #[error("the {which} certificate is not signed by the {by}")]
    Signature {
        /// Which.
        which: &'static str,
        /// By whom it should be.
        by: &'static str,
    },
    /// A key that is not the one it should be.
    #[error("the {which} certificate has another key than {of}")]
    Key {
        /// Which.
        which: &'static str,
        /// Whose it should be.
        of: &'static str,
    },
    /// Intermediate and mesh CA have different names, so that leaves would not chain to both.
    #[error("intermediate and mesh CA have different names")]
    Names,
}

const ROOT: &str = "root CA";
const INTERMEDIATE: &str = "intermediate CA";
const MESH: &str = "mesh CA";

/// Checks the certificates of a head against its own `root_spki`, which evidence and confirmation cover.
///
/// The root is self-signed with that key; the intermediate is signed by it; the mesh CA is self-signed with
/// the intermediate's key and under its name.
pub fn check(head: &Head) -> Result<(), CertificateError> {
    let root = pem(ROOT, &head.root_ca)?;
    let intermediate = pem(INTERMEDIATE, &head.intermediate_ca)?;
    let (root, intermediate) = (parse(ROOT, &root)?, parse(INTERMEDIATE, &intermediate)?);
    let mesh = parse(MESH, &head.mesh_ca)?;
    if root.public_key().raw != head.root_spki.as_slice() {
        return Err(CertificateError::Key {
            which: ROOT,
            of: "the evidence",
        });
    }
    signed(ROOT, &root, ROOT, &root)?;
    signed(INTERMEDIATE, &intermediate, ROOT, &root)?;
    signed(MESH, &mesh, MESH, &mesh)?;
    if intermediate.public_key().raw != mesh.public_key().raw {
        return Err(CertificateError::Key {
            which: MESH,
            of: "the intermediate CA",
        });
    }
    if intermediate.subject().as_raw() != mesh.subject().as_raw() {
        return Err(CertificateError::Names);
    }
    Ok(())
}

/// DER of the only certificate of a PEM text.
pub fn pem(which: &'static str, text: &str) -> Result<Vec<u8>, CertificateError> {
    let unreadable = CertificateError::Unreadable { which };
    let Ok((rest, block)) = parse_x509_pem(text.as_bytes()) else {
        return Err(unreadable);
    };
    let only = rest.iter().all(u8::is_ascii_whitespace);
    match only && block.label == "CERTIFICATE" {
        true => Ok(block.contents),
        false => Err(unreadable),
    }
}

/// DER of the public key of the only certificate of a PEM text.
pub fn spki_of_pem(which: &'static str, text: &str) -> Result<Vec<u8>, CertificateError> {
    let der = pem(which, text)?;
    Ok(parse(which, &der)?.public_key().raw.to_vec())
}

fn parse<'a>(which: &'static str, der: &'a [u8]) -> Result<X509Certificate<'a>, CertificateError> {
    let certificate = match X509Certificate::from_der(der) {
        Ok(([], certificate)) => certificate,
        _ => return Err(CertificateError::Unreadable { which }),
    };
    let constraints = certificate.basic_constraints().ok().flatten();
    let usage = certificate.key_usage().ok().flatten();
    let ca = constraints.is_some_and(|constraints| constraints.value.ca)
        && usage.is_none_or(|usage| usage.value.key_cert_sign());
    match ca {
        true => Ok(certificate),
        false => Err(CertificateError::NotCa { which }),
    }
}

fn signed(
    which: &'static str,
    certificate: &X509Certificate<'_>,
    by: &'static str,
    issuer: &X509Certificate<'_>,
) -> Result<(), CertificateError> {
    let key = issuer.public_key().subject_public_key.data.as_ref();
    let holds = certificate.issuer().as_raw() == issuer.subject().as_raw()
        && UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, key)
            .verify(
                certificate.tbs_certificate.as_ref(),
                certificate.signature_value.data.as_ref(),
            )
            .is_ok();
    match holds {
        true => Ok(()),
        false => Err(CertificateError::Signature { which, by }),
    }
}
