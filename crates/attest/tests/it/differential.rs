//! The same evidence judged by the `sev` crate, and its chains by `openssl`.

use std::process::Command;

use nacre_attest::{
    CheckId, Evidence, Outcome, Product, Report, SigningKey, Tcb, TcbBytes, examine,
};
use sev::certs::snp::{Certificate, Chain, Verifiable, builtin, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::cases::cases;
use crate::mint::Mint;
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
    sev_accepts_under(ark, ask, evidence)
}

/// The same under other roots than its own.
fn sev_accepts_under(ark: Certificate, ask: Certificate, evidence: &Evidence) -> bool {
    sev_judges(ark, ask, evidence).is_ok()
}

fn sev_judges(ark: Certificate, ask: Certificate, evidence: &Evidence) -> std::io::Result<()> {
    let vek = Certificate::from_der(&evidence.vek)?;
    let report = AttestationReport::from_bytes(&evidence.report)?;
    let chain = Chain {
        ca: ca::Chain { ark, ask },
        vek,
    };
    (&chain, &report).verify()
}

fn sev_judges_minted(mint: &Mint, evidence: &Evidence) -> std::io::Result<()> {
    let between = match mint.machine.spec.signing_key {
        SigningKey::Vlek => &mint.pki.asvk,
        _ => &mint.pki.ask,
    };
    let read = |der: &[u8]| Certificate::from_der(der).unwrap();
    let (ark, ask) = (read(&mint.pki.ark.certificate), read(&between.certificate));
    sev_judges(ark, ask, evidence)
}

fn sev_accepts_minted(mint: &Mint, evidence: &Evidence) -> bool {
    sev_judges_minted(mint, evidence).is_ok()
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
fn sev_accepts_what_is_minted_and_reads_the_same_in_it() {
    let minted = Product::ALL.map(Mint::new).into_iter();
    for mut mint in minted.chain([crate::cases::vlek()]) {
        let product = mint.policy.product;
        for version in [2, 3, 4, 5] {
            mint.report.version = version;
            // Numbers that are all different, so that none stands for another.
            mint.report.guest_svn = 77;
            mint.report.family_id = [1; 16];
            mint.report.image_id = [2; 16];
            mint.report.id_key_digest = [3; 48];
            mint.report.author_key_digest = [4; 48];
            mint.report.vmpl = 3;
            mint.report.launch_mitigations = 0x1234;
            mint.report.current_mitigations = 0x5678;
            let evidence = mint.evidence();
            let judged = sev_judges_minted(&mint, &evidence);
            if version == 2 && mint.report.chip_id == [0; 64] {
                // Without a chip it does not know the layout of such a report.
                assert!(judged.is_err());
                continue;
            }
            assert!(judged.is_ok(), "{product} {version}: {judged:?}");
            let ours = Report::parse(&evidence.report).unwrap();
            let theirs = AttestationReport::from_bytes(&evidence.report).unwrap();
            assert_eq!(theirs.version, ours.version);
            assert_eq!(theirs.guest_svn, ours.guest_svn);
            assert_eq!(u64::from(theirs.policy), ours.policy);
            assert_eq!(theirs.family_id, ours.family_id);
            assert_eq!(theirs.image_id, ours.image_id);
            assert_eq!(theirs.vmpl, ours.vmpl);
            assert_eq!(theirs.sig_algo, ours.signature_algo);
            assert_eq!(theirs.report_data, ours.report_data);
            assert_eq!(theirs.measurement, ours.measurement);
            assert_eq!(theirs.host_data, ours.host_data);
            assert_eq!(theirs.id_key_digest, ours.id_key_digest);
            assert_eq!(theirs.author_key_digest, ours.author_key_digest);
            assert_eq!(theirs.report_id, ours.report_id);
            assert_eq!(theirs.report_id_ma, ours.report_id_ma);
            assert_eq!(theirs.chip_id, ours.chip_id);
            assert_eq!(theirs.cpuid_fam_id, ours.cpu.map(|cpu| cpu.family));
            assert_eq!(theirs.cpuid_mod_id, ours.cpu.map(|cpu| cpu.model));
            assert_eq!(theirs.cpuid_step, ours.cpu.map(|cpu| cpu.stepping));
            assert_eq!(theirs.launch_mit_vector, ours.launch_mitigations);
            assert_eq!(theirs.current_mit_vector, ours.current_mitigations);
            let same = |theirs: sev::firmware::host::TcbVersion, ours: TcbBytes| {
                let tcb = Tcb {
                    fmc: theirs.fmc,
                    bootloader: theirs.bootloader,
                    tee: theirs.tee,
                    snp: theirs.snp,
                    microcode: theirs.microcode,
                };
                assert_eq!(tcb, ours.decode(product), "{product} {version}");
            };
            same(theirs.current_tcb, ours.current_tcb);
            same(theirs.reported_tcb, ours.reported_tcb);
            same(theirs.committed_tcb, ours.committed_tcb);
            same(theirs.launch_tcb, ours.launch_tcb);
        }
    }
}

#[test]
fn sev_refuses_altered_minted_reports() {
    for product in Product::ALL {
        let mint = Mint::new(product);
        let good = mint.evidence();
        for at in (0..0x2a0)
            .step_by(53)
            .chain([0x3a, 0x3e, 0x2a0, 0x2cf, 0x2e8, 0x317])
        {
            let mut evidence = good.clone();
            evidence.report[at] ^= 0x10;
            // It signs over what it has read, which leaves out the reserved bytes of TCB versions.
            let reserved = match product {
                Product::Turin => 4..7,
                _ => 2..6,
            };
            let left_out = [0x38, 0x180, 0x1e0, 0x1f0]
                .iter()
                .any(|tcb| reserved.contains(&(at.wrapping_sub(*tcb))));
            let accepted = sev_accepts_minted(&mint, &evidence);
            assert_eq!(accepted, left_out, "{product} {at:#x}");
            let verdict =
                mint.verifier()
                    .examine(&evidence, &mint.policy, &mint.expected, mint.now);
            assert!(!verdict.holds(), "{product} {at:#x}");
        }
    }
}

/// It makes fewer checks than we do; what it refuses of our cases is what it can judge.
#[test]
fn sev_refuses_the_cases_that_it_can_judge() {
    let mut refused = Vec::new();
    for (id, mut mint, change) in cases() {
        change(&mut mint);
        if !sev_accepts_minted(&mint, &mint.evidence()) {
            refused.push(id);
        }
    }
    assert_eq!(
        refused,
        [
            CheckId::ReportLength,
            CheckId::ReservedBytes,
            CheckId::ProcessorKnown,
            CheckId::TcbReserved,
            CheckId::IntermediateSigned,
            CheckId::VekEncoding,
            CheckId::VekKey,
            CheckId::VekSignature,
            CheckId::ReportSignature,
        ]
    );
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
