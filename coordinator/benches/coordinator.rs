//! Issuance, setting, memory and start of the Coordinator, each against its limit.
//!
//! Times are processor time of the whole process, clients included, so that neither the number of cores nor
//! other load counts. Ratios are taken within one run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    missing_docs,
    reason = "a benchmark with the helpers of the tests"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey as Peer, X25519};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use nacre_attest::{Expected, HostData, Policy, ReportData, ReportSource, Timestamp};
use nacre_manifest::{Identity, PolicyEntry, PolicyHash};
use nacre_pki::{Authority, CertificateRequest, LeafKey, LeafProfile, P384Key};
use nacre_sim::{Machine, MachineSpec, ReportSpec, SimulatedGuest};
use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/it/support.rs"]
mod support;

use support::{COORDINATOR, Deployment, Running, WEB, guest, new_cert, pki, verifier};

/// Certificates of one measurement.
const ROUNDS: u32 = 300;
/// Initializers at once.
const AT_ONCE: usize = 1000;

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Processor time of one call, in microseconds: the best of three rounds.
fn cost(rounds: u32, mut call: impl FnMut()) -> f64 {
    (0..3)
        .map(|_| {
            let start = cpu();
            (0..rounds).for_each(|_| call());
            (cpu() - start).as_secs_f64() * 1e6 / f64::from(rounds)
        })
        .fold(f64::INFINITY, f64::min)
}

/// A field of `/proc/self/status`, in MB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1000.0
}

#[derive(Default)]
struct Table {
    failed: bool,
}

impl Table {
    fn at_least(&mut self, what: &str, limit: f64, value: f64) {
        self.row(
            what,
            &format!("{value:.2}"),
            &format!(">= {limit}"),
            value >= limit,
        );
    }

    fn at_most(&mut self, what: &str, limit: f64, value: f64) {
        self.row(
            what,
            &format!("{value:.1}"),
            &format!("<= {limit}"),
            value <= limit,
        );
    }

    fn row(&mut self, what: &str, value: &str, limit: &str, holds: bool) {
        let verdict = if holds { "ok" } else { "MISSED" };
        println!("{what:<72} {value:>10} {limit:>10}  {verdict}");
        self.failed |= !holds;
    }
}

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags; there is nothing to choose.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let mut table = Table::default();
    runtime.block_on(start(&mut table));
    leaves(&mut table);
    let bound = bound();
    let single = runtime.block_on(issuance(&mut table, bound));
    runtime.block_on(chains(&mut table, single));
    runtime.block_on(thousand_policies(&mut table));
    runtime.block_on(crowd(&mut table));
    if table.failed {
        std::process::exit(1);
    }
}

/// From nothing to listening, and what an idle Coordinator needs.
async fn start(table: &mut Table) {
    let deployment = Deployment::new();
    let reports = guest(COORDINATOR);
    let store = deployment.store();
    let before = Instant::now();
    let running = deployment.start_with(reports, store, &[]).await;
    let time = before.elapsed().as_secs_f64() * 1e3;
    table.at_most("start to listening, ms", 100.0, time);
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    running.certificate(WEB).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    table.at_most(
        "resident when idle, MB (with the simulated platform)",
        30.0,
        memory("VmRSS"),
    );
    running.stop().await;
}

/// Certificates as the issuer makes them, against bare signatures of the same kind.
fn leaves(table: &mut Table) {
    let random = SystemRandom::new();
    let raw = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let message = [7; 600];
    let sign = cost(500, || {
        black_box(raw.sign(&random, &message).unwrap());
    });
    let root = P384Key::generate().unwrap();
    let ca = Authority::new(&root, P384Key::generate().unwrap(), support::now()).unwrap();
    let csr = LeafKey::generate().unwrap().request().unwrap();
    let request = CertificateRequest::verify(&csr).unwrap();
    let entry = PolicyEntry::new(
        Identity::new("shop", "Deployment", "web"),
        vec!["web".into()],
    );
    let hash = PolicyHash::of(WEB);
    let domain = nacre_manifest::TrustDomain::default();
    let profile = LeafProfile::new(hash, &entry, &domain, None).unwrap();
    let now = support::now();
    let issue = cost(500, || {
        black_box(ca.issue(&request, &profile, now).unwrap());
    });
    println!("raw P-384 signature {sign:.0} us, leaf {issue:.0} us");
    table.at_least("leaf signing, of the raw P-384 rate", 0.85, sign / issue);
}

