//! The mesh against a real Envoy in the same slot: the same pod, the same rules, the same certificates,
//! one core each.
//!
//! `cargo xtask bench mesh` runs it; it needs root. Everything is counted per second that the proxy
//! itself was on a processor, so a machine that does other things at the same time changes little. Runs
//! of the two alternate, and the median counts: of the figures of each, and of the quotients of runs that
//! follow one another. TCP is as pods have it: Cubic, whatever the machine's default is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs,
    reason = "a benchmark"
)]

mod load;
mod plot;
mod proxy;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/mesh/support.rs"]
mod support;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../../tests/mesh/tools.rs"]
mod tools;

use std::path::PathBuf;
use std::time::Duration;

use load::{Load, Work};
use proxy::{Kind, Proxy};
use support::{Authority, Net, inside};

/// A row of the table: both figures, and what the quotient has to be.
pub struct Row {
    pub what: &'static str,
    pub unit: &'static str,
    pub nacre: f64,
    pub envoy: f64,
    /// Ours in times of Envoy's.
    pub ratio: f64,
    pub bar: Bar,
}

/// What is demanded of ours against Envoy's.
#[derive(Clone, Copy)]
pub enum Bar {
    /// Ours is at least so many times Envoy's.
    AtLeast(f64),
    /// Ours is at most so many times Envoy's.
    AtMost(f64),
    /// Ours is at most so much, whatever Envoy's.
    Absolute(f64),
}

impl Row {
    fn new(what: &'static str, unit: &'static str, found: Found, bar: Bar) -> Self {
        let Found {
            nacre,
            envoy,
            ratio,
        } = found;
        Self {
            what,
            unit,
            nacre,
            envoy,
            ratio,
            bar,
        }
    }

    fn met(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.ratio >= bar,
            Bar::AtMost(bar) => self.ratio <= bar,
            Bar::Absolute(bar) => self.nacre <= bar,
        }
    }

    fn print(&self) {
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!(">= {bar:.2} x"),
            Bar::AtMost(bar) => format!("<= {bar:.2} x"),
            Bar::Absolute(bar) => format!("<= {bar}"),
        };
        println!(
            "{:<52} {:>11.1} {:>11.1} {:<8} {:>6.2} x  {bar} {}",
            self.what,
            self.nacre,
            self.envoy,
            self.unit,
            self.ratio,
            if self.met() { "met" } else { "NOT MET" }
        );
    }
}

/// After connections have gone, until what they took is given back to the system.
const SETTLED: Duration = Duration::from_secs(3);

fn main() {
    // `cargo test --benches` passes other arguments and is no time to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let number = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |text| text.parse().expect(name))
    };
    let runs = number("NACRE_BENCH_RUNS", 5);
    let seconds = number("NACRE_BENCH_CPU_SECONDS", 1) as f64;
    let p384 = Authority::new();
    let p256 = Authority::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let mut rows = Vec::new();

    let works = [
        (
            &p384,
            Work::New { seen: false },
            "new connections, P-384, leaf not seen before",
            "1/s",
            2.2,
        ),
        (
            &p384,
            Work::New { seen: true },
            "new connections, P-384, leaf seen before",
            "1/s",
            3.0,
        ),
        (
            &p256,
            Work::New { seen: false },
            "new connections, P-256, leaf not seen before",
            "1/s",
            1.4,
        ),
        (
            &p384,
            Work::Requests,
            "requests on 64 open connections",
            "1/s",
            1.35,
        ),
        (
            &p384,
            Work::Out,
            "bulk out (the proxy encrypts)",
            "MB/s",
            1.05,
        ),
        (
            &p384,
            Work::In,
            "bulk in (the proxy decrypts)",
            "MB/s",
            1.05,
        ),
    ];
    let wanted = std::env::var("NACRE_BENCH_ONLY").unwrap_or_default();
    for (authority, work, what, unit, bar) in works {
        if !what.contains(&wanted) {
            continue;
        }
        let found = alternate(runs, authority, |proxy, load| {
            let (done, cpu) = load.until(proxy, work, seconds);
            done / cpu
        });
        rows.push(Row::new(what, unit, found, Bar::AtLeast(bar)));
        rows.last().unwrap().print();
    }
    let is_wanted = |part: &str| part.contains(&wanted);
    if is_wanted("memory") {
        memory(runs.min(3), &p384, &mut rows);
    }
    if is_wanted("percentile") {
        latency(runs, &p384, &mut rows);
    }
    if is_wanted("start") {
        start(&p384, &mut rows);
    }
    if is_wanted("size") {
        size(&mut rows);
    }
    let folder = std::env::var_os("NACRE_BENCH_OUT").map(PathBuf::from);
    if let Some(folder) = folder.filter(|_| wanted.is_empty()) {
        std::fs::write(folder.join("mesh-envoy.svg"), plot::svg(&rows)).unwrap();
    }
    if is_wanted("crowd") {
        crowd(&p384);
    }
}

/// Medians.
#[derive(Clone, Copy)]
struct Found {
    nacre: f64,
    envoy: f64,
    ratio: f64,
}

