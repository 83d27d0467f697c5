//! What the log holds, and what it must not.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_api::v1::mesh_client::MeshClient;
use nacre_api::v1::{PeerRecoverRequest, Phase};
use nacre_atls::ClientKind;
use nacre_manifest::PolicyHash;
use tonic::codegen::Bytes;

use crate::peers::{places, start};
use crate::support::{COORDINATOR, Deployment, WEB, eventually, guest};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Tee;

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_issuance_and_update_and_never_a_secret() {
    // Everything, of every library too.
    nacre_coordinator::Log::start("trace", || Box::new(Tee)).unwrap();
    let mut unbound = Deployment::new();
    unbound.genesis = nacre_history::GenesisAuthority::InsecureUnbound;
    let unbound = unbound.start().await;
    let unbound_address = unbound.addresses.user.to_string();
    unbound.stop().await;
    let deployment = Deployment::new();
    let places = places::<2>();
    let running = start(&deployment, &places, 0).await;
    let bound_address = running.addresses.user.to_string();
    let second = start(&deployment, &places, 1).await;
    let mut manifest = deployment.manifest(&[]);
    manifest.peer_recovery = true;
    let entry = manifest.policies.get_mut(&PolicyHash::of(WEB)).unwrap();
    entry.workload_secret_id = Some("shop/web".to_owned());
    deployment.set(&running, &manifest).await.unwrap();
    let issued = running.certificate(WEB).await;
    let expected = deployment.history().await.head().hash;
    let share = deployment.share(&deployment.shares[0]).await;
    // The only path that the seed and the key of the mesh CA travel.
    eventually("ready", || async { second.phase().await == Phase::Ready }).await;
    second.stop().await;
    let link = running
        .mesh(guest(COORDINATOR), ClientKind::Coordinator)
        .await;
    let handed = MeshClient::new(link.unwrap().channel())
        .recover(PeerRecoverRequest {})
        .await;
    let handed = handed.unwrap().into_inner();
    assert_eq!(handed.seed, share[1..]);
    running.stop().await;
    let running = deployment.start().await;
    deployment
        .recover(&running, &deployment.shares[0], expected)
        .await
        .unwrap();
    running.stop().await;

    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8(log).unwrap();
    // The start without owners says so, whatever other tests start meanwhile.
    let warned: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("no owners are measured in"))
        .collect();
    let of = |address: &str| {
        let of = warned.iter().filter(|line| line.contains(address));
        of.count()
    };
    assert_eq!(of(&unbound_address), 1, "{warned:?}");
    assert_eq!(of(&bound_address), 0, "{warned:?}");
    let transition = expected.to_string();
    for event in [
        "\"event\":\"manifest\"",
        "\"event\":\"certificate\"",
        "\"event\":\"share\"",
        "\"event\":\"peer\"",
    ] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(event)).collect();
        assert!(!lines.is_empty(), "{event}");
        if event.contains("manifest") || event.contains("certificate") {
            assert!(
                lines.iter().any(|line| line.contains(&transition)),
                "{event}"
            );
        }
    }
    assert!(log.contains(&PolicyHash::of(WEB).to_string()));
    // With a threshold of one the share is the seed.
    for secret in [
        &share[1..],
        &issued.workload_secret,
        &deployment.shares[0].pkcs8,
        &handed.mesh_key,
    ] {
        for text in forms(secret) {
            assert!(!log.contains(&text));
        }
    }
}

/// How libraries print bytes: the first of a longer text, whatever stands behind.
fn forms(secret: &[u8]) -> [String; 4] {
    let part = &secret[..16];
    let decimal = part.iter().map(u8::to_string).collect::<Vec<_>>();
    let escaped = format!("{:?}", Bytes::copy_from_slice(part));
    let escaped = escaped.strip_prefix("b\"").unwrap();
    let escaped = escaped.strip_suffix('"').unwrap();
    // As text in a line of JSON.
    let escaped = serde_json::to_string(escaped).unwrap();
    let escaped = escaped[1..escaped.len() - 1].to_owned();
    [
        hex::encode(part),
        STANDARD.encode(&secret[..15]),
        decimal.join(", "),
        escaped,
    ]
}

#[test]
fn bytes_are_searched_as_they_would_stand_in_the_log() {
    let secret: Vec<u8> = (0..40).collect();
    let whole = Bytes::from(secret.clone());
    let line = serde_json::json!({ "message": format!("data={whole:?} {secret:?}") }).to_string();
    let found = forms(&secret).map(|form| line.contains(&form));
    assert_eq!(found, [false, false, true, true], "{line}");
}
