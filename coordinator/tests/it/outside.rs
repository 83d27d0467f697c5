//! The plain HTTP routes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_atls::Appraise as _;
use nacre_atls::binding::HttpState;
use nacre_attest::Evidence;
use serde_json::Value;

use crate::support::{COORDINATOR, Deployment, Running, references};

fn post(body: &str, kind: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/attest HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_state_is_proven_to_whoever_asks() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let nonce = [6; 32];
    let body = format!("{{\"nonce\": \"{}\"}}", hex::encode(nonce));
    let ask = post(&body, "application/json; charset=utf-8");
    let http = running.addresses.http;
    let (status, text) = Running::plain(http, &ask).await;
    assert_eq!(status, 412, "{text}");
    assert!(text.contains("NCR1203"), "{text}");
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let (status, text) = Running::plain(http, &ask).await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let hash = |value: &Value| -> [u8; 32] {
        hex::decode(value.as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap()
    };
    let pem = answer["meshCa"].as_str().unwrap();
    let mesh_ca: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let state = HttpState {
        nonce: &nonce,
        transition: &hash(&answer["transition"]),
        manifest: &hash(&answer["manifest"]),
        root_spki: &bytes(&answer["rootSpki"]),
        mesh_ca: &STANDARD.decode(mesh_ca).unwrap(),
    };
    let evidence = Evidence {
        report: bytes(&answer["evidence"]["report"]),
        vek: bytes(&answer["evidence"]["vek"]),
        crl: Some(bytes(&answer["evidence"]["crl"])),
    };
    let references = references(&[COORDINATOR]);
    references.appraise(&evidence, state.report_data()).unwrap();
    assert!(references.appraise(&evidence, [0; 64]).is_err());

    let (status, names) = Running::get(http, "/v1/objects").await;
    assert_eq!(status, 200);
    let names: Vec<String> = serde_json::from_str(&names).unwrap();
    assert_eq!(names.len(), 7, "{names:?}");
    let manifest = names
        .iter()
        .find(|name| name.starts_with("manifests/"))
        .unwrap();
    let (status, text) = Running::get(http, &format!("/v1/objects/{manifest}")).await;
    assert_eq!(
        (status, text.into_bytes()),
        (200, deployment.manifest(&[]).to_bytes())
    );
}

#[tokio::test]
async fn there_is_nothing_to_write_and_nothing_else_to_read() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let http = running.addresses.http;
    let good = format!("{{\"nonce\": \"{}\"}}", "0".repeat(64));
    let extra = format!("{{\"nonce\": \"{}\", \"x\": 1}}", "0".repeat(64));
    let long = format!("{{\"nonce\": \"{}\"}}", "0".repeat(2000));
    let json = "application/json";
    for (request, expected) in [
        (post(&good, "text/plain"), 415),
        (post("{}", json), 400),
        (post("nonce", json), 400),
        (post(&extra, json), 400),
        (post(&long, json), 413),
        (post("{\"nonce\": \"00\"}", json), 400),
        ("GET /v1/attest HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 405),
        (
            "PUT /v1/objects HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(),
            405,
        ),
        (
            "POST /v1/manifest HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".to_owned(),
            404,
        ),
        (
            format!(
                "GET /v1/objects/policies/{} HTTP/1.1\r\nHost: x\r\n\r\n",
                "0".repeat(64)
            ),
            404,
        ),
        (
            "GET /v1/objects/../latest HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            404,
        ),
    ] {
        let (status, body) = Running::plain(http, &request).await;
        assert_eq!(status, expected, "{request} {body}");
    }
}

#[tokio::test]
async fn health_tells_the_phases_apart() {
    let deployment = Deployment::new();
    let mut running = deployment.start().await;
    let health = running.addresses.health;
    for (path, expected) in [
        ("/startup", 200),
        ("/live", 200),
        ("/ready", 503),
        ("/x", 404),
    ] {
        assert_eq!(Running::get(health, path).await.0, expected, "{path}");
    }
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    assert_eq!(Running::get(health, "/ready").await.0, 200);
    let (_, metrics) = Running::get(health, "/metrics").await;
    for line in [
        "nacre_coordinator_manifest_generation 1",
        "nacre_coordinator_updates_total 1",
        "nacre_coordinator_phase{phase=\"ready\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    // An open connection is ended by the one who drains; readiness goes first.
    let link = running.user().await;
    running.begin_to_stop();
    (&mut running.task).await.unwrap();
    assert!(crate::support::manifests(&link, [0; 32]).await.is_err());
    assert!(tokio::net::TcpStream::connect(health).await.is_err());
}
