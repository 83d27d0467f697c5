//! Three doors through which somebody else's history could come in. All are shut.

use std::sync::Arc;

use nacre_api::v1::Phase;
use nacre_manifest::TransitionHash;
use tonic::Code;

use crate::support::{COORDINATOR, Deployment, guest, measured, refused};

/// A deployment of the attacker, whose own owner is measured into the attacker's Coordinator only.
async fn of_attacker(victim: &Deployment, peer_recovery: bool) -> (Deployment, TransitionHash) {
    let attacker = Deployment::new();
    let running = attacker.start().await;
    let mut manifest = attacker.manifest(&[]);
    manifest.peer_recovery = peer_recovery;
    attacker.set(&running, &manifest).await.unwrap();
    let head = attacker.history().await.head().hash;
    running.stop().await;
    assert_ne!(attacker.owners[0].digest(), victim.owners[0].digest());
    (attacker, head)
}

#[tokio::test]
async fn setting_first() {
    let victim = Deployment::new();
    let running = victim.start().await;
    let attacker = Deployment::new();
    let manifest = attacker.manifest(&[]);
    let transition = nacre_history::Transition::genesis(&manifest, manifest.hash(), 1_700_000_000);
    let link = running.user().await;
    let owners = [&attacker.owners[0]];
    let result = attacker.submit(&link, &manifest, transition, &owners).await;
    refused(result, Code::PermissionDenied, "NCR1111");
    assert_eq!(running.phase().await, Phase::Empty);
    assert!(victim.store().latest().await.unwrap().is_none());
    // The owner still can.
    assert!(
        victim
            .set(&running, &victim.manifest(&[]))
            .await
            .unwrap()
            .applied
    );
}

#[tokio::test]
async fn a_fabricated_store_with_recover() {
    let victim = Deployment::new();
    let (attacker, head) = of_attacker(&victim, false).await;
    // The victim's Coordinator starts on the attacker's store, where the attacker is share owner.
    let mut on_it = Deployment::new();
    on_it.genesis = measured(&[&victim.owners[0]], 1);
    let running = on_it
        .start_with(guest(COORDINATOR), attacker.store(), &[])
        .await;
    assert_eq!(running.phase().await, Phase::Sealed);
    let result = attacker.recover(&running, &attacker.shares[0], head).await;
    refused(result, Code::PermissionDenied, "NCR1111");
    assert_eq!(running.phase().await, Phase::Sealed);
}

#[tokio::test]
async fn a_fabricated_peer() {
    let victim = Deployment::new();
    let (attacker, head) = of_attacker(&victim, true).await;
    // A real, attested Coordinator with the attacker's seed offers it to everybody.
    let peer = attacker.start().await;
    attacker
        .recover(&peer, &attacker.shares[0], head)
        .await
        .unwrap();
    let address = peer.addresses.mesh.to_string();
    // On the attacker's store the history is not by measured owners.
    let running = victim
        .start_with(
            guest(COORDINATOR),
            attacker.store(),
            std::slice::from_ref(&address),
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(running.phase().await, Phase::Sealed);
    running.stop().await;

    // On its own store, with a peer that has another seed.
    let first = victim.start().await;
    let mut manifest = victim.manifest(&[]);
    manifest.peer_recovery = true;
    victim.set(&first, &manifest).await.unwrap();
    first.stop().await;
    let running = victim
        .start_with(guest(COORDINATOR), Arc::clone(&victim.store()), &[address])
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(running.phase().await, Phase::Sealed);
    let (_, metrics) = crate::support::Running::get(running.addresses.health, "/metrics").await;
    assert!(
        metrics.contains("nacre_coordinator_recoveries_total 0"),
        "{metrics}"
    );
}