impl Found {
    fn of([nacre, envoy]: [f64; 2]) -> Self {
        Self {
            nacre,
            envoy,
            ratio: nacre / envoy,
        }
    }
}

/// The medians of both, each run in a pod of its own with a process of its own.
fn alternate(
    runs: usize,
    authority: &Authority,
    measure: impl Fn(&Proxy, &Load<'_>) -> f64,
) -> Found {
    let once = |kind| {
        let net = net();
        let load = Load::start(&net, authority);
        let proxy = Proxy::start(kind, &net, authority);
        measure(&proxy, &load)
    };
    let pairs: Vec<[f64; 2]> = (0..runs)
        .map(|_| [Kind::Nacre, Kind::Envoy].map(once))
        .collect();
    let of = |what: fn(&[f64; 2]) -> f64| median(pairs.iter().map(what).collect());
    Found {
        nacre: of(|[nacre, _]| *nacre),
        envoy: of(|[_, envoy]| *envoy),
        ratio: of(|[nacre, envoy]| nacre / envoy),
    }
}

/// A pod and a peer with the congestion control that Linux has by default: another one may pace what is sent,
/// and then its clock is measured rather than the proxies.
fn net() -> Net {
    // A namespace may take what the machine allows to all, which is what it has itself and little else.
    let allowed = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
    let names = std::fs::read_to_string(allowed).unwrap();
    if !names.split_whitespace().any(|name| name == "cubic") {
        std::fs::write(allowed, format!("{} cubic", names.trim())).unwrap();
    }
    let net = Net::new();
    for namespace in [net.pod(), net.peer()] {
        let set = || std::fs::write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic");
        inside(&namespace, set).join().unwrap().unwrap();
    }
    net
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn memory(runs: usize, authority: &Authority, rows: &mut Vec<Row>) {
    let mut row = |what, bar, measure: fn(&Proxy, &Load<'_>) -> f64| {
        let found = alternate(runs, authority, measure);
        rows.push(Row::new(what, "MB", found, bar));
        rows.last().unwrap().print();
    };
    row("resident memory, idle", Bar::AtMost(0.1), |proxy, load| {
        load.requests(proxy, 1);
        proxy.resident_mb()
    });
    row(
        "resident memory, 1 000 idle connections",
        Bar::AtMost(0.2),
        |proxy, load| {
            let open = load.open(proxy, 1000);
            let resident = proxy.resident_mb();
            load.close(open);
            resident
        },
    );
    let found = alternate(runs, authority, |proxy, load| {
        load.requests(proxy, 1);
        let idle = proxy.resident_mb();
        let open = load.open(proxy, 1000);
        load.close(open);
        std::thread::sleep(SETTLED);
        proxy.resident_mb() / idle
    });
    let what = "memory after they close, in times of idle";
    rows.push(Row::new(what, "x", found, Bar::Absolute(2.0)));
    rows.last().unwrap().print();
}

fn latency(runs: usize, authority: &Authority, rows: &mut Vec<Row>) {
    let found = alternate(runs, authority, |proxy, load| load.p99(proxy) * 1e6);
    let what = "99th percentile at 2 000 requests/s";
    rows.push(Row::new(what, "us", found, Bar::AtMost(1.0)));
    rows.last().unwrap().print();
}

fn start(authority: &Authority, rows: &mut Vec<Row>) {
    let mut best = [f64::MAX; 2];
    for _ in 0..10 {
        for (kind, best) in [Kind::Nacre, Kind::Envoy].into_iter().zip(&mut best) {
            let net = net();
            *best = best.min(Proxy::start(kind, &net, authority).took.as_secs_f64() * 1e3);
        }
    }
    let what = "from start to ready, rules included, best of 10";
    rows.push(Row::new(what, "ms", Found::of(best), Bar::Absolute(50.0)));
    rows.last().unwrap().print();
}

fn size(rows: &mut Vec<Row>) {
    let sizes = [Kind::Nacre, Kind::Envoy]
        .map(|kind| std::fs::metadata(kind.program()).unwrap().len() as f64 / 1e6);
    let what = "size of the program";
    rows.push(Row::new(what, "MB", Found::of(sizes), Bar::Absolute(8.0)));
    rows.last().unwrap().print();
}

/// Many connections at the same time, through ours alone: none is lost, and what each costs.
fn crowd(authority: &Authority) {
    // Files of everything else in this process.
    const SPARE: usize = 1000;
    // Both ends of each are in this process, as they are in the proxy: as many as this user may have.
    let config = nacre_mesh::config::Config::read(&|_| None).unwrap();
    let count = nacre_mesh::limits::Room::of(&config).mutual.established - SPARE;
    let net = net();
    let load = Load::start(&net, authority);
    let proxy = Proxy::start(Kind::Nacre, &net, authority);
    load.requests(&proxy, 1);
    let idle = proxy.resident_mb();
    let begin = std::time::Instant::now();
    let resident = load.crowd(&proxy, count);
    println!(
        "{count} connections at the same time, each answered: {resident:.0} MB, {:.1} kB each, {:.0} s",
        (resident - idle) * 1024.0 / count as f64,
        begin.elapsed().as_secs_f64(),
    );
}