/// What the cryptography of one issuance costs on both sides, in microseconds.
fn bound() -> f64 {
    let random = SystemRandom::new();
    let mut sum = 0.0;
    let mut add = |times: f64, what: &str, cost: f64| {
        println!("  {times:>3} x {what:<44} {cost:>8.1} us");
        sum += times * cost;
    };
    println!("cryptography of one issuance, both sides on one core:");
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let message = [9; 300];
    let of256 = p256.sign(&random, &message).unwrap();
    let of384 = p384.sign(&random, &message).unwrap();
    // Two keys of the connection and the one that is certified.
    let generate = cost(500, || {
        black_box(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
    });
    add(3.0, "P-256 key", generate);
    let exchange = cost(500, || {
        let own = EphemeralPrivateKey::generate(&X25519, &random).unwrap();
        let public = own.compute_public_key().unwrap();
        let other = EphemeralPrivateKey::generate(&X25519, &random).unwrap();
        let peer = Peer::new(&X25519, public);
        agreement::agree_ephemeral(other, peer, (), |secret| {
            black_box(secret);
            Ok(())
        })
        .unwrap();
    });
    // Both ends make a key and agree: one more key and agreement than measured.
    add(1.33, "X25519 keys and agreement", exchange);
    let sign256 = cost(500, || {
        black_box(p256.sign(&random, &message).unwrap());
    });
    add(3.0, "P-256 signature (two handshakes, CSR)", sign256);
    let point = p256.public_key().as_ref().to_vec();
    let verify256 = cost(500, || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
        key.verify(&message, of256.as_ref()).unwrap();
    });
    add(3.0, "P-256 verification", verify256);
    let sign384 = cost(500, || {
        black_box(p384.sign(&random, &message).unwrap());
    });
    add(3.0, "P-384 signature (two reports, leaf)", sign384);
    let point = p384.public_key().as_ref().to_vec();
    let verify384 = cost(500, || {
        let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &point);
        key.verify(&message, of384.as_ref()).unwrap();
    });
    add(2.0, "P-384 verification (two reports)", verify384);
    sum
}

async fn one(running: &Running, reports: Arc<dyn ReportSource>) {
    let link = running.workload(reports).await.unwrap();
    new_cert(&link, &LeafKey::generate().unwrap())
        .await
        .unwrap();
}

/// A fresh attested connection for each certificate, over loopback.
async fn issuance(table: &mut Table, bound: f64) -> f64 {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let reports = guest(WEB);
    for _ in 0..20 {
        one(&running, Arc::clone(&reports)).await;
    }
    let start = cpu();
    for _ in 0..ROUNDS {
        one(&running, Arc::clone(&reports)).await;
    }
    let each = (cpu() - start).as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!(
        "one issuance {each:.0} us ({:.0}/s on one core, both sides), bound {bound:.0} us ({:.0}/s)",
        1e6 / each,
        1e6 / bound
    );
    table.at_least(
        "issuance, of the bound by its cryptography",
        0.6,
        bound / each,
    );
    running.stop().await;
    each
}

