// What the fuzz targets on evidence do with their bytes; the tests of `crates/attest` replay the corpora
// through the same functions.

use nacre_attest::{
    CrlMode, Evidence, Expected, HostData, Policy, Product, REPORT_LEN, Report, ReportData,
    Timestamp, VekFacts, read_agent_answer,
};

const REPORT: &[u8] = include_bytes!("../crates/attest/tests/data/ms-genoa/report.bin");
const VEK: &[u8] = include_bytes!("../crates/attest/tests/data/ms-genoa/vcek.der");

/// A report of any bytes, with a certificate that is genuine.
pub(crate) fn report(bytes: &[u8]) {
    if let Ok(report) = Report::parse(bytes) {
        assert_eq!(report.bytes().as_slice(), bytes);
        assert!(bytes.starts_with(report.signed_bytes()));
    }
    judge(Evidence {
        report: bytes.to_vec(),
        vek: VEK.to_vec(),
        crl: None,
    });
}

/// A certificate of any bytes, with a report that is genuine.
pub(crate) fn vek(bytes: &[u8]) {
    let _ = VekFacts::read(bytes);
    judge(Evidence {
        report: REPORT.to_vec(),
        vek: bytes.to_vec(),
        crl: None,
    });
}

/// A revocation list of any bytes, with evidence that is genuine.
pub(crate) fn crl(bytes: &[u8]) {
    judge(Evidence {
        report: REPORT.to_vec(),
        vek: VEK.to_vec(),
        crl: Some(bytes.to_vec()),
    });
}

/// Encoded evidence of any bytes.
pub(crate) fn evidence(bytes: &[u8]) {
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
        judge(evidence);
    }
}

/// An answer of CoCo's attestation agent of any bytes.
pub(crate) fn agent(bytes: &[u8]) {
    if let Ok(read) = read_agent_answer(bytes) {
        assert_eq!(read.report.len(), REPORT_LEN);
        report(&read.report);
    }
}

/// None of it is accepted: REPORT_DATA is asked for that no corpus can hold.
fn judge(evidence: Evidence) {
    let policy = Policy {
        crl: CrlMode::IfPresent,
        ..Policy::new(Product::Genoa, [[0x5e; 48]])
    };
    let expected = Expected {
        report_data: ReportData::Exact([0x5e; 64]),
        host_data: HostData::OneOf([[0x5e; 32]].into()),
        newest_crl: None,
    };
    let now = Timestamp(1_795_000_000);
    let verdict = nacre_attest::examine(&evidence, &policy, &expected, now);
    assert!(verdict.table().lines().count() > 80);
    assert!(verdict.into_result().is_err());
}
