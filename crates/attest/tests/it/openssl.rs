//! Signatures, certificates and revocation lists judged by `openssl` as well.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use nacre_attest::{CheckId, Evidence, Outcome, Product, Report};
use nacre_sim::CrlSpec;
use nacre_sim::der::{integer_bytes, sequence};

use crate::cases::vlek;
use crate::mint::Mint;
use crate::support::{SAMPLES, data};

/// A folder of files for `openssl`.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// As PEM, so that no format is guessed.
    fn pem(&self, name: &str, label: &str, der: &[u8]) -> PathBuf {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        let body = lines.join("\n");
        self.write(
            name,
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"),
        )
    }

    fn certificate(&self, name: &str, der: &[u8]) -> PathBuf {
        self.pem(name, "CERTIFICATE", der)
    }
}

/// Whether `openssl` with these arguments succeeds; everything it printed.
fn openssl(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (bool, String) {
    let mut command = Command::new("openssl");
    for argument in arguments {
        command.arg(argument);
    }
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into(),
    )
}

/// Whether the signature of a report is by the key of the certificate.
fn signature_holds(files: &Files, evidence: &Evidence) -> bool {
    let vek = files.certificate("vek", &evidence.vek);
    let (read, key) = openssl(&[&"x509", &"-in", &vek, &"-noout", &"-pubkey"]);
    assert!(read, "{key}");
    let key = files.write("key", key);
    let report = Report::parse(&evidence.report).unwrap();
    let both = report.signature();
    let (r, s) = both.split_at(48);
    // DER: positive numbers without leading zeros.
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let short = &bytes[zeros..];
        let sign = short.first().is_none_or(|&first| first >= 0x80);
        integer_bytes(&[&vec![0; usize::from(sign)][..], short].concat())
    };
    let signature = files.write("signature", sequence(&[&number(r), &number(s)]));
    let signed = files.write("signed", report.signed_bytes());
    let (holds, text) = openssl(&[
        &"dgst",
        &"-sha384",
        &"-verify",
        &key,
        &"-signature",
        &signature,
        &signed,
    ]);
    assert_eq!(text.contains("Verified OK"), holds, "{text}");
    holds
}

fn outcome(mint: &Mint, evidence: &Evidence, id: CheckId) -> Outcome {
    let verdict = mint
        .verifier()
        .examine(evidence, &mint.policy, &mint.expected, mint.now);
    verdict.check(id).unwrap().outcome
}

#[test]
fn openssl_agrees_on_the_signatures_of_reports() {
    let files = Files::new();
    for sample in &SAMPLES {
        let mut evidence = sample.evidence();
        assert!(signature_holds(&files, &evidence), "{}", sample.name);
        evidence.report[0x1a0] ^= 1;
        assert!(!signature_holds(&files, &evidence), "{}", sample.name);
    }
    let minted = Product::ALL.map(Mint::new).into_iter().chain([vlek()]);
    for mint in minted {
        let good = mint.evidence();
        assert!(signature_holds(&files, &good));
        for at in [0, 0x50, 0x90, 0xc0, 0x180, 0x1a0, 0x29f, 0x2a0, 0x2e8] {
            let mut evidence = good.clone();
            evidence.report[at] ^= 1;
            assert!(!signature_holds(&files, &evidence), "{at:#x}");
            let ours = outcome(&mint, &evidence, CheckId::ReportSignature);
            assert_ne!(ours, Outcome::Pass, "{at:#x}");
        }
        // By the key of another machine.
        let other = Mint::new(Product::Genoa);
        let evidence = Evidence {
            vek: other.evidence().vek,
            ..good
        };
        assert!(!signature_holds(&files, &evidence));
    }
}

/// Whether a certificate is by this issuer under this root, at a moment.
fn chain_holds(root: &Path, between: &Path, certificate: &Path, at: u64) -> bool {
    let at = at.to_string();
    let (holds, _) = openssl(&[
        &"verify",
        &"-attime",
        &at,
        &"-CAfile",
        &root,
        &"-untrusted",
        &between,
        &certificate,
    ]);
    holds
}

#[test]
fn openssl_agrees_on_minted_chains_and_refuses_altered_certificates() {
    let files = Files::new();
    for mint in [Mint::new(Product::Genoa), vlek()] {
        let vlek = mint.policy.allow_vlek;
        let root = files.certificate("ark", &mint.pki.ark.certificate);
        let ask = files.certificate("ask", &mint.pki.ask.certificate);
        let asvk = files.certificate("asvk", &mint.pki.asvk.certificate);
        let (between, other) = if vlek { (asvk, ask) } else { (ask, asvk) };
        let good = mint.evidence();
        let vek = files.certificate("vek", &good.vek);
        assert!(chain_holds(&root, &between, &vek, mint.now.0));
        // Not by the other intermediate key, not before its time, not without the root.
        assert!(!chain_holds(&root, &other, &vek, mint.now.0));
        assert!(!chain_holds(
            &root,
            &between,
            &vek,
            mint.now.0 - 10 * 86_400
        ));
        assert!(!chain_holds(&between, &between, &vek, mint.now.0));
        for at in (0..good.vek.len()).step_by(97) {
            let mut evidence = good.clone();
            evidence.vek[at] ^= 0x10;
            let altered = files.certificate("altered", &evidence.vek);
            assert!(!chain_holds(&root, &between, &altered, mint.now.0), "{at}");
            let verdict =
                mint.verifier()
                    .examine(&evidence, &mint.policy, &mint.expected, mint.now);
            assert!(!verdict.holds(), "{at}");
        }
    }
}