/// The same from as many machines as there are connections: nothing of a chain is remembered.
async fn chains(table: &mut Table, cached: f64) {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest.reference_values.snp[0].allowed_chip_ids.clear();
    deployment.set(&running, &manifest).await.unwrap();
    let crl = support::crl();
    let machines: Vec<Arc<dyn ReportSource>> = (0..ROUNDS)
        .map(|index| {
            let mut spec = MachineSpec::new(nacre_attest::Product::Genoa);
            spec.hwid[..4].copy_from_slice(&(index + 1).to_be_bytes());
            let machine = Machine::with(pki(), spec).unwrap();
            let report = ReportSpec {
                host_data: *PolicyHash::of(WEB).as_bytes(),
                ..machine.report()
            };
            let crl = crl.clone();
            Arc::new(SimulatedGuest::with(
                machine,
                report,
                crl,
                nacre_sim::Behaviour::default(),
            )) as Arc<dyn ReportSource>
        })
        .collect();
    let start = cpu();
    for reports in machines {
        one(&running, reports).await;
    }
    let each = (cpu() - start).as_secs_f64() * 1e6 / f64::from(ROUNDS);
    println!("one issuance to a machine that was never seen {each:.0} us");
    table.at_least(
        "rate with the chain cache, of the rate without",
        1.15,
        each / cached,
    );
    running.stop().await;
    let evidence = guest(WEB).evidence(&[1; 64]).unwrap();
    let policy = Policy::try_from(&support::reference()).unwrap();
    let expected = Expected {
        report_data: ReportData::Exact([1; 64]),
        host_data: HostData::OneOf([*PolicyHash::of(WEB).as_bytes()].into()),
        newest_crl: None,
    };
    let check = verifier();
    let warm = cost(200, || {
        let now = Timestamp::now();
        check.verify(&evidence, &policy, &expected, now).unwrap();
    });
    println!("verification with a warm cache {warm:.0} us");
}

/// A manifest with a thousand policies of some 60 kB, which all have to be sent.
async fn thousand_policies(table: &mut Table) {
    let mut deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let mut manifest = deployment.manifest(&[]);
    for index in 0..1000 {
        let raw = format!(
            "package app_{index}\n{}",
            "# a line of a policy\n".repeat(2900)
        );
        let name = format!("app-{index}");
        let entry = PolicyEntry::new(Identity::new("shop", "Deployment", &name), vec![name]);
        manifest
            .policies
            .insert(PolicyHash::of(raw.as_bytes()), entry);
        let hash = PolicyHash::of(raw.as_bytes());
        deployment.policies.insert(hash, raw.into_bytes());
    }
    let (wall, start) = (Instant::now(), cpu());
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    let (wall, time) = (wall.elapsed(), cpu() - start);
    println!(
        "1000 policies, directory: {wall:?} by the clock, {time:?} of the processor with the client"
    );
    // The second manifest sends nothing: judging, reading back and signing are all that is left.
    let mut next = manifest.clone();
    next.policies
        .values_mut()
        .for_each(|entry| entry.sans.push("more".to_owned()));
    let start = cpu();
    assert!(deployment.set(&running, &next).await.unwrap().applied);
    let own = (cpu() - start).as_secs_f64() * 1e3;
    table.at_most(
        "set of 1000 policies that are there, ms with the client",
        200.0,
        own,
    );
    running.stop().await;
}

/// Everybody at once.
async fn crowd(table: &mut Table) {
    let deployment = Deployment::new();
    let running = Arc::new(deployment.start().await);
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let before = memory("VmRSS");
    let reports = guest(WEB);
    let started = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (running, reports) = (Arc::clone(&running), Arc::clone(&reports));
        all.spawn(async move {
            let queue = nacre_atls::ReportQueue::new(reports, 1, 4);
            let limit = Duration::from_secs(120);
            let patient = nacre_atls::Timeouts {
                handshake: limit,
                message: limit,
                report: limit,
            };
            let own = nacre_atls::tonic::Own::Attested {
                kind: nacre_atls::ClientKind::Workload,
                queue: &queue,
            };
            let appraise = support::references(&[COORDINATOR]);
            let address = running.addresses.mesh.to_string();
            let connector = nacre_atls::Connector::new(patient);
            let link = nacre_atls::tonic::connect(&address, &connector, own, &appraise).await;
            let link = link.unwrap();
            new_cert(&link, &LeafKey::generate().unwrap())
                .await
                .unwrap();
            link
        });
    }
    // Every link is kept until the last one has its certificate.
    let links = all.join_all().await;
    let (time, after) = (started.elapsed(), memory("VmRSS"));
    println!("{} at once in {time:?}; {before:.0} MB before", links.len());
    table.at_most(
        "resident with 1000 at once, MB, clients included",
        200.0,
        after,
    );
    table.at_most(
        "of that the Coordinator's half, MB",
        100.0,
        before + (after - before) / 2.0,
    );
}
