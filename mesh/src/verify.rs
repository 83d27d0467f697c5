//! Who counts as a member of the mesh: whoever holds a certificate issued by the mesh CA; and, where
//! a list is in force, who is on it.
//!
//! DNS names are not compared. DNS is the host's, and every member's certificate says `*`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use webpki::KeyUsage;
use x509_parser::certificate::X509CertificateParser;
use x509_parser::nom::Parser as _;

use crate::overlap::Predecessor;
use crate::peer::{self, Peer, Who};
use crate::ration::Ration;

/// Verified leaves that are remembered in each of two halves: more than a mesh has members, less than
/// would matter.
const REMEMBERED: usize = 1024;

/// Verifies peers on either side against one mesh CA.
///
/// A leaf whose chain has been verified is remembered until it expires, because checking the chain
/// costs as much as the rest of the handshake. The proof that the peer holds the leaf's key is made
/// anew in each handshake, and so is the question whether it is on the list. A new mesh CA means a new
/// verifier, with nothing remembered.
#[derive(Debug)]
pub struct MeshVerifier {
    authority: Arc<Authority>,
    allowed: Option<Vec<Peer>>,
}

/// What all verifiers of one set of certificates share.
#[derive(Debug)]
struct Authority {
    current: Issuer,
    previous: Option<(Issuer, Predecessor)>,
    /// The files of the predecessor are gone or have changed.
    previous_closed: AtomicBool,
    subjects: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    /// No clock is believed that is behind this: the host sets the guest's.
    not_before: UnixTime,
    /// Lines about members that are not wanted.
    unwanted: Ration,
}

/// One CA and the leaves of it that have been verified.
#[derive(Debug)]
struct Issuer {
    anchors: Vec<TrustAnchor<'static>>,
    known: Known,
}

/// Leaves verified before: digest of the leaf and of its use, until when (Unix seconds). When the
/// newer half is full it becomes the older one, so what is in use stays and what is not goes.
#[derive(Debug, Default)]
struct Known(Mutex<[BTreeMap<[u8; 33], u64>; 2]>);

impl MeshVerifier {
    /// Trusts exactly these anchors and everybody they have issued to, and of their predecessor
    /// those whose policy it lists. `not_before` is the beginning of our own certificate, Unix seconds.
    #[must_use]
    pub(crate) fn new(
        anchors: Vec<TrustAnchor<'static>>,
        previous: Option<Predecessor>,
        algorithms: WebPkiSupportedAlgorithms,
        not_before: u64,
    ) -> Self {
        let named = previous.iter().flat_map(|previous| &previous.anchors);
        let subjects = anchors.iter().chain(named);
        let mut subjects: Vec<_> = subjects
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect();
        // Both generations have the same name.
        subjects.dedup_by(|a, b| a.as_ref() == b.as_ref());
        let previous = previous.map(|mut previous| {
            let anchors = std::mem::take(&mut previous.anchors);
            (Issuer::new(anchors), previous)
        });
        Self {
            authority: Arc::new(Authority {
                current: Issuer::new(anchors),
                previous,
                previous_closed: AtomicBool::new(false),
                subjects,
                algorithms,
                not_before: UnixTime::since_unix_epoch(Duration::from_secs(not_before)),
                unwanted: Ration::default(),
            }),
            allowed: None,
        }
    }

    /// The same, with what it remembers, but only for these peers; None means every member.
    #[must_use]
    pub fn only(&self, allowed: Option<&[Peer]>) -> Self {
        Self {
            authority: Arc::clone(&self.authority),
            allowed: allowed.map(<[Peer]>::to_vec),
        }
    }

    /// From now on nobody of the generation before is let in, here and in what was made from this by
    /// [`Self::only`].
    pub(crate) fn close_overlap(&self) {
        let before = self.authority.previous_closed.swap(true, Ordering::AcqRel);
        if self.authority.previous.is_some() && !before {
            tracing::info!("certificates of the generation before are refused from now on");
        }
    }

    /// Whether [`Self::close_overlap`] has kept somebody out.
    pub(crate) fn has_closed_overlap(&self) -> bool {
        self.authority.previous.is_some() && self.authority.previous_closed.load(Ordering::Acquire)
    }

    /// Whether our own chain is of the CA of now. `now` is in Unix seconds.
    pub(crate) fn check_own(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: u64,
    ) -> Result<(), rustls::Error> {
        let authority = &self.authority;
        let usage = Usage::Server;
        let chain = Chain {
            leaf,
            intermediates,
            key: usage.key(leaf),
            usage,
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now)).max(authority.not_before);
        authority.current.check(&chain, now, authority.algorithms)
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), rustls::Error> {
        self.authority.check(leaf, intermediates, now, usage)?;
        if self.allowed.is_none() {
            return Ok(());
        }
        let who = Who::of(leaf);
        if peer::admits(self.allowed.as_deref(), &who) {
            return Ok(());
        }
        let why = "not on the list of this port or entry";
        Err(self.authority.unwanted(&who, why))
    }
}

