//! A Coordinator that the owners replace by another one.

use nacre_api::v1::Phase;
use nacre_atls::{AtlsError, ClientKind, Refusal};
use nacre_manifest::{Identity, Manifest, PolicyEntry, PolicyHash, Role};
use tonic::Code;

use crate::support::{COORDINATOR, Deployment, Running, WEB, eventually, guest, refused};

/// Raw policy of the Coordinator that is replaced.
const FORMER: &[u8] = b"package coordinator of before";

fn with_both(deployment: &Deployment) -> Manifest {
    let mut manifest = deployment.manifest(&[]);
    let identity = Identity::new("shop", "StatefulSet", "former");
    let mut former = PolicyEntry::new(identity, vec!["former".to_owned()]);
    former.role = Some(Role::Coordinator);
    manifest.policies.insert(PolicyHash::of(FORMER), former);
    manifest.peer_recovery = true;
    manifest
}

#[tokio::test]
async fn it_serves_nothing_any_more_until_it_is_listed_again() {
    let mut deployment = Deployment::new();
    deployment
        .policies
        .insert(PolicyHash::of(FORMER), FORMER.to_vec());
    let mut former = deployment
        .start_with(guest(FORMER), deployment.store(), &[])
        .await;
    former.policy = FORMER;
    let both = with_both(&deployment);
    assert!(deployment.set(&former, &both).await.unwrap().applied);
    let peers = [former.addresses.mesh.to_string()];
    let next = deployment
        .start_with(guest(COORDINATOR), deployment.store(), &peers)
        .await;
    eventually("the seed was handed over", || async {
        next.phase().await == Phase::Ready
    })
    .await;
    assert_eq!(former.certificate(WEB).await.generation, 1);

    let mut alone = deployment.manifest(&[]);
    alone.peer_recovery = true;
    assert!(deployment.set(&next, &alone).await.unwrap().applied);
    eventually("the former one is out of force", || async {
        Running::get(former.addresses.health, "/ready").await.0 == 503
    })
    .await;
    // No certificates under the old manifest, and no seed for its peers.
    let refusal = former.workload(guest(WEB)).await;
    assert!(
        matches!(refusal, Err(AtlsError::Refused(Refusal::NotReady))),
        "{refusal:?}"
    );
    let peer = former
        .mesh(guest(COORDINATOR), ClientKind::Coordinator)
        .await;
    assert!(
        matches!(peer, Err(AtlsError::Refused(Refusal::NotReady))),
        "{peer:?}"
    );
    let head = deployment.history().await.head().hash;
    let owner = &deployment.shares[0];
    let share = deployment.recover(&former, owner, head).await;
    refused(share, Code::FailedPrecondition, "NCR1118");
    assert_eq!(former.phase().await, Phase::Sealed);
    // The other one is not concerned.
    assert_eq!(next.certificate(WEB).await.generation, 2);

    // Listed again, it can be recovered as any other.
    assert!(deployment.set(&next, &both).await.unwrap().applied);
    eventually("the former one knows of it", || async {
        former.state().await.generation == 3
    })
    .await;
    let head = deployment.history().await.head().hash;
    let share = deployment.recover(&former, owner, head).await.unwrap();
    assert!(share.recovered);
    assert_eq!(former.certificate(WEB).await.generation, 3);
}
