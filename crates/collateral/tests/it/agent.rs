//! CoCo's attestation agent, as its REST service documents itself, in both forms of its releases.

use std::sync::Arc;
use std::time::Duration;

use nacre_attest::{
    Assembled, CertificateTable, CheckId, CocoAgent, CollateralDirectory, Evidence, Expected,
    HostData, Policy, Product, RawReportSource as _, Report, ReportData, ReportDataForm,
    ReportSource as _, SourceError, Timestamp, read_agent_answer,
};
use nacre_collateral::{HttpAgent, Options};
use nacre_sim::{Machine, Pki, ReportSpec};
use serde_json::{Value, json};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::sample;
use crate::server::{Answer, Asked, Server, ok, status};

const DATA: [u8; 64] = [0x5a; 64];

fn options() -> Options {
    Options {
        request: Duration::from_secs(5),
        ..Options::default()
    }
}

/// What `sev` makes of a report.
pub(crate) fn new_form(report: &[u8]) -> Value {
    serde_json::to_value(AttestationReport::from_bytes(report).unwrap()).unwrap()
}

/// The fields of releases with `sev` before 5, as an answer published with one of them has them.
fn old_form(report: &[u8]) -> Value {
    let mut value = new_form(report);
    let object = value.as_object_mut().unwrap();
    let key_info = object.remove("key_info").unwrap();
    object.insert("_author_key_en".into(), key_info);
    object.insert("_reserved_0".into(), json!(0));
    for name in ["current", "committed"] {
        let version = object.remove(name).unwrap();
        for part in ["build", "minor", "major"] {
            object.insert(format!("{name}_{part}"), version[part].clone());
        }
    }
    for name in [
        "cpuid_fam_id",
        "cpuid_mod_id",
        "cpuid_step",
        "launch_mit_vector",
        "current_mit_vector",
    ] {
        object.remove(name);
    }
    for name in ["current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"] {
        let tcb = object[name].as_object_mut().unwrap();
        tcb.remove("fmc");
        tcb.insert("_reserved".into(), json!([0, 0, 0, 0]));
    }
    value
}

pub(crate) fn answer(report: Value, vek: Option<&[u8]>) -> Vec<u8> {
    let chain = vek.map(|vek| {
        json!([
            { "cert_type": "ARK", "data": [1, 2, 3] },
            { "cert_type": { "OTHER": "00000000-0000-0000-0000-000000000001" }, "data": [4] },
            { "cert_type": "VCEK", "data": vek },
        ])
    });
    json!({ "attestation_report": report, "cert_chain": chain })
        .to_string()
        .into_bytes()
}

#[test]
fn real_reports_are_put_together_again_to_the_byte() {
    let mut seen = 0;
    for folder in [
        "ms-milan",
        "ms-genoa",
        "ms-turin",
        "attrs-genoa-v5",
        "trustee-milan-vlek-v3",
        "trustee-az-genoa",
        "gosev-milan-v2",
    ] {
        let report = sample(&format!("{folder}/report.bin"));
        let read = read_agent_answer(&answer(new_form(&report), None)).unwrap();
        assert_eq!(read.report, report, "{folder}");
        assert_eq!(read.certificates, CertificateTable::default());
        seen += 1;
    }
    assert_eq!(seen, 7);
    let report = sample("gosev-milan-v2/report.bin");
    let read = read_agent_answer(&answer(old_form(&report), Some(b"vcek"))).unwrap();
    assert_eq!(read.report, report);
    let key = Report::parse(&report).unwrap().signing_key();
    assert_eq!(read.certificates.vek(key), Some(&b"vcek"[..]));
}

#[test]
fn answers_that_are_none_are_errors() {
    let good = new_form(&sample("ms-turin/report.bin"));
    let altered = |change: fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        answer(value, None)
    };
    for bytes in [
        b"".to_vec(),
        b"{}".to_vec(),
        br#"{"attestation_report":{}}"#.to_vec(),
        br#"{"svn":"1","report_data":"eHh4eA=="}"#.to_vec(),
        vec![b' '; nacre_attest::MAX_AGENT_ANSWER + 1],
        altered(|value| value["vmpl"] = json!(1u64 << 32)),
        altered(|value| value["vmpl"] = json!(-1)),
        altered(|value| value["report_data"] = json!([1, 2])),
        altered(|value| value["report_data"][0] = json!(256)),
        altered(|value| value["current_tcb"]["fmc"] = json!("1")),
        altered(|value| value["signature"] = json!(null)),
        altered(|value| value["current"] = json!({})),
        altered(|value| drop(value.as_object_mut().unwrap().remove("key_info"))),
    ] {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(read_agent_answer(&bytes).is_err(), "{text}");
    }
}

