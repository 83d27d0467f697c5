//! After a restart: who may bring a history back, and what is refused with which reason.

use nacre_api::v1::{self, Phase};
use nacre_atls::{AtlsError, Refusal};
use nacre_history::{Latest, ObjectKey};
use nacre_manifest::{PolicyHash, TransitionHash};
use tonic::Code;

use crate::support::{Deployment, Running, ShareOwner, WEB, give_share, guest, manifests, refused};

async fn begun(shares: usize, threshold: u32) -> (Deployment, Running) {
    let deployment = Deployment::with(1, shares);
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest.recovery_threshold = threshold;
    let entry = manifest.policies.get_mut(&PolicyHash::of(WEB)).unwrap();
    entry.workload_secret_id = Some("shop/web".to_owned());
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    (deployment, running)
}

async fn restarted(deployment: &Deployment, running: Running) -> Running {
    running.stop().await;
    deployment.start().await
}

#[tokio::test]
async fn one_share_brings_the_same_deployment_back() {
    let (deployment, running) = begun(1, 1).await;
    let before = running.certificate(WEB).await;
    let expected = deployment.history().await.head().hash;
    let running = restarted(&deployment, running).await;

    // Until then nothing is served.
    let state = running.state().await;
    assert_eq!((state.phase(), state.generation), (Phase::Sealed, 1));
    assert_eq!((state.shares_needed, state.shares_received.len()), (1, 0));
    let link = running.user().await;
    refused(
        manifests(&link, [0; 32]).await,
        Code::FailedPrecondition,
        "NCR1204",
    );
    let waits = running.workload(guest(WEB)).await;
    assert!(matches!(waits, Err(AtlsError::Refused(Refusal::NotReady))));
    let manifest = deployment.manifest(&["one"]);
    let set = deployment.set(&running, &manifest).await;
    refused(set, Code::FailedPrecondition, "NCR1204");
    let (status, _) = Running::get(running.addresses.health, "/ready").await;
    assert_eq!(status, 503);

    let owner = &deployment.shares[0];
    let answer = deployment.recover(&running, owner, expected).await.unwrap();
    assert!(answer.recovered);
    assert_eq!(running.phase().await, Phase::Ready);
    let (status, _) = Running::get(running.addresses.health, "/ready").await;
    assert_eq!(status, 200);
    let after = running.certificate(WEB).await;
    assert_eq!(after.workload_secret, before.workload_secret);
    assert_ne!(after.mesh_ca, before.mesh_ca);
    assert!(after.previous.is_none());
    let (head, _) = manifests(&running.user().await, [0; 32]).await.unwrap();
    assert_eq!(
        head.root_spki,
        deployment.history().await.confirmation().root_spki
    );
    // A second time there is nothing to recover.
    let again = deployment.recover(&running, owner, expected).await;
    refused(again, Code::FailedPrecondition, "NCR1205");
    // And life goes on.
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
}

