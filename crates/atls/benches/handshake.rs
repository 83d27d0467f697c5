//! An attested connection beside plain mutual TLS 1.3 with the same curve; ratio of one run.
//!
//! `cargo bench -p nacre-atls`. Plain is what a mesh does: both ends show a certificate of one authority and check the
//! other's. CPU time of the whole process, both ends; what the simulated firmware takes to sign is measured on its
//! thread and taken off; certificates of chips are remembered.
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
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const ROUNDS: usize = 400;
const NAME: &str = "plain.example";
/// Attested, of plain with the same curve.
const LIMIT: f64 = 1.7;

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

/// Certificates of a small mesh: one authority, one leaf for each side, all on one curve.
struct Mesh {
    authority: CertificateDer<'static>,
    server: (CertificateDer<'static>, PrivateKeyDer<'static>),
    client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Mesh {
    fn new(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = || rcgen::KeyPair::generate_for(algorithm).unwrap();
        let authority_key = key();
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let leaf = |usage| {
            let key = key();
            let mut params = rcgen::CertificateParams::new([NAME.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &issuer).unwrap();
            let pkcs8 = PrivatePkcs8KeyDer::from(key.serialize_der());
            (certificate.der().clone(), PrivateKeyDer::Pkcs8(pkcs8))
        };
        Self {
            authority: authority.der().clone(),
            server: leaf(rcgen::ExtendedKeyUsagePurpose::ServerAuth),
            client: leaf(rcgen::ExtendedKeyUsagePurpose::ClientAuth),
        }
    }
}

/// Mutual TLS as a mesh speaks it: each side checks the other's certificate against the authority.
fn plain(algorithm: &'static rcgen::SignatureAlgorithm) -> (TlsAcceptor, TlsConnector) {
    let mesh = Mesh::new(algorithm);
    let mut roots = RootCertStore::empty();
    roots.add(mesh.authority).unwrap();
    let roots = Arc::new(roots);
    // The same group as ours.
    let crypto = Arc::new(CryptoProvider {
        kx_groups: vec![provider::kx_group::X25519MLKEM768],
        ..provider::default_provider()
    });
    let clients =
        WebPkiClientVerifier::builder_with_provider(roots.clone(), crypto.clone()).build();
    let (certificate, key) = mesh.server;
    let mut server = rustls::ServerConfig::builder_with_provider(crypto.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(vec![certificate], key)
        .unwrap();
    server.send_tls13_tickets = 0;
    let (certificate, key) = mesh.client;
    let mut client = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
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
    let curves = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ]
    .map(plain);
    let (mut attested, mut both_plain) = (Vec::new(), [Vec::new(), Vec::new()]);
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
        if round >= 10 {
            attested.push(spent);
        }
        for ((acceptor, connector), times) in curves.iter().zip(&mut both_plain) {
            let (near, far) = tokio::io::duplex(1 << 18);
            let name = ServerName::try_from(NAME).unwrap();
            let start = process_time();
            let (server, client) =
                tokio::join!(acceptor.accept(far), connector.connect(name, near));
            let plain = process_time() - start;
            drop((server.unwrap(), client.unwrap()));
            if round >= 10 {
                times.push(plain);
            }
        }
    }
    let attested = median(attested);
    let [plain256, plain384] = both_plain.map(median);
    let of = |what: Duration, plain: Duration| what.as_secs_f64() / plain.as_secs_f64();
    let ratio = of(attested, plain256);
    println!(
        "mutual TLS 1.3 with certificates, each checked: P-256 {plain256:?}, P-384 {plain384:?}"
    );
    println!("attested, P-256 keys: {attested:?}; to P-256 {ratio:.2} (at most {LIMIT})");
    // Our keys are P-256. On P-384, the same but for what the two ends' keys cost.
    let more = Ends::cost(&Curve::P384).saturating_sub(Ends::cost(&Curve::P256));
    println!(
        "attested as it would be with P-384 keys (computed): {:?}; to P-384 {:.2}",
        attested + more,
        of(attested + more, plain384)
    );
    let verifications = evidence_verifications();
    println!(
        "of that, two P-384 verifications of reports: {verifications:?}; plain and these alone would be {:.2}",
        of(plain256 + verifications, plain256)
    );
    if ratio > LIMIT {
        println!("MISSED");
        std::process::exit(1);
    }
}

enum Curve {
    P256,
    P384,
}

/// What the two ends do with keys of their own: make, sign, verify, once each.
struct Ends;

impl Ends {
    fn cost(curve: &Curve) -> Duration {
        use aws_lc_rs::signature::{
            ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
            ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
        };
        let random = aws_lc_rs::rand::SystemRandom::new();
        let (signing, verification) = match curve {
            Curve::P256 => (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1),
            Curve::P384 => (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1),
        };
        let times = (0..ROUNDS).map(|_| {
            let start = thread_time();
            for _ in 0..2 {
                let key = EcdsaKeyPair::generate(signing).unwrap();
                let signature = key.sign(&random, &[7; 130]).unwrap();
                UnparsedPublicKey::new(verification, key.public_key().as_ref())
                    .verify(&[7; 130], signature.as_ref())
                    .unwrap();
            }
            thread_time() - start
        });
        median(times.collect())
    }
}

/// What evidence of both ends cannot do without.
fn evidence_verifications() -> Duration {
    use aws_lc_rs::signature::{
        ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        ParsedPublicKey,
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
        }
        thread_time() - start
    });
    median(times.collect())
}