impl Authority {
    /// A member that is not wanted: the log says who and why, the peer gets the alert access_denied.
    fn unwanted(&self, who: &Who, why: &str) -> rustls::Error {
        if let Some(unsaid) = self.unwanted.may() {
            tracing::info!(peer = %who, why, unsaid, "a member of the mesh is not wanted here");
        }
        CertificateError::ApplicationVerificationFailure.into()
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: Usage,
    ) -> Result<(), rustls::Error> {
        let now = now.max(self.not_before);
        let chain = Chain {
            leaf,
            intermediates,
            key: usage.key(leaf),
            usage,
        };
        let refusal = match self.current.check(&chain, now, self.algorithms) {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        let Some((issuer, previous)) = &self.previous else {
            return Err(refusal);
        };
        if self.previous_closed.load(Ordering::Acquire)
            || issuer.check(&chain, now, self.algorithms).is_err()
        {
            return Err(refusal);
        }
        let who = Who::of(leaf);
        if who
            .policy
            .is_some_and(|policy| previous.policies.contains(&policy))
        {
            return Ok(());
        }
        Err(self.unwanted(
            &who,
            "its certificate is of the generation before, and its policy is not in the manifest any more",
        ))
    }
}

/// What a peer has shown.
struct Chain<'a> {
    leaf: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    key: [u8; 33],
    usage: Usage,
}

impl Issuer {
    fn new(anchors: Vec<TrustAnchor<'static>>) -> Self {
        Self {
            anchors,
            known: Known::default(),
        }
    }

    fn check(
        &self,
        chain: &Chain<'_>,
        now: UnixTime,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error> {
        if self.known.holds(&chain.key, now.as_secs()) {
            return Ok(());
        }
        let leaf = webpki::EndEntityCert::try_from(chain.leaf).map_err(reason)?;
        let path = leaf
            .verify_for_usage(
                algorithms.all,
                &self.anchors,
                chain.intermediates,
                now,
                chain.usage.required(),
                None,
                None,
            )
            .map_err(reason)?;
        // The path may hold certificates that expire before the leaf does. Others the peer may send as it likes.
        let until = std::iter::once(chain.leaf.clone())
            .chain(
                path.intermediate_certificates()
                    .map(|between| between.der()),
            )
            .map(|certificate| validity(&certificate).map(|(_, end)| end))
            .min()
            .flatten()
            .unwrap_or_default();
        self.known.remember(chain.key, until);
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
        let Ok(mut halves) = self.0.lock() else {
            return false;
        };
        let [newer, older] = &mut *halves;
        if let Some(until) = newer.get(key) {
            return now < *until;
        }
        // In use: it moves to the half that stays.
        match older.remove(key) {
            Some(until) if now < until => {
                insert(&mut halves, *key, until);
                true
            }
            _ => false,
        }
    }

    fn remember(&self, key: [u8; 33], until: u64) {
        if let Ok(mut halves) = self.0.lock() {
            insert(&mut halves, key, until);
        }
    }
}

fn insert(halves: &mut [BTreeMap<[u8; 33], u64>; 2], key: [u8; 33], until: u64) {
    let [newer, older] = halves;
    if newer.len() >= REMEMBERED {
        *older = std::mem::take(newer);
    }
    newer.insert(key, until);
}

/// Beginning and end of a certificate's validity in Unix seconds.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (_, parsed) = parser.parse(certificate).ok()?;
    let validity = parsed.validity();
    let begin = u64::try_from(validity.not_before.timestamp()).ok()?;
    let end = u64::try_from(validity.not_after.timestamp()).ok()?;
    Some((begin, end))
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
        &self.authority.subjects
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
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.authority.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.algorithms.supported_schemes()
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
        rustls::crypto::verify_tls13_signature(message, leaf, signed, &self.authority.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let known = Known::default();
        let key = |n: u32| {
            let mut key = [0; 33];
            key[..4].copy_from_slice(&n.to_be_bytes());
            key
        };
        known.remember(key(0), 100);
        for n in 1..10_000 {
            known.remember(key(n), 100);
            assert!(known.holds(&key(0), 99), "forgotten after {n}");
        }
        assert!(!known.holds(&key(0), 100), "past its end");
        assert!(!known.holds(&key(1), 99));
        let halves = known.0.lock().unwrap();
        assert!(halves.iter().all(|half| half.len() <= REMEMBERED));
    }

    #[test]
    fn a_superfluous_certificate_does_not_end_the_memory_of_a_leaf() {
        use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa};
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, &key);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = rcgen::KeyPair::generate().unwrap();
        let leaf = params.signed_by(&leaf, &issuer).unwrap();
        let anchor = webpki::anchor_from_trusted_cert(authority.der()).unwrap();
        let algorithms = rustls::crypto::aws_lc_rs::default_provider();
        let algorithms = algorithms.signature_verification_algorithms;
        let verifier = MeshVerifier::new(vec![anchor.to_owned()], None, algorithms, 0);
        let junk = [CertificateDer::from(vec![0x30, 0])];
        let now = UnixTime::now();
        verifier
            .check(leaf.der(), &junk, now, Usage::Client)
            .unwrap();
        let key = Usage::Client.key(leaf.der());
        let known = &verifier.authority.current.known;
        assert!(known.holds(&key, now.as_secs()), "forgotten");
        let (_, end) = validity(leaf.der()).unwrap();
        assert!(!known.holds(&key, end), "past its end");
    }
}