#[tokio::test]
async fn as_many_shares_as_the_threshold_says() {
    let (deployment, running) = begun(3, 2).await;
    let expected = deployment.history().await.head().hash;
    let secret = running.certificate(WEB).await.workload_secret;
    let running = restarted(&deployment, running).await;
    let [a, b, c] = &deployment.shares[..] else {
        panic!()
    };
    let first = deployment.recover(&running, c, expected).await.unwrap();
    assert!(!first.recovered);
    assert_eq!((first.received.len(), first.needed), (1, 2));
    // The same share again is still one.
    let again = deployment.recover(&running, c, expected).await.unwrap();
    assert_eq!((again.recovered, again.received.len()), (false, 1));
    let state = running.state().await;
    assert_eq!((state.shares_needed, state.shares_received.len()), (2, 1));
    // A wrong one in between is named and spoils nothing.
    let mut share = deployment.share(a).await;
    share[5] ^= 1;
    let request = v1::RecoverRequest {
        expected: expected.as_bytes().to_vec(),
        share: share[1..].to_vec(),
        index: share[0].into(),
        ..v1::RecoverRequest::default()
    };
    let wrong = give_share(&running, a, request).await;
    refused(wrong, Code::InvalidArgument, "NCR1213");
    let last = deployment.recover(&running, b, expected).await.unwrap();
    assert!(last.recovered);
    assert_eq!(running.certificate(WEB).await.workload_secret, secret);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_in_any_phase() {
    let (deployment, running) = begun(1, 1).await;
    let expected = deployment.history().await.head().hash;
    let owner = &deployment.shares[0];
    let share = deployment.share(owner).await;
    let request = v1::RecoverRequest {
        expected: expected.as_bytes().to_vec(),
        share: share[1..].to_vec(),
        index: share[0].into(),
        dry_run: true,
        signature: None,
    };
    let answer = give_share(&running, owner, request.clone()).await.unwrap();
    assert!(!answer.recovered);
    let running = restarted(&deployment, running).await;
    let answer = give_share(&running, owner, request.clone()).await.unwrap();
    assert_eq!((answer.recovered, answer.needed), (false, 1));
    assert_eq!(running.phase().await, Phase::Sealed);
    let mut wrong = request;
    wrong.share[0] ^= 1;
    refused(
        give_share(&running, owner, wrong).await,
        Code::InvalidArgument,
        "NCR1213",
    );
}

#[tokio::test]
async fn only_share_owners_of_the_history_on_this_connection() {
    let (deployment, running) = begun(2, 1).await;
    let expected = deployment.history().await.head().hash;
    let running = restarted(&deployment, running).await;
    let [own, other] = &deployment.shares[..] else {
        panic!()
    };
    let share = deployment.share(own).await;
    let request = v1::RecoverRequest {
        expected: expected.as_bytes().to_vec(),
        share: share[1..].to_vec(),
        index: share[0].into(),
        ..v1::RecoverRequest::default()
    };
    let stranger = ShareOwner::generate();
    let by_stranger = give_share(&running, &stranger, request.clone()).await;
    refused(by_stranger, Code::PermissionDenied, "NCR1212");
    // Somebody else's share, though its owner has one too.
    let by_other = give_share(&running, other, request.clone()).await;
    refused(by_other, Code::InvalidArgument, "NCR1213");
    // Unsigned, and signed for something else.
    let link = running.user().await;
    let mut client = v1::user_client::UserClient::new(link.channel());
    let unsigned = client.recover(request.clone()).await;
    refused(unsigned, Code::PermissionDenied, "NCR1212");
    assert_eq!(running.phase().await, Phase::Sealed);
    assert!(give_share(&running, own, request).await.unwrap().recovered);
}

#[tokio::test]
async fn an_older_or_another_history_is_refused() {
    let (deployment, running) = begun(1, 1).await;
    let old = deployment.store().latest().await.unwrap().unwrap().bytes;
    let first = deployment.history().await.head().hash;
    assert!(
        deployment
            .set(&running, &deployment.manifest(&["one"]))
            .await
            .unwrap()
            .applied
    );
    let second = deployment.history().await.head().hash;
    running.stop().await;
    // The host puts the old state back: validly signed, and older.
    let store = deployment.store();
    let version = store.latest().await.unwrap().unwrap().version;
    store.swap(Some(&version), &old).await.unwrap();
    let running = deployment.start().await;
    let owner = &deployment.shares[0];
    let rolled_back = deployment.recover(&running, owner, second).await;
    refused(rolled_back, Code::FailedPrecondition, "NCR1119");
    let elsewhere = TransitionHash::from_bytes([3; 32]);
    let other = deployment.recover(&running, owner, elsewhere).await;
    refused(other, Code::FailedPrecondition, "NCR1119");
    assert_eq!(running.phase().await, Phase::Sealed);
    // Who expects no more than the first has to take it; that is what the pin is for.
    assert!(
        deployment
            .recover(&running, owner, first)
            .await
            .unwrap()
            .recovered
    );
}

#[tokio::test]
async fn tampered_and_missing_objects_are_named() {
    let (deployment, running) = begun(1, 1).await;
    let expected = deployment.history().await.head().hash;
    let share = deployment.share(&deployment.shares[0]).await;
    let request = v1::RecoverRequest {
        expected: expected.as_bytes().to_vec(),
        share: share[1..].to_vec(),
        index: share[0].into(),
        ..v1::RecoverRequest::default()
    };
    let history = deployment.history().await;
    let confirmation = history.confirmation().clone();
    running.stop().await;
    for (key, number) in [
        (ObjectKey::Policy(PolicyHash::of(WEB)), "NCR1103"),
        (
            ObjectKey::Manifest(history.head().transition.manifest),
            "NCR1103",
        ),
        (ObjectKey::SeedShares(confirmation.seed_shares), "NCR1103"),
        (ObjectKey::Confirmation(expected), "NCR11"),
        (ObjectKey::Transition(expected), "NCR11"),
    ] {
        let file = deployment.file(&key);
        let good = std::fs::read(&file).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bad).unwrap();
        let running = deployment.start().await;
        let owner = &deployment.shares[0];
        let status = give_share(&running, owner, request.clone())
            .await
            .unwrap_err();
        assert!(status.message().contains(number), "{key}: {status}");
        running.stop().await;
        std::fs::remove_file(&file).unwrap();
        let running = deployment.start().await;
        let status = give_share(&running, owner, request.clone())
            .await
            .unwrap_err();
        assert!(status.message().contains("NCR1101"), "{key}: {status}");
        assert_eq!(status.code(), Code::DataLoss);
        std::fs::write(&file, &good).unwrap();
        running.stop().await;
    }
    let running = deployment.start().await;
    let answer = give_share(&running, &deployment.shares[0], request)
        .await
        .unwrap();
    assert!(answer.recovered);
}