/// The guest's REST service before an agent on a simulated machine. `old`: the releases that know one
/// parameter and answer 405 to more.
fn guest(old: bool) -> (Server, Vec<u8>) {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let machine = Machine::new(pki).unwrap();
    let vek = machine.vek.clone();
    let chain = vek.clone();
    let server = Server::new(move |asked: &Asked| -> Answer {
        let Some((path, query)) = asked.path.split_once('?') else {
            return status(400, "");
        };
        if path != "/aa/evidence" {
            return status(404, "");
        }
        if asked.method != "GET" {
            return status(405, "");
        }
        let parameters: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let [("runtime_data", text)] = parameters[..] else {
            return status(if old { 405 } else { 400 }, "");
        };
        assert!(!text.contains(['%', '+']), "needs no decoding");
        if text.len() > 64 {
            return status(
                500,
                "SNP Attester: Report data must be no more than 64 bytes",
            );
        }
        let mut report_data = [0; 64];
        report_data[..text.len()].copy_from_slice(text.as_bytes());
        let report = ReportSpec {
            report_data,
            ..machine.report()
        };
        let report = machine.sign(&report).unwrap();
        let form = if old {
            old_form(&report)
        } else {
            new_form(&report)
        };
        ok(answer(form, Some(&chain)))
    });
    (server, vek)
}

fn evidence(server: &Server) -> Result<Evidence, SourceError> {
    let url = format!("{}/aa/evidence", server.url);
    let agent = HttpAgent::at(&url, &options())?;
    let scratch = tempfile::tempdir().unwrap();
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let lists = CollateralDirectory::new(scratch.path());
    lists.put_crl(Product::Genoa, &pki.crl().unwrap()).unwrap();
    let source = Assembled::new(
        Box::new(CocoAgent::new(agent)),
        vec![Box::new(lists)],
        Arc::new(pki.verifier().unwrap()),
    );
    assert_eq!(source.name(), "coco-aa");
    source.evidence(&DATA)
}

fn verdict(evidence: &Evidence, form: ReportDataForm, data: [u8; 64]) -> Option<CheckId> {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let machine = Machine::new(pki).unwrap();
    let policy = Policy {
        report_data_form: form,
        ..Policy::new(Product::Genoa, [machine.report().measurement])
    };
    let expected = Expected {
        report_data: ReportData::Exact(data),
        host_data: HostData::OneOf([machine.report().host_data].into()),
        newest_crl: None,
    };
    let verifier = pki.verifier().unwrap();
    let result = verifier.verify(evidence, &policy, &expected, Timestamp::now());
    result.err().map(|rejection| rejection.reason().unwrap().id)
}

#[test]
fn evidence_through_the_agent_is_accepted_in_its_form_and_in_no_other() {
    let (server, vek) = guest(false);
    let evidence = evidence(&server).unwrap();
    assert_eq!(evidence.vek, vek);
    assert_eq!(verdict(&evidence, ReportDataForm::Text, DATA), None);
    let wrong = Some(CheckId::ReportData);
    assert_eq!(verdict(&evidence, ReportDataForm::Exact, DATA), wrong);
    assert_eq!(verdict(&evidence, ReportDataForm::Text, [0x5b; 64]), wrong);
    // The text itself, taken as what was intended, is not what was intended.
    let text = ReportDataForm::Text.apply(&DATA);
    assert_eq!(verdict(&evidence, ReportDataForm::Text, text), wrong);
    let asked = server.asked();
    let query = asked[0].path.split_once("runtime_data=").unwrap().1;
    assert_eq!(query.as_bytes(), text);
}

#[test]
fn exact_evidence_is_not_accepted_where_text_is_expected() {
    let pki = Pki::of_process(Product::Genoa).unwrap();
    let machine = Machine::new(pki).unwrap();
    let report = ReportSpec {
        report_data: DATA,
        ..machine.report()
    };
    let evidence = Evidence {
        report: machine.sign(&report).unwrap(),
        vek: machine.vek.clone(),
        crl: Some(pki.crl().unwrap()),
    };
    assert_eq!(verdict(&evidence, ReportDataForm::Exact, DATA), None);
    let wrong = Some(CheckId::ReportData);
    assert_eq!(verdict(&evidence, ReportDataForm::Text, DATA), wrong);
}

#[test]
fn older_releases_are_asked_in_the_same_way() {
    let (server, _) = guest(true);
    let url = format!("{}/aa/evidence", server.url);
    let source = CocoAgent::new(HttpAgent::at(&url, &options()).unwrap());
    // Their report has no place for the processor, so only the bytes can be compared.
    let report = source.report(&DATA).unwrap().report;
    let parsed = Report::parse(&report).unwrap();
    assert_eq!(parsed.report_data, ReportDataForm::Text.apply(&DATA));
}

#[test]
fn failures_of_the_service_are_told_apart() {
    let fails = |answer: fn() -> Answer| {
        let server = Server::new(move |_| answer());
        evidence(&server).unwrap_err()
    };
    assert!(matches!(fails(|| status(503, "")), SourceError::Busy));
    assert!(matches!(
        fails(|| status(403, "")),
        SourceError::Firmware { .. }
    ));
    assert!(matches!(fails(|| ok("no JSON")), SourceError::Agent { .. }));
    // A report that is bound to something else never leaves the guest as evidence.
    let stale = || ok(answer(new_form(&sample("ms-genoa/report.bin")), None));
    assert!(matches!(fails(stale), SourceError::OtherReport));
    let nobody = HttpAgent::at("http://127.0.0.1:1/aa/evidence", &options()).unwrap();
    let source: Arc<_> = CocoAgent::new(nobody).into();
    assert!(matches!(
        source.report(&DATA),
        Err(SourceError::Collateral { .. })
    ));
}