#[test]
fn openssl_refuses_altered_certificates_of_real_machines() {
    let files = Files::new();
    for sample in [&SAMPLES[2], &SAMPLES[4]] {
        let product = sample.product.name().to_lowercase();
        let path = data("../../data/roots").join(format!("{product}_ask_ark_asvk.pem"));
        let pem = std::fs::read_to_string(path).unwrap();
        let parts: Vec<_> = pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
        let (root, between) = (files.write("ark", parts[1]), files.write("ask", parts[0]));
        let good = sample.evidence();
        let vek = files.certificate("vek", &good.vek);
        assert!(chain_holds(&root, &between, &vek, sample.now().0));
        for at in (0..good.vek.len()).step_by(113) {
            let mut der = good.vek.clone();
            der[at] ^= 0x10;
            let altered = files.certificate("altered", &der);
            assert!(
                !chain_holds(&root, &between, &altered, sample.now().0),
                "{at}"
            );
        }
    }
}

/// Whether the list is by the root, and whether `ask` passes under it.
fn list_holds(files: &Files, mint: &Mint, der: &[u8], at: u64) -> (bool, bool) {
    let root = files.certificate("ark", &mint.pki.ark.certificate);
    let ask = files.certificate("ask", &mint.pki.ask.certificate);
    let list = files.pem("crl", "X509 CRL", der);
    let (_, text) = openssl(&[&"crl", &"-in", &list, &"-CAfile", &root, &"-noout"]);
    let at = at.to_string();
    let (passes, _) = openssl(&[
        &"verify",
        &"-attime",
        &at,
        &"-CAfile",
        &root,
        &"-CRLfile",
        &list,
        &"-crl_check",
        &ask,
    ]);
    (text.contains("verify OK"), passes)
}

#[test]
fn openssl_agrees_on_revocation_lists() {
    let files = Files::new();
    let mint = Mint::new(Product::Genoa);
    let now = mint.now.0;
    let spec = CrlSpec::new(&mint.pki.ark).unwrap();
    let ours = |der: &[u8]| {
        let evidence = Evidence {
            crl: Some(der.to_vec()),
            ..mint.evidence()
        };
        let passed = |id| outcome(&mint, &evidence, id) == Outcome::Pass;
        let signed = [
            CheckId::CrlEncoding,
            CheckId::CrlAlgorithm,
            CheckId::CrlIssuer,
            CheckId::CrlSignature,
        ];
        let signed = signed.into_iter().all(passed);
        let times = passed(CheckId::CrlStarted) && passed(CheckId::CrlCurrent);
        (signed, signed && times && passed(CheckId::NotRevoked))
    };
    let good = spec.sign(&mint.pki.ark.key).unwrap();
    assert_eq!(list_holds(&files, &mint, &good, now), (true, true));
    assert_eq!(ours(&good), (true, true));

    let others = CrlSpec {
        revoked: vec![vec![5], vec![2, 0, 2]],
        ..spec.clone()
    };
    let der = others.sign(&mint.pki.ark.key).unwrap();
    assert_eq!(list_holds(&files, &mint, &der, now), (true, true));
    assert_eq!(ours(&der), (true, true));

    let revoked = CrlSpec {
        revoked: vec![vec![5], mint.pki.ask.serial.clone()],
        ..spec.clone()
    };
    let der = revoked.sign(&mint.pki.ark.key).unwrap();
    assert_eq!(list_holds(&files, &mint, &der, now), (true, false));
    assert_eq!(ours(&der), (true, false));

    let due = CrlSpec {
        next_update: Some(nacre_attest::Timestamp(now - 60)),
        ..spec.clone()
    };
    let der = due.sign(&mint.pki.ark.key).unwrap();
    assert_eq!(list_holds(&files, &mint, &der, now), (true, false));
    assert_eq!(ours(&der), (true, false));

    // By another key than the root's.
    let der = spec.sign(&mint.pki.ask.key).unwrap();
    assert_eq!(list_holds(&files, &mint, &der, now), (false, false));
    assert_eq!(ours(&der), (false, false));

    for at in (0..good.len()).step_by(67) {
        let mut der = good.clone();
        der[at] ^= 0x10;
        let (signed, passes) = list_holds(&files, &mint, &der, now);
        assert!(!signed && !passes, "{at}");
        assert_eq!(ours(&der), (false, false), "{at}");
    }
}
