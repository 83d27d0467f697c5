//! Issuance, setting, memory and start of the Coordinator, each against its limit.
//!
//! Ratios are taken within one run, of processor time: neither the number of cores nor other load counts. Where it is
//! the Coordinator's own time and memory that has a limit, the Coordinator runs in a process of its own.

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

mod apart;
mod bound;
mod policies;

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use nacre_atls::tonic::{Link, Own, connect};
use nacre_atls::{ClientKind, Connector, References, ReportQueue, Timeouts};
use nacre_attest::{Policy, Product, ReportSource, Timestamp, Verifier};
use nacre_coordinator::Deps;
use nacre_history::{Expect, Rules, Transition};
use nacre_manifest::{Identity, Manifest, PolicyEntry, PolicyHash, TransitionHash};
use nacre_pki::{Authority, CertificateRequest, LeafKey, LeafProfile, P384Key};
use nacre_sim::Pki;
use nacre_test_support::Cluster;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

#[path = "../../tests/it/support.rs"]
mod support;

use apart::{History, Process};
use bound::Bound;
use support::{COORDINATOR, Deployment, PLATFORM, Running, WEB, guest, measured, new_cert, pki};

/// A part of the name of what is to be measured; all of it without.
const ONLY: &str = "NACRE_BENCH_ONLY";
/// Initializers at once.
const AT_ONCE: usize = 1000;
/// Manifests of a long history.
const GENERATIONS: usize = 200;
/// Workloads of each of them.
const WORKLOADS: usize = 20;

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

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// This thread, and those that it starts from now on, share one core.
fn stay_on_one_core() {
    let mut allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core));
    allowed.clear();
    allowed.set(first.unwrap());
    sched_setaffinity(None, &allowed).unwrap();
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
    if std::env::var_os(PLATFORM).is_none() {
        // One simulated root for all processes.
        let folder = tempfile::tempdir().unwrap();
        Pki::create(Product::Genoa, folder.path()).unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        let status = again.env(PLATFORM, folder.path()).status().unwrap();
        assert!(status.success(), "a limit is missed");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if apart::is_the_coordinator() {
        runtime.block_on(apart::coordinator());
        return;
    }
    let only = std::env::var(ONLY).unwrap_or_default();
    let is_wanted = |part: &str| part.contains(&only);
    let mut table = Table::default();
    if is_wanted("start") {
        runtime.block_on(start(&mut table));
    }
    if is_wanted("leaves") {
        leaves(&mut table);
    }
    if is_wanted("issuance") {
        let all = sched_getaffinity(None).unwrap();
        stay_on_one_core();
        // Both ends take turns on one thread, as they would there.
        let one = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        one.block_on(issuance(&mut table));
        sched_setaffinity(None, &all).unwrap();
    }
    if is_wanted("set") {
        runtime.block_on(sets(&mut table));
    }
    if is_wanted("generations") {
        runtime.block_on(generations(&mut table));
    }
    if is_wanted("crowd") {
        runtime.block_on(crowd(&mut table));
    }
    if table.failed {
        std::process::exit(1);
    }
}

/// Sets of a thousand policies on each back-end.
async fn sets(table: &mut Table) {
    thousand_policies(table, "directory", History::Directory).await;
    if !Cluster::is_given() {
        println!(
            "no kube-apiserver: nothing is measured on ConfigMaps (`cargo xtask bench coordinator` has one)"
        );
        return;
    }
    const NAMESPACE: &str = "bench";
    let cluster = Cluster::start();
    cluster.namespace(NAMESPACE);
    let rights = nacre_test_support::coordinator_rights(NAMESPACE);
    cluster.kubectl_with(&["apply", "--filename=-"], &rights);
    let history = History::ConfigMaps(&cluster, NAMESPACE);
    thousand_policies(table, "ConfigMaps", history).await;
}

