//! Evidence through services on loopback: CoCo's attestation agent and AMD's key server, both over HTTP.

use std::path::Path;

use nacre_attest::ReportDataForm;
use nacre_initializer::{Config, Deps, report_source, run};
use nacre_sim::{Machine, ReportSpec};
use serde_json::json;
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::server::{Answer, Server, ok, status};
use crate::{Arc, COORDINATOR, MEASUREMENT, Served, WORKLOAD, pki};

/// The agent of a simulated guest, without any certificate beside the report, and the key server that has it.
fn services() -> (Server, Server) {
    let machine = Machine::new(pki()).unwrap();
    let vek = machine.vek.clone();
    let agent = Server::new(move |asked| -> Answer {
        let Some((_, text)) = asked.path.split_once("/aa/evidence?runtime_data=") else {
            return status(404, "");
        };
        let mut report_data = [0; 64];
        report_data[..text.len()].copy_from_slice(text.as_bytes());
        let report = ReportSpec {
            report_data,
            host_data: WORKLOAD,
            ..machine.report()
        };
        let report = machine.sign(&report).unwrap();
        let report = AttestationReport::from_bytes(&report).unwrap();
        ok(json!({"attestation_report": report, "cert_chain": null}).to_string())
    });
    let list = pki().crl().unwrap();
    let keys = Server::new(move |asked| {
        ok(match asked.path.ends_with("/crl") {
            true => list.clone(),
            false => vek.clone(),
        })
    });
    (agent, keys)
}

fn environment(address: &str, folder: &Path, evidence: &str, collateral: &str) -> Config {
    let reference = json!({"snp": [{
        "Platform": "kata-qemu-snp", "ProductName": "Genoa", "CPUs": 1,
        "TrustedMeasurement": hex(&MEASUREMENT), "HostDataBinding": "none",
        "MinimumTCB": {"BootloaderVersion": 0, "TEEVersion": 0, "SNPVersion": 0, "MicrocodeVersion": 0},
        "GuestPolicy": {},
    }]});
    let gate = folder.join("gate-of-the-image");
    std::fs::write(&gate, "program").unwrap();
    let text = |path: &Path| path.display().to_string();
    let config = Config::read(&|name| {
        Some(match name {
            "COORDINATOR_HOST" => address.to_owned(),
            "NACRE_COORDINATOR_POLICY_HASH" => hex(&COORDINATOR),
            "NACRE_COORDINATOR_REFERENCE" => reference.to_string(),
            "NACRE_EVIDENCE" => evidence.to_owned(),
            "NACRE_COLLATERAL" => collateral.to_owned(),
            "NACRE_TLS_DIR" => text(&folder.join("tls-config")),
            "NACRE_GATE" => text(&gate),
            _ => return None,
        })
    });
    config.unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_stock_kata_gets_its_files_through_the_agent_and_the_key_server() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served {
        form: ReportDataForm::Text,
        ..Served::new()
    };
    let address = served.start(WORKLOAD).await.to_string();
    let (agent, keys) = services();
    let evidence = format!("coco-aa={}/aa/evidence", agent.url);
    let config = environment(
        &address,
        folder.path(),
        &evidence,
        &format!("kds={}", keys.url),
    );
    let volume = config.directory.clone();
    tokio::task::spawn_blocking(move || {
        let verifier = Arc::new(pki().verifier().unwrap());
        let source = report_source(&config.guest, &verifier).unwrap();
        // What the server gives is asked for once, however many reports there are.
        for _ in 0..3 {
            source.evidence(&[1; 64]).unwrap();
        }
        run(config, Deps { verifier, source }).unwrap();
    })
    .await
    .unwrap();
    assert!(volume.join("certChain.pem").exists());
    assert_eq!(agent.count(), 4);
    assert_eq!(keys.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_agent_there_is_no_evidence_and_nothing_else_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (agent, keys) = services();
    let places = format!("kds={}", keys.url);
    // An agent is on loopback or nowhere.
    for evidence in ["coco-aa=http://192.0.2.1/aa/evidence", "configfs"] {
        let config = environment("127.0.0.1:1", folder.path(), evidence, &places);
        let verifier = Arc::new(pki().verifier().unwrap());
        let Err(error) = report_source(&config.guest, &verifier) else {
            panic!("{evidence}");
        };
        assert!(error.to_string().contains("no reports can be had here"));
    }
    assert_eq!((agent.count(), keys.count()), (0, 0));
}
