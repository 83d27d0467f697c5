//! What the log holds, and what it must not.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_manifest::PolicyHash;

use crate::support::{Deployment, WEB};

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
    unbound.start().await.stop().await;
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    let entry = manifest.policies.get_mut(&PolicyHash::of(WEB)).unwrap();
    entry.workload_secret_id = Some("shop/web".to_owned());
    deployment.set(&running, &manifest).await.unwrap();
    let issued = running.certificate(WEB).await;
    let expected = deployment.history().await.head().hash;
    let share = deployment.share(&deployment.shares[0]).await;
    running.stop().await;
    let running = deployment.start().await;
    deployment
        .recover(&running, &deployment.shares[0], expected)
        .await
        .unwrap();
    running.stop().await;

    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8(log).unwrap();
    // Of all starts, the one without owners says so.
    assert_eq!(log.matches("no owners are measured in").count(), 1);
    let transition = expected.to_string();
    for event in [
        "\"event\":\"manifest\"",
        "\"event\":\"certificate\"",
        "\"event\":\"share\"",
    ] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(event)).collect();
        assert!(!lines.is_empty(), "{event}");
        if !event.contains("share") {
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
    ] {
        let part = &secret[..16];
        let decimal = part
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        for text in [hex::encode(part), STANDARD.encode(&secret[..15]), decimal] {
            assert!(!log.contains(&text));
        }
    }
}