#[tokio::test]
async fn the_seed_of_another_deployment_is_refused() {
    let (deployment, running) = begun(1, 1).await;
    let (other, other_running) = begun(1, 1).await;
    let foreign = other.share(&other.shares[0]).await;
    other_running.stop().await;
    let expected = deployment.history().await.head().hash;
    let running = restarted(&deployment, running).await;
    let request = v1::RecoverRequest {
        expected: expected.as_bytes().to_vec(),
        share: foreign[1..].to_vec(),
        index: foreign[0].into(),
        ..v1::RecoverRequest::default()
    };
    let owner = &deployment.shares[0];
    refused(
        give_share(&running, owner, request).await,
        Code::InvalidArgument,
        "NCR1213",
    );
    // A `latest` signed by the other seed.
    let latest = other.store().latest().await.unwrap().unwrap().bytes;
    let signature = Latest::parse(&latest).unwrap().encode()[37..].to_vec();
    let forged = Latest::new(expected, signature).unwrap().encode();
    let store = deployment.store();
    let version = store.latest().await.unwrap().unwrap().version;
    store.swap(Some(&version), &forged).await.unwrap();
    let answer = deployment_recover_raw(&deployment, &running, expected, &other).await;
    refused(answer, Code::DataLoss, "NCR1116");
}

/// The deployment's own share, though its history cannot be read by [`Deployment::recover`] any more.
async fn deployment_recover_raw(
    deployment: &Deployment,
    running: &Running,
    expected: TransitionHash,
    other: &Deployment,
) -> Result<v1::RecoverResponse, tonic::Status> {
    let any = other.share(&other.shares[0]).await;
    let request = v1::RecoverRequest {
        expected: expected.as_bytes().to_vec(),
        share: any[1..].to_vec(),
        index: any[0].into(),
        ..v1::RecoverRequest::default()
    };
    give_share(running, &deployment.shares[0], request).await
}