/// From nothing to listening.
async fn start(table: &mut Table) {
    let deployment = Deployment::new();
    let reports = guest(COORDINATOR);
    let store = deployment.store();
    let before = Instant::now();
    let running = deployment.start_with(reports, store, &[]).await;
    let time = before.elapsed().as_secs_f64() * 1e3;
    table.at_most("start to listening, ms", 100.0, time);
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

/// An initializer as far as it matters here: what it knows of the Coordinator, and where its reports come from.
struct Client {
    references: References,
    queue: ReportQueue,
    connector: Connector,
}

impl Client {
    fn new(verifier: Arc<Verifier>, reports: Arc<dyn ReportSource>) -> Self {
        let policy = Policy::try_from(&support::reference()).unwrap();
        let hashes = [*PolicyHash::of(COORDINATOR).as_bytes()];
        Self {
            references: References::new(verifier, vec![policy], hashes.into(), Timestamp(0)),
            queue: ReportQueue::new(reports, 1, AT_ONCE),
            // The initializer's own.
            connector: Connector::new(Timeouts::PATIENT),
        }
    }

    /// A fresh attested connection and a certificate for a new key.
    async fn once(&self, address: &str) -> Link {
        let own = Own::Attested {
            kind: ClientKind::Workload,
            queue: &self.queue,
        };
        let link = connect(address, &self.connector, own, &self.references).await;
        let link = link.unwrap();
        new_cert(&link, &LeafKey::generate().unwrap())
            .await
            .unwrap();
        link
    }
}

/// A Coordinator and its client in this process, with one verifier.
struct Pair {
    _deployment: Deployment,
    running: Running,
    client: Client,
    address: String,
}

impl Pair {
    async fn new(verifier: Verifier) -> Self {
        let deployment = Deployment::new();
        let verifier = Arc::new(verifier);
        let deps = Deps {
            verifier: Arc::clone(&verifier),
            reports: guest(COORDINATOR),
            reader: Manifest::parse,
            store: deployment.store(),
            clock: nacre_coordinator::system_clock,
        };
        let running = deployment.start_deps(deps, &[], "127.0.0.1:0").await;
        let manifest = deployment.manifest(&[]);
        deployment.set(&running, &manifest).await.unwrap();
        Self {
            address: running.addresses.mesh.to_string(),
            client: Client::new(verifier, guest(WEB)),
            running,
            _deployment: deployment,
        }
    }

    /// Processor time of one issuance, in microseconds.
    async fn rounds(&self, rounds: u32) -> f64 {
        let start = cpu();
        for _ in 0..rounds {
            drop(self.client.once(&self.address).await);
        }
        (cpu() - start).as_secs_f64() * 1e6 / f64::from(rounds)
    }
}

/// A fresh attested connection for each certificate, over loopback; with chains and lists remembered, and without.
///
/// What is compared is measured in turns, in blocks of some ten milliseconds, and the median of the blocks' ratios
/// counts: a slow moment of the machine hits all.
async fn issuance(table: &mut Table) {
    const BLOCKS: usize = 40;
    const ROUNDS: u32 = 10;
    let mut bound = Bound::new();
    let cached = Pair::new(pki().verifier().unwrap()).await;
    let uncached = Pair::new(pki().verifier().unwrap().without_memory()).await;
    for pair in [&cached, &uncached] {
        pair.rounds(20).await;
    }
    let mut blocks = Vec::new();
    for _ in 0..BLOCKS {
        let each = cached.rounds(ROUNDS).await;
        let least = bound.round(ROUNDS);
        blocks.push((each, least, uncached.rounds(ROUNDS).await));
    }
    bound.print();
    let of =
        |what: fn(&(f64, f64, f64)) -> f64| median(&blocks.iter().map(what).collect::<Vec<_>>());
    let (each, least, anew) = (
        of(|block| block.0),
        of(|block| block.1),
        of(|block| block.2),
    );
    println!(
        "one issuance {each:.0} us ({:.0}/s on one core, both sides), bound {least:.0} us ({:.0}/s)",
        1e6 / each,
        1e6 / least
    );
    table.at_least(
        "issuance, of the bound by its cryptography",
        0.6,
        of(|(each, least, _)| least / each),
    );
    println!("with chains and lists verified anew each time {anew:.0} us");
    table.at_least(
        "rate with the chain cache, of the rate without",
        1.15,
        of(|(each, _, anew)| anew / each),
    );
    cached.running.stop().await;
    uncached.running.stop().await;
}

/// A manifest with a thousand policies, which all have to be sent; one that sends nothing; then recovery, which
/// reads and checks them all.
async fn thousand_policies(table: &mut Table, place: &str, history: History<'_>) {
    let mut deployment = Deployment::new();
    deployment.elsewhere = Some(history.store(&deployment).await);
    let mut coordinator = Process::start(&deployment, history);
    let running = coordinator.running();
    let first = deployment.manifest(&[]);
    deployment.set(&running, &first).await.unwrap();
    let mut manifest = deployment.manifest(&[]);
    let generated = policies::generated();
    for index in 0..1000 {
        let raw = policies::of_workload(&generated, index);
        let name = format!("app-{index}");
        let entry = PolicyEntry::new(Identity::new("shop", "Deployment", &name), vec![name]);
        let hash = PolicyHash::of(raw.as_bytes());
        manifest.policies.insert(hash, entry);
        deployment.policies.insert(hash, raw.into_bytes());
    }
    let mut next = manifest.clone();
    for entry in next.policies.values_mut() {
        entry.sans.push("more".to_owned());
    }
    let mut head = None;
    for (what, manifest) in [
        ("new policies", manifest),
        ("policies that are there", next),
    ] {
        let (wall, before) = (Instant::now(), coordinator.ask("cpu"));
        let kernel = coordinator.ask("kernel");
        let set = deployment.set(&running, &manifest).await.unwrap();
        let (wall, own) = (wall.elapsed(), coordinator.ask("cpu") - before);
        let kernel = coordinator.ask("kernel") - kernel;
        assert!(set.applied);
        head = Some(TransitionHash::try_from(&set.transition[..]).unwrap());
        println!(
            "{:.0} ms by the clock, with the client; of its own {kernel:.0} ms in the kernel",
            wall.as_secs_f64() * 1e3
        );
        table.at_most(
            &format!("set of 1000 {what}, {place}, ms of its own"),
            200.0,
            own,
        );
    }
    drop(coordinator);
    let wall = Instant::now();
    let mut coordinator = Process::start(&deployment, history);
    let running = coordinator.running();
    let recovered = deployment.recover(&running, &deployment.shares[0], head.unwrap());
    assert!(recovered.await.unwrap().recovered);
    println!(
        "start and recovery with 1000 policies, {place}: {:.0} ms of its own, {:.0} ms by the clock",
        coordinator.ask("cpu"),
        wall.elapsed().as_secs_f64() * 1e3
    );
}

/// A history of many manifests: read out, checked by a client, and read by a Coordinator that starts.
async fn generations(table: &mut Table) {
    let deployment = Deployment::new();
    let mut coordinator = Process::start(&deployment, History::Directory);
    let running = coordinator.running();
    let link = running.user().await;
    let mut names: Vec<String> = (0..WORKLOADS).map(|at| format!("app-{at}")).collect();
    let mut head: Option<Transition> = None;
    for generation in 0..GENERATIONS {
        // One workload is another one each time.
        names[generation % WORKLOADS] = format!("app-{}", WORKLOADS + generation);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let manifest = deployment.manifest(&names);
        let next = match &head {
            None => Transition::genesis(&manifest, manifest.hash(), support::now()),
            Some(head) => head.next(&manifest, manifest.hash(), support::now()),
        };
        let owners = [&deployment.owners[0]];
        let set = deployment.submit(&link, &manifest, next, &owners).await;
        assert!(set.unwrap().applied);
        head = Some(next);
    }
    let (wall, before) = (Instant::now(), coordinator.ask("cpu"));
    let (_, objects) = support::manifests(&link, [7; 32]).await.unwrap();
    let (wall, own) = (wall.elapsed(), coordinator.ask("cpu") - before);
    println!(
        "a history of {GENERATIONS} manifests, {} objects:",
        objects.len()
    );
    println!(
        "read out in {:.0} ms by the clock, with the client",
        wall.as_secs_f64() * 1e3
    );
    table.at_most("reading it out, ms of the Coordinator's own", 100.0, own);
    let rules = Rules {
        reader: Manifest::parse,
        genesis: measured(&[&deployment.owners[0]], 1),
    };
    let checked = cost(1, || {
        let history = nacre_history::validate(&objects, &rules, &Expect::complete());
        assert_eq!(history.unwrap().generations(), GENERATIONS);
    });
    table.at_most("checking it, ms of a client", 200.0, checked / 1e3);
    drop(coordinator);
    let mut coordinator = Process::start(&deployment, History::Directory);
    let started = coordinator.ask("cpu");
    table.at_most(
        "starting with it, ms of the Coordinator's own",
        300.0,
        started,
    );
}

/// Everybody at once, and nobody first.
async fn crowd(table: &mut Table) {
    let deployment = Deployment::new();
    let mut coordinator = Process::start(&deployment, History::Directory);
    let running = coordinator.running();
    let manifest = deployment.manifest(&[]);
    deployment.set(&running, &manifest).await.unwrap();
    let address = running.addresses.mesh.to_string();
    let client = Arc::new(Client::new(support::verifier(), guest(WEB)));
    drop(client.once(&address).await);
    tokio::time::sleep(Duration::from_millis(500)).await;
    table.at_most(
        "resident when idle, MB (with the simulated platform)",
        30.0,
        coordinator.ask("resident"),
    );
    let started = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, address) = (Arc::clone(&client), address.clone());
        all.spawn(async move { client.once(&address).await });
    }
    // Every link is kept until the last one has its certificate.
    let links = all.join_all().await;
    println!(
        "{} at once in {:?}, none lost",
        links.len(),
        started.elapsed()
    );
    assert_eq!(links.len(), AT_ONCE);
    table.at_most(
        "resident at most with 1000 at once, MB",
        100.0,
        coordinator.ask("peak"),
    );
}
