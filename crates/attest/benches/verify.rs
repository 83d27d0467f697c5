//! Verification beside `sev`, and beside one bare P-384 signature; ratios of one run.
//!
//! `cargo bench -p nacre-attest`. Asks for: at least 2.5 times as fast as `sev` with its own cryptography on
//! the same evidence; with certificates remembered, at most 1.15 of one bare signature.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark"
)]

use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use nacre_attest::{
    CrlMode, Evidence, Expected, HostData, MinimumTcb, Policy, Product, Report, ReportData,
    Timestamp, Verifier, verify,
};
use rustix::time::{ClockId, clock_gettime};
use sev::certs::snp::{Certificate, Chain, Verifiable, builtin, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

const ROUNDS: usize = 200;

struct Case {
    evidence: Evidence,
    policy: Policy,
    expected: Expected,
}

fn case(name: &str, product: Product) -> Case {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    let read = |file: &str| std::fs::read(directory.join(file)).unwrap();
    let evidence = Evidence {
        report: read("report.bin"),
        vek: read("vcek.der"),
        crl: None,
    };
    let report = Report::parse(&evidence.report).unwrap();
    Case {
        policy: Policy {
            minimum_tcb: MinimumTcb::of_product(report.reported_tcb.decode(product)),
            crl: CrlMode::IfPresent,
            ..Policy::new(product, [report.measurement])
        },
        expected: Expected {
            report_data: ReportData::Exact(report.report_data),
            host_data: HostData::OneOf([report.host_data].into()),
            newest_crl: None,
        },
        evidence,
    }
}

/// CPU time of this thread, so that a busy machine does not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.try_into().unwrap(),
        now.tv_nsec.try_into().unwrap(),
    )
}

/// Medians of several things done in turn, so that a slow moment hits all of them.
fn medians<const N: usize>(mut work: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::with_capacity(ROUNDS));
    for round in 0..ROUNDS + 10 {
        for (work, times) in work.iter_mut().zip(&mut times) {
            let start = cpu_time();
            work();
            if round >= 10 {
                times.push(cpu_time() - start);
            }
        }
    }
    times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    })
}

/// Least, of the time `sev` takes.
const TIMES_AS_FAST: f64 = 2.5;
/// Most, of the time of one bare signature.
const REMEMBERED: f64 = 1.15;

fn main() {
    let mut missed = false;
    let now = Timestamp::parse("2026-11-23").unwrap();
    for (name, product) in [
        ("ms-milan", Product::Milan),
        ("ms-genoa", Product::Genoa),
        ("ms-turin", Product::Turin),
    ] {
        let Case {
            evidence,
            policy,
            expected,
        } = case(name, product);
        let verifier = Verifier::amd();
        verifier.verify(&evidence, &policy, &expected, now).unwrap();
        let report = Report::parse(&evidence.report).unwrap();
        let vek = Certificate::from_der(&evidence.vek).unwrap();
        let point = vek.public_key_sec1().to_vec();
        let (message, signature) = (report.signed_bytes().to_vec(), report.signature());
        let [ours, theirs, remembered, bare] = medians([
            &mut || {
                verify(&evidence, &policy, &expected, now).unwrap();
            },
            &mut || {
                let (ark, ask) = match product {
                    Product::Milan => (builtin::milan::ark(), builtin::milan::ask()),
                    Product::Genoa => (builtin::genoa::ark(), builtin::genoa::ask()),
                    _ => (builtin::turin::ark(), builtin::turin::ask()),
                };
                let vek = Certificate::from_der(&evidence.vek).unwrap();
                let report = AttestationReport::from_bytes(&evidence.report).unwrap();
                let chain = Chain {
                    ca: ca::Chain {
                        ark: ark.unwrap(),
                        ask: ask.unwrap(),
                    },
                    vek,
                };
                (&chain, &report).verify().unwrap();
            },
            &mut || {
                verifier.verify(&evidence, &policy, &expected, now).unwrap();
            },
            &mut || {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point)
                    .verify(&message, &signature)
                    .unwrap();
            },
        ]);
        let faster = theirs.as_secs_f64() / ours.as_secs_f64();
        let ratio = remembered.as_secs_f64() / bare.as_secs_f64();
        let holds = faster >= TIMES_AS_FAST && ratio <= REMEMBERED;
        println!(
            "{name}: verify {ours:?}, sev {theirs:?}: {faster:.2} times as fast (at least {TIMES_AS_FAST}); \
             remembered {remembered:?}, bare signature {bare:?}: ratio {ratio:.3} (at most {REMEMBERED})  {}",
            if holds { "ok" } else { "MISSED" },
        );
        missed |= !holds;
    }
    if missed {
        std::process::exit(1);
    }
}
