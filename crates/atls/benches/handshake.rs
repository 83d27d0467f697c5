//! An attested connection beside plain mutual TLS 1.3 with the same curve; ratio of one run.
//!
//! `cargo bench -p nacre-atls`. CPU time of the whole process, both ends; what the simulated firmware takes to
//! sign is measured on its thread and taken off. What is inherent is measured too: two P-384 signatures to verify
//! (one report of each end) and two P-256 keys to make.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nacre_atls::{Acceptor, ClientKind, Connector, References, ReportQueue, Timeouts};
use nacre_attest::{Evidence, Policy, Product, ReportSource, SourceError, Timestamp};
use nacre_sim::{Machine, MachineSpec, Pki, ReportSpec, SimulatedGuest};
use rustix::time::{ClockId, clock_gettime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer,
    UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const ROUNDS: usize = 200;

/// Knows how long it has been at work.
struct Timed {
    guest: SimulatedGuest,
    spent: AtomicU64,
    one: Mutex<()>,
}

impl ReportSource for Timed {
    fn name(&self) -> &'static str {
        "timed"
    }

    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, SourceError> {
        let _one = self.one.lock().unwrap();
        let start = thread_time();
        let evidence = self.guest.evidence(report_data);
        let spent = u64::try_from((thread_time() - start).as_nanos()).unwrap();
        self.spent.fetch_add(spent, Ordering::Relaxed);
        evidence
    }
}

fn clock(id: ClockId) -> Duration {
    let now = clock_gettime(id);
    Duration::new(
        now.tv_sec.try_into().unwrap(),
        now.tv_nsec.try_into().unwrap(),
    )
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time of all threads.
fn process_time() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn guest() -> Arc<Timed> {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let guest = SimulatedGuest::new(Machine::new(pki).unwrap(), pki.crl().unwrap());
    Arc::new(Timed {
        guest,
        spent: AtomicU64::new(0),
        one: Mutex::new(()),
    })
}

/// Plain TLS: a key for each side that is made once, any key accepted, possession proven.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

macro_rules! possession {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.2".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    possession!();
}

impl ClientCertVerifier for Any {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    possession!();
}

fn key() -> Arc<CertifiedKey> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref()));
    let key = provider::sign::any_ecdsa_type(&der).unwrap();
    let spki = key.public_key().unwrap().as_ref().to_vec();
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key))
}

fn plain() -> (TlsAcceptor, TlsConnector) {
    // The same group and curve as ours.
    let crypto = Arc::new(CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        ..provider::default_provider()
    });
    let any = Arc::new(Any(crypto.clone()));
    let mut server = rustls::ServerConfig::builder_with_provider(crypto.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(any.clone())
        .with_cert_resolver(Arc::new(
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(key()),
        ));
    server.send_tls13_tickets = 0;
    let mut client = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_client_cert_resolver(Arc::new(
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(key()),
        ));
    client.resumption = rustls::client::Resumption::disabled();
    (Arc::new(server).into(), Arc::new(client).into())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let report = ReportSpec::new(Product::Genoa, &MachineSpec::new(Product::Genoa));
    let references = || {
        References::new(
            Arc::new(pki.verifier().unwrap()),
            vec![Policy::new(Product::Genoa, [report.measurement])],
            BTreeSet::from([report.host_data]),
            Timestamp(0),
        )
    };
    let (workloads, coordinators) = (references(), references());
    let (near_guest, far_guest) = (guest(), guest());
    let acceptor = Acceptor::new(
        ReportQueue::new(far_guest.clone(), 1, 8),
        Timeouts::default(),
    );
    let queue = ReportQueue::new(near_guest.clone(), 1, 8);
    let connector = Connector::default();
    let (plain_acceptor, plain_connector) = plain();
    let (mut attested, mut both_plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 10 {
        let signed = || {
            let sum =
                near_guest.spent.load(Ordering::Relaxed) + far_guest.spent.load(Ordering::Relaxed);
            Duration::from_nanos(sum)
        };
        let (near, far) = tokio::io::duplex(1 << 18);
        let (start, before) = (process_time(), signed());
        let (server, client) = tokio::join!(
            acceptor.accept_attested(far, ClientKind::Workload, &workloads),
            connector.connect_attested(near, ClientKind::Workload, &queue, &coordinators),
        );
        let spent = (process_time() - start).saturating_sub(signed().saturating_sub(before));
        drop((server.unwrap(), client.unwrap()));

        let (near, far) = tokio::io::duplex(1 << 18);
        let name = ServerName::try_from("plain.example").unwrap();
        let start = process_time();
        let (server, client) = tokio::join!(
            plain_acceptor.accept(far),
            plain_connector.connect(name, near)
        );
        let plain = process_time() - start;
        drop((server.unwrap(), client.unwrap()));
        if round >= 10 {
            attested.push(spent);
            both_plain.push(plain);
        }
    }
    let (attested, both_plain) = (median(attested), median(both_plain));
    let ratio = |what: Duration| what.as_secs_f64() / both_plain.as_secs_f64();
    let inherent = inherent();
    println!(
        "attested {attested:?}, plain {both_plain:?}: ratio {:.2} (asked for: 1.7)",
        ratio(attested)
    );
    println!(
        "inherent beside plain: {inherent:?} for two P-384 verifications and two new P-256 keys: ratio at least {:.2}",
        1.0 + ratio(inherent)
    );
}

/// What evidence of both ends and a new key on each side cannot do without.
fn inherent() -> Duration {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
        EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    };
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signer = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let message = [7; 0x2a0];
    let signature = signer.sign(&random, &message).unwrap();
    let key = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, signer.public_key().as_ref()).unwrap();
    let times = (0..ROUNDS).map(|_| {
        let start = thread_time();
        for _ in 0..2 {
            key.verify_sig(&message, signature.as_ref()).unwrap();
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        }
        thread_time() - start
    });
    median(times.collect())
}
