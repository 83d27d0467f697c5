//! Root, intermediate and mesh CA, and the leaves below them.
//!
//! ```text
//! system:coordinator:root            key from the seed: the same for every manifest
//!   system:coordinator:intermediate  signed by the root, key new with every manifest
//! system:coordinator:intermediate    the same key and subject, signed by itself: the mesh CA
//!     leaf                           verifies under either of the two
//! ```
//! Who trusts `mesh-ca.pem` trusts the workloads of this manifest, who trusts `coordinator-root-ca.pem`
//! those of every manifest to come.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::error::PkiError;
use crate::key::P384Key;
use crate::pem::pem;
use crate::profile::LeafProfile;
use crate::request::CertificateRequest;

/// How long a leaf is valid, in seconds: 364 days, so that no clock makes it more than a year.
pub const LEAF_LIFETIME: u64 = 364 * DAY;
const DAY: u64 = 86_400;
/// Certificates of CAs: ten years.
const CA_LIFETIME: u64 = 3_653 * DAY;
/// Clocks differ: everything is valid from an hour ago.
const BEFORE: u64 = 3_600;
const ROOT: &str = "system:coordinator:root";
const INTERMEDIATE: &str = "system:coordinator:intermediate";
const CERTIFICATE: &str = "CERTIFICATE";

/// The CA of one manifest. Everything in it but the keys is public.
pub struct Authority {
    root: Vec<u8>,
    root_spki: Vec<u8>,
    intermediate: Vec<u8>,
    mesh: Vec<u8>,
    not_after: u64,
    issuer: Issuer<'static, P384Key>,
}

impl Authority {
    /// Certifies a mesh key under the root key. `now` is in Unix seconds.
    pub fn new(root_key: &P384Key, mesh_key: P384Key, now: u64) -> Result<Self, PkiError> {
        let not_after = now.saturating_add(CA_LIFETIME);
        let root_params = ca_params(ROOT, 1, root_key, now, not_after)?;
        let root = root_params.self_signed(root_key)?.der().to_vec();

        let mesh_params = ca_params(INTERMEDIATE, 0, &mesh_key, now, not_after)?;
        let mesh = mesh_params.self_signed(&mesh_key)?.der().to_vec();
        let mut params = mesh_params.clone();
        params.serial_number = Some(serial()?);
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::new(root_params, root_key);
        let intermediate = params.signed_by(&mesh_key, &issuer)?.der().to_vec();
        Ok(Self {
            root,
            root_spki: root_key.spki().to_vec(),
            intermediate,
            mesh,
            not_after,
            issuer: Issuer::new(mesh_params, mesh_key),
        })
    }

    /// The CA of another Coordinator, with its very certificates: what workloads were given stays what
    /// this one shows. The certificates have to be for these keys.
    pub fn restore(
        root_key: &P384Key,
        mesh_key: P384Key,
        certificates: CaCertificates,
    ) -> Result<Self, PkiError> {
        let CaCertificates {
            root,
            intermediate,
            mesh,
        } = certificates;
        let mut not_after = u64::MAX;
        for (der, subject, key, issuer) in [
            (&root, ROOT, root_key, root_key),
            (&intermediate, INTERMEDIATE, &mesh_key, root_key),
            (&mesh, INTERMEDIATE, &mesh_key, &mesh_key),
        ] {
            let end = check_ca(der, subject, key, issuer).ok_or(PkiError::Foreign)?;
            not_after = not_after.min(end);
        }
        let params = ca_params(INTERMEDIATE, 0, &mesh_key, 0, 0)?;
        Ok(Self {
            root,
            root_spki: root_key.spki().to_vec(),
            intermediate,
            mesh,
            not_after,
            issuer: Issuer::new(params, mesh_key),
        })
    }

    /// DER of a leaf for the key of the request. `now` is in Unix seconds.
    pub fn issue(
        &self,
        request: &CertificateRequest,
        profile: &LeafProfile,
        now: u64,
    ) -> Result<Vec<u8>, PkiError> {
        let not_after = now.saturating_add(LEAF_LIFETIME).min(self.not_after);
        let mut params = CertificateParams::default();
        params.not_before = moment(now.saturating_sub(BEFORE))?;
        params.not_after = moment(not_after)?;
        params.serial_number = Some(serial()?);
        params.distinguished_name = profile.subject.clone();
        params.subject_alt_names = profile.names.clone();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(request, &self.issuer)?.der().to_vec())
    }

    /// DER of the root CA's certificate. Its key is what stays; the certificate is made anew.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// DER of the root CA's public key.
    pub fn root_spki(&self) -> &[u8] {
        &self.root_spki
    }

    /// DER of the intermediate's certificate.
    pub fn intermediate(&self) -> &[u8] {
        &self.intermediate
    }

    /// DER of the mesh CA's certificate.
    pub fn mesh_ca(&self) -> &[u8] {
        &self.mesh
    }

    /// The key that signs leaves: for another Coordinator over attested TLS.
    pub fn mesh_key(&self) -> &P384Key {
        self.issuer.key()
    }

    /// Text of `coordinator-root-ca.pem`.
    pub fn root_pem(&self) -> String {
        pem(CERTIFICATE, &self.root)
    }

    /// Text of `mesh-ca.pem`.
    pub fn mesh_ca_pem(&self) -> String {
        pem(CERTIFICATE, &self.mesh)
    }

    /// Text of `certChain.pem`: the leaf, then the intermediate.
    pub fn chain_pem(&self, leaf: &[u8]) -> String {
        pem(CERTIFICATE, leaf) + &pem(CERTIFICATE, &self.intermediate)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(..)")
    }
}

/// Certificates of one manifest's CA, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificates {
    /// The root CA's.
    pub root: Vec<u8>,
    /// The intermediate's.
    pub intermediate: Vec<u8>,
    /// The mesh CA's.
    pub mesh: Vec<u8>,
}

/// Whether a certificate is that of a CA of ours, and until when.
fn check_ca(der: &[u8], subject: &str, key: &P384Key, issuer: &P384Key) -> Option<u64> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?;
    let signed = certificate.tbs_certificate.as_ref();
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, issuer.der_bytes())
        .verify(signed, certificate.signature_value.data.as_ref())
        .ok()?;
    let fits = rest.is_empty()
        && name.as_str().ok()? == subject
        && certificate.is_ca()
        && certificate.public_key().raw == key.spki();
    let end = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    fits.then_some(end)
}

fn ca_params(
    name: &str,
    below: u8,
    key: &P384Key,
    now: u64,
    not_after: u64,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.not_before = moment(now.saturating_sub(BEFORE))?;
    params.not_after = moment(not_after)?;
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
    ];
    // Computed once: every leaf names it.
    let identifier = params.key_identifier(key);
    params.key_identifier_method = KeyIdMethod::PreSpecified(identifier);
    Ok(params)
}

/// 16 random bytes, positive and without a leading zero.
fn serial() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes)?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn moment(seconds: u64) -> Result<OffsetDateTime, PkiError> {
    // The last second of the year 9999, where the encoding ends.
    const END: u64 = 253_402_300_799;
    let error = PkiError::Time { seconds };
    match i64::try_from(seconds) {
        Ok(signed) if seconds <= END => {
            OffsetDateTime::from_unix_timestamp(signed).map_err(|_| error)
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests;
