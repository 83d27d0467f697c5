//! Histories that become long.

use nacre_api::v1::Phase;
use nacre_coordinator::Capacity;
use nacre_history::ObjectKey;
use tonic::Code;

use crate::support::{Deployment, Running, eventually, manifests, refused};

fn number(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

/// Objects and bytes, as the metrics say and as a client counts.
async fn size(running: &Running) -> (usize, u64) {
    let (_, metrics) = Running::get(running.addresses.health, "/metrics").await;
    let (_, objects) = manifests(&running.user().await, [3; 32]).await.unwrap();
    let counted = objects.iter().filter(|(key, _)| **key != ObjectKey::Latest);
    let bytes = counted.map(|(_, bytes)| bytes.len() as u64).sum();
    let said = number(&metrics, "nacre_coordinator_history_objects");
    assert_eq!(said, objects.len() as u64);
    assert_eq!(number(&metrics, "nacre_coordinator_history_bytes"), bytes);
    (objects.len(), bytes)
}

#[tokio::test]
async fn an_update_beyond_what_clients_take_is_refused() {
    let mut deployment = Deployment::new();
    // The first set has 7 objects, an update with a new policy 3 more.
    deployment.capacity.objects = 10;
    let running = deployment.start().await;
    for workloads in [&[][..], &["one"]] {
        let manifest = deployment.manifest(workloads);
        assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    }
    let (objects, bytes) = size(&running).await;
    assert_eq!(objects, 10);
    let more = deployment
        .set(&running, &deployment.manifest(&["two"]))
        .await;
    refused(more, Code::FailedPrecondition, "NCR1223");
    // What is in force stays, and can be read, after a restart too.
    assert_eq!(running.state().await.generation, 2);
    let expected = deployment.history().await.head().hash;
    running.stop().await;

    deployment.capacity = Capacity {
        bytes: bytes + 100,
        ..Capacity::default()
    };
    let running = deployment.start().await;
    deployment
        .recover(&running, &deployment.shares[0], expected)
        .await
        .unwrap();
    assert_eq!(size(&running).await, (objects, bytes));
    let more = deployment
        .set(&running, &deployment.manifest(&["two"]))
        .await;
    refused(more, Code::FailedPrecondition, "NCR1223");
    assert_eq!(running.state().await.generation, 2);
    running.stop().await;
    deployment.capacity = Capacity::default();
    let running = deployment.start().await;
    deployment
        .recover(&running, &deployment.shares[0], expected)
        .await
        .unwrap();
    let set = deployment
        .set(&running, &deployment.manifest(&["two"]))
        .await;
    assert!(set.unwrap().applied);
    assert_eq!(size(&running).await.0, objects + 3);
}

#[tokio::test]
async fn every_object_can_be_fetched_and_nothing_else() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    for workloads in [&[][..], &["one"], &["two"]] {
        let manifest = deployment.manifest(workloads);
        deployment.set(&running, &manifest).await.unwrap();
    }
    let http = running.addresses.http;
    let (_, names) = Running::get(http, "/v1/objects").await;
    let names: Vec<String> = serde_json::from_str(&names).unwrap();
    assert_eq!(names.len(), 13);
    for name in &names {
        let (status, _) = Running::get(http, &format!("/v1/objects/{name}")).await;
        assert_eq!(status, 200, "{name}");
    }
    let absent = format!("/v1/objects/policies/{}", "5a".repeat(32));
    assert_eq!(Running::get(http, &absent).await.0, 404);
}

#[tokio::test]
async fn a_coordinator_that_follows_serves_the_whole_history() {
    let deployment = Deployment::new();
    let places = crate::peers::places::<2>();
    let first = crate::peers::start(&deployment, &places, 0).await;
    let second = crate::peers::start(&deployment, &places, 1).await;
    for workloads in [&[][..], &["one"], &["two"]] {
        let mut manifest = deployment.manifest(workloads);
        manifest.peer_recovery = true;
        deployment.set(&first, &manifest).await.unwrap();
    }
    eventually("the same", || async {
        let state = second.state().await;
        (state.generation, state.phase()) == (3, Phase::Ready)
    })
    .await;
    assert_eq!(size(&first).await, size(&second).await);
}
