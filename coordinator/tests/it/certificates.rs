//! What workloads get.

use std::process::Command;

use nacre_api::v1;
use nacre_api::v1::mesh_client::MeshClient;
use nacre_atls::{AtlsError, ClientKind, Refusal};
use nacre_manifest::{PolicyHash, SnpReference};
use nacre_pki::LeafKey;
use tonic::Code;

use crate::support::{COORDINATOR, Deployment, WEB, guest, new_cert, refused};

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_listed_workload_gets_a_certificate_that_openssl_verifies() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    let entry = manifest.policies.get_mut(&PolicyHash::of(WEB)).unwrap();
    entry.sans = ["web", "*", "10.1.2.3", "https://shop.example/web"]
        .map(str::to_owned)
        .to_vec();
    entry.pod_ip = true;
    entry.workload_secret_id = Some("shop/web".to_owned());
    deployment.set(&running, &manifest).await.unwrap();
    let issued = running.certificate(WEB).await;
    assert_eq!(issued.generation, 1);
    assert_eq!(issued.workload_secret.len(), 32);

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("chain.pem"), &issued.cert_chain).unwrap();
    std::fs::write(path("mesh.pem"), &issued.mesh_ca).unwrap();
    std::fs::write(path("root.pem"), &issued.root_ca).unwrap();
    for trusted in ["mesh.pem", "root.pem"] {
        openssl(&[
            "verify",
            "-purpose",
            "sslserver",
            "-CAfile",
            &path(trusted),
            "-untrusted",
            &path("chain.pem"),
            &path("chain.pem"),
        ]);
    }
    let text = openssl(&["x509", "-in", &path("chain.pem"), "-noout", "-text"]);
    let hash = PolicyHash::of(WEB).to_string();
    for part in [
        "CN = web",
        hash.as_str(),
        "DNS:web, DNS:*, IP Address:10.1.2.3, URI:https://shop.example/web, IP Address:127.0.0.1, URI:spiffe://nacre.local/ns/shop/Deployment/web",
        "TLS Web Server Authentication, TLS Web Client Authentication",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn names_of_only_one_kind_and_no_address_unless_asked_for() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest
        .policies
        .get_mut(&PolicyHash::of(WEB))
        .unwrap()
        .sans = vec!["10.1.2.3".to_owned()];
    deployment.set(&running, &manifest).await.unwrap();
    let issued = running.certificate(WEB).await;
    assert!(issued.workload_secret.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leaf.pem").display().to_string();
    std::fs::write(&path, &issued.cert_chain).unwrap();
    let text = openssl(&["x509", "-in", &path, "-noout", "-text"]);
    assert!(
        text.contains("IP Address:10.1.2.3, URI:spiffe://"),
        "{text}"
    );
    assert!(!text.contains("127.0.0.1"), "{text}");
}

#[tokio::test]
async fn unlisted_policies_and_other_kinds_are_refused() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    for (policy, kind) in [
        (&b"package stranger"[..], ClientKind::Workload),
        (WEB, ClientKind::Coordinator),
    ] {
        let error = running.mesh(guest(policy), kind).await.unwrap_err();
        assert!(
            matches!(error, AtlsError::Refused(Refusal::Evidence)),
            "{error}"
        );
    }
    // A Coordinator of the manifest, but the manifest does not want peers to recover each other.
    let link = running
        .mesh(guest(COORDINATOR), ClientKind::Coordinator)
        .await
        .unwrap();
    let mut client = MeshClient::new(link.channel());
    let answer = client.recover(v1::PeerRecoverRequest {}).await;
    refused(answer, Code::PermissionDenied, "NCR1217");
    let request = v1::NewMeshCertRequest {
        csr: LeafKey::generate().unwrap().request().unwrap(),
    };
    let answer = client.new_mesh_cert(request).await.unwrap_err();
    assert_eq!(answer.code(), Code::PermissionDenied);
    let (_, metrics) = crate::support::Running::get(running.addresses.health, "/metrics").await;
    assert!(
        metrics.contains("nacre_coordinator_denials_total{api=\"mesh\",reason=\"host-data\"} 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn signing_requests_prove_possession() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let link = running.workload(guest(WEB)).await.unwrap();
    let mut forged = LeafKey::generate().unwrap().request().unwrap();
    *forged.last_mut().unwrap() ^= 1;
    for csr in [forged, b"no request".to_vec(), vec![], vec![0; 20_000]] {
        let request = v1::NewMeshCertRequest { csr };
        let answer = MeshClient::new(link.channel()).new_mesh_cert(request).await;
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
}

#[tokio::test]
async fn a_connection_is_judged_by_the_manifest_of_the_moment() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let with = deployment.manifest(&["one"]);
    deployment.set(&running, &with).await.unwrap();
    let one = running.workload(guest(b"one")).await.unwrap();
    let web = running.workload(guest(WEB)).await.unwrap();
    let key = LeafKey::generate().unwrap();
    assert_eq!(new_cert(&one, &key).await.unwrap().generation, 1);
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    refused(
        new_cert(&one, &key).await,
        Code::PermissionDenied,
        "NCR1216",
    );
    assert_eq!(new_cert(&web, &key).await.unwrap().generation, 2);
    // Its machine is not accepted any more.
    let mut elsewhere = deployment.manifest(&[]);
    let other = elsewhere.reference_values.snp[0].clone();
    elsewhere.reference_values.snp[0] = SnpReference {
        allowed_chip_ids: vec![nacre_manifest::ChipId::from_bytes([9; 64])],
        ..other
    };
    deployment.set(&running, &elsewhere).await.unwrap();
    refused(
        new_cert(&web, &key).await,
        Code::PermissionDenied,
        "NCR1216",
    );
}

#[tokio::test]
async fn the_ca_before_goes_along_only_when_asked_for() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let first = running.certificate(WEB).await;
    assert!(first.previous.is_none());
    let mut overlapping = deployment.manifest(&["one"]);
    overlapping.ca_overlap = true;
    deployment.set(&running, &overlapping).await.unwrap();
    let second = running.certificate(WEB).await;
    let previous = second.previous.unwrap();
    assert_eq!(
        (previous.generation, &previous.mesh_ca),
        (1, &first.mesh_ca)
    );
    assert_eq!(previous.policies.len(), 3);
    assert_ne!(second.mesh_ca, first.mesh_ca);
    // One predecessor, and the next update closes it.
    deployment
        .set(&running, &deployment.manifest(&["two"]))
        .await
        .unwrap();
    assert!(running.certificate(WEB).await.previous.is_none());
}

#[tokio::test]
async fn guests_get_their_revocation_lists_at_different_times() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    deployment
        .set(&running, &deployment.manifest(&[]))
        .await
        .unwrap();
    let with = |crl: Vec<u8>| -> std::sync::Arc<dyn nacre_attest::ReportSource> {
        let machine = nacre_sim::Machine::new(crate::support::pki()).unwrap();
        let report = nacre_sim::ReportSpec {
            host_data: *PolicyHash::of(WEB).as_bytes(),
            ..machine.report()
        };
        let behaviour = nacre_sim::Behaviour::default();
        let guest = nacre_sim::SimulatedGuest::with(machine, report, crl, behaviour);
        std::sync::Arc::new(guest)
    };
    let older = crate::support::crl();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let newer = crate::support::pki().crl().unwrap();
    assert_ne!(older, newer);
    let key = LeafKey::generate().unwrap();
    for crl in [newer, older] {
        let link = running.workload(with(crl)).await.unwrap();
        assert_eq!(new_cert(&link, &key).await.unwrap().generation, 1);
    }
    // Something that is no list at all is not replaced by one that is.
    let error = running.workload(with(b"no list".to_vec())).await;
    assert!(matches!(error, Err(AtlsError::Refused(Refusal::Evidence))));
}
