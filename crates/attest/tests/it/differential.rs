//! The same evidence judged by the `sev` crate and by `openssl`.

use std::process::Command;

use nacre_attest::{CheckId, Evidence, Outcome, Product, examine};
use sev::certs::snp::{Certificate, Chain, Verifiable, builtin, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::support::{SAMPLES, Sample, data};

/// Whether `sev` accepts chain and signature; it judges nothing else.
fn sev_accepts(sample: &Sample, evidence: &Evidence) -> bool {
    let (Ok(ark), Ok(ask)) = (match sample.product {
        Product::Milan => (builtin::milan::ark(), builtin::milan::ask()),
        Product::Genoa => (builtin::genoa::ark(), builtin::genoa::ask()),
        _ => (builtin::turin::ark(), builtin::turin::ask()),
    }) else {
        panic!("sev has its own roots")
    };
    let Ok(vek) = Certificate::from_der(&evidence.vek) else {
        return false;
    };
    let Ok(report) = AttestationReport::from_bytes(&evidence.report) else {
        return false;
    };
    let chain = Chain {
        ca: ca::Chain { ark, ask },
        vek,
    };
    (&chain, &report).verify().is_ok()
}

/// Whether our checks of the same things hold.
fn we_accept(sample: &Sample, evidence: &Evidence) -> bool {
    let verdict = examine(evidence, &sample.policy(), &sample.expected(), sample.now());
    [
        CheckId::ReservedBytes,
        CheckId::RootPinned,
        CheckId::IntermediateSigned,
        CheckId::VekAlgorithm,
        CheckId::VekSignature,
        CheckId::ReportSignature,
    ]
    .iter()
    .all(|&id| verdict.check(id).unwrap().outcome == Outcome::Pass)
}

#[test]
fn sev_agrees_on_every_real_vcek_report() {
    for sample in SAMPLES.iter().filter(|sample| !sample.vlek) {
        let evidence = sample.evidence();
        assert!(sev_accepts(sample, &evidence), "{}", sample.name);
        assert!(we_accept(sample, &evidence), "{}", sample.name);
    }
}

#[test]
fn sev_agrees_on_altered_reports() {
    for sample in SAMPLES.iter().filter(|sample| !sample.vlek) {
        for at in (0..0x2a0).step_by(37).chain([0x2a0, 0x2cf, 0x2e8, 0x317]) {
            let mut evidence = sample.evidence();
            evidence.report[at] ^= 0x10;
            let (sev, ours) = (sev_accepts(sample, &evidence), we_accept(sample, &evidence));
            assert!(!ours, "{} at {at:#x}", sample.name);
            assert!(!sev, "{} at {at:#x}", sample.name);
        }
    }
}

#[test]
fn sev_agrees_on_altered_certificates() {
    for sample in [&SAMPLES[2], &SAMPLES[4]] {
        for at in (0..sample.evidence().vek.len()).step_by(61) {
            let mut evidence = sample.evidence();
            evidence.vek[at] ^= 0x10;
            let (sev, ours) = (sev_accepts(sample, &evidence), we_accept(sample, &evidence));
            // We refuse whatever `sev` refuses; where it takes an altered certificate, we do not.
            assert!(!ours, "{} at {at}, sev: {sev}", sample.name);
        }
    }
}

#[test]
fn openssl_agrees_on_the_chains() {
    let scratch = tempfile::tempdir().unwrap();
    for sample in &SAMPLES {
        let product = sample.product.name().to_lowercase();
        let pem = std::fs::read_to_string(
            data("../../data/roots").join(format!("{product}_ask_ark_asvk.pem")),
        )
        .unwrap();
        let parts: Vec<_> = pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
        let file = |name: &str, bytes: &[u8]| {
            let path = scratch.path().join(format!("{}-{name}", sample.name));
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let root = file("ark", parts[1].as_bytes());
        let between = file("ask", parts[if sample.vlek { 2 } else { 0 }].as_bytes());
        let vek = data(sample.name).join(if sample.vlek { "vlek.der" } else { "vcek.der" });
        let vek_pem = scratch.path().join(format!("{}-vek", sample.name));
        let convert = Command::new("openssl")
            .args(["x509", "-inform", "der", "-in"])
            .arg(&vek)
            .arg("-out")
            .arg(&vek_pem)
            .status()
            .unwrap();
        assert!(convert.success());
        let verified = Command::new("openssl")
            .args(["verify", "-attime", &sample.now().0.to_string(), "-CAfile"])
            .arg(&root)
            .arg("-untrusted")
            .arg(&between)
            .arg(&vek_pem)
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}: {verified:?}", sample.name);
    }
}
