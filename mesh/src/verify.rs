//! Who counts as a member of the mesh: whoever holds a certificate issued by the mesh CA; and, where
//! a list is in force, whose SPIFFE id is on it.
//!
//! DNS names are not compared. DNS is the host's, and every member's certificate says `*`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::KeyUsage;

use crate::peer::{self, SpiffeId};

/// Verified leaves that are remembered: more than a mesh has members, less than would matter.
const REMEMBERED: usize = 1024;

/// Verifies peers on either side against one mesh CA.
///
/// A leaf whose chain has been verified is remembered until it expires, because checking the chain
/// costs as much as the rest of the handshake. The proof that the peer holds the leaf's key is made
/// anew in each handshake. A new mesh CA means a new verifier, with nothing remembered.
#[derive(Debug)]
pub struct MeshVerifier {
    anchors: Vec<TrustAnchor<'static>>,
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    allowed: Option<Vec<SpiffeId>>,
    known: Arc<Known>,
}

/// Leaves verified before: digest of the leaf and of its use, until when (Unix seconds).
#[derive(Debug, Default)]
struct Known(Mutex<BTreeMap<[u8; 33], u64>>);

impl MeshVerifier {
    /// Trusts exactly these anchors, and everybody they have issued to.
    #[must_use]
    pub fn new(anchors: Vec<TrustAnchor<'static>>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let subjects = anchors
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect();
        Self {
            anchors,
            subjects,
            algorithms,
            allowed: None,
            known: Arc::default(),
        }
    }

    /// The same, with what it remembers, but only for these peers.
    #[must_use]
    pub fn only(&self, allowed: &[SpiffeId]) -> Self {
        self.with(Some(allowed.to_vec()))
    }

    /// The same, with what it remembers, for every member.
    #[must_use]
    pub fn anybody(&self) -> Self {
        self.with(None)
    }

    fn with(&self, allowed: Option<Vec<SpiffeId>>) -> Self {
        Self {
            anchors: self.anchors.clone(),
            subjects: self.subjects.clone(),
            algorithms: self.algorithms,
            allowed,
            known: Arc::clone(&self.known),
        }
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), rustls::Error> {
        self.check_chain(leaf, intermediates, now, usage)?;
        peer::admit(self.allowed.as_deref(), leaf)
            .map(drop)
            .map_err(|unwanted| {
                tracing::info!(reason = %unwanted, "a member of the mesh is not allowed here");
                // The alert is access_denied.
                CertificateError::ApplicationVerificationFailure.into()
            })
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), rustls::Error> {
        let key = usage.key(leaf);
        if self.known.holds(&key, now.as_secs()) {
            return Ok(());
        }
        let parsed = webpki::EndEntityCert::try_from(leaf).map_err(reason)?;
        parsed
            .verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                intermediates,
                now,
                usage.required(),
                None,
                None,
            )
            .map_err(reason)?;
        // The chain may hold certificates that expire before the leaf does.
        let until = std::iter::once(leaf)
            .chain(intermediates)
            .map(not_after)
            .min()
            .flatten()
            .unwrap_or_default();
        self.known.remember(key, until, now.as_secs());
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Usage {
    Client,
    Server,
}

impl Usage {
    fn required(self) -> KeyUsage {
        match self {
            Self::Client => KeyUsage::client_auth(),
            Self::Server => KeyUsage::server_auth(),
        }
    }

    fn key(self, leaf: &CertificateDer<'_>) -> [u8; 33] {
        let mut key = [0; 33];
        key[0] = self as u8;
        key[1..]
            .copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf).as_ref());
        key
    }
}

impl Known {
    fn holds(&self, key: &[u8; 33], now: u64) -> bool {
        self.0
            .lock()
            .is_ok_and(|known| known.get(key).is_some_and(|until| now < *until))
    }

    fn remember(&self, key: [u8; 33], until: u64, now: u64) {
        let Ok(mut known) = self.0.lock() else { return };
        if known.len() >= REMEMBERED {
            known.retain(|_, until| now < *until);
        }
        if known.len() < REMEMBERED {
            known.insert(key, until);
        }
    }
}

/// The end of a certificate's validity in Unix seconds.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok()
}

fn reason(error: webpki::Error) -> rustls::Error {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => CertificateError::Expired.into(),
        E::CertNotValidYet { .. } => CertificateError::NotValidYet.into(),
        E::UnknownIssuer => CertificateError::UnknownIssuer.into(),
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature.into(),
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose.into(),
        other => CertificateError::Other(rustls::OtherError(Arc::new(other))).into(),
    }
}

impl ClientCertVerifier for MeshVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now, Usage::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for MeshVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(leaf, intermediates, now, Usage::Server)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
