//! Updates: who may, in which order, and what stays when one is refused.

use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Tell;
use nacre_api::{limits, method, v1};
use nacre_atls::tonic::Link;
use nacre_history::{ObjectKey, OwnerKeyPair, Transition};
use nacre_manifest::{ManifestHash, PolicyHash};
use prost::Message as _;
use tonic::{Code, Status};

use crate::support::running::policies;
use crate::support::{Deployment, Dialog, Running, WEB, manifests, now, refused, sha256, signed};

async fn begun() -> (Deployment, Running) {
    begun_with(1).await
}

async fn begun_with(owners: usize) -> (Deployment, Running) {
    let deployment = Deployment::with(owners, 1);
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest.update_threshold = if owners > 1 { 2 } else { 1 };
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    (deployment, running)
}

#[tokio::test]
async fn an_owner_updates_and_only_missing_policies_travel() {
    let (deployment, running) = begun().await;
    let before = running.certificate(WEB).await;
    let manifest = deployment.manifest(&["one", "two"]);
    let head = deployment.history().await.head().transition;
    let next = head.next(&manifest, manifest.hash(), now());
    let owner = &deployment.owners[0];
    let link = running.user().await;
    let mut dialog = Dialog::open(&link).await.unwrap();
    dialog
        .say(Ask::Proposal(v1::Proposal {
            manifest: manifest.to_bytes(),
            transition: next.to_bytes().to_vec(),
            signatures: signed(&[owner], &next.message()),
            online: vec![],
        }))
        .await;
    let Tell::Wanted(wanted) = dialog.hear().await.unwrap() else {
        panic!()
    };
    let mut expected =
        ["one", "two"].map(|name| PolicyHash::of(name.as_bytes()).as_bytes().to_vec());
    expected.sort_unstable();
    assert_eq!(wanted.policies, expected);
    dialog.say(policies(&[b"two", b"one"])).await;
    dialog.say(Ask::PoliciesDone(v1::PoliciesDone {})).await;
    let Tell::Result(result) = dialog.hear().await.unwrap() else {
        panic!()
    };
    assert!(result.applied);
    assert_eq!(result.generation, 2);
    let after = running.certificate(WEB).await;
    assert_eq!(after.generation, 2);
    assert_ne!(after.mesh_ca, before.mesh_ca);
    let (_, objects) = manifests(&running.user().await, [1; 32]).await.unwrap();
    // Two manifests, two transitions, four policies, shares, confirmation, latest.
    assert_eq!(objects.len(), 11);
}

#[tokio::test]
async fn strangers_and_stale_predecessors_change_nothing() {
    let (deployment, running) = begun().await;
    let files = crate::support::files_below(deployment.folder.path());
    let manifest = deployment.manifest(&["one"]);
    let head = deployment.history().await.head().transition;
    let next = head.next(&manifest, manifest.hash(), now());
    let link = running.user().await;
    let stranger = OwnerKeyPair::generate().unwrap();
    let by_stranger = deployment
        .submit(&link, &manifest, next, &[&stranger])
        .await;
    refused(by_stranger, Code::PermissionDenied, "NCR1111");
    let owner = &deployment.owners[0];
    let unsigned = deployment.submit(&link, &manifest, next, &[]).await;
    refused(unsigned, Code::PermissionDenied, "NCR1206");
    // A second beginning.
    let again = nacre_history::Transition::genesis(&manifest, manifest.hash(), now());
    let result = deployment.submit(&link, &manifest, again, &[owner]).await;
    refused(result, Code::FailedPrecondition, "NCR1105");
    // A successor of something that is not the head.
    let far = next.next(&manifest, manifest.hash(), now());
    let result = deployment.submit(&link, &manifest, far, &[owner]).await;
    refused(result, Code::FailedPrecondition, "NCR1105");
    // A clock that is wrong by years.
    let future = head.next(&manifest, manifest.hash(), now() + 3 * 86_400);
    let result = deployment.submit(&link, &manifest, future, &[owner]).await;
    refused(result, Code::InvalidArgument, "NCR1222");
    // A manifest whose share owners are others.
    let mut other = manifest.clone();
    other.seedshare_owner_pub_keys = vec![crate::support::ShareOwner::generate().public()];
    let swapped = head.next(&other, other.hash(), now());
    let result = deployment.submit(&link, &other, swapped, &[owner]).await;
    refused(result, Code::InvalidArgument, "NCR1109");
    assert_eq!(crate::support::files_below(deployment.folder.path()), files);
    assert_eq!(running.state().await.generation, 1);
}

#[tokio::test]
async fn a_signature_for_a_connection_is_good_for_that_one() {
    let (deployment, running) = begun().await;
    let manifest = deployment.manifest(&["one"]);
    let head = deployment.history().await.head().transition;
    let next = head.next(&manifest, manifest.hash(), now());
    let owner = &deployment.owners[0];
    let (one, other) = (running.user().await, running.user().await);
    let message = one.owner_request(method::SET_MANIFEST, &sha256(&next.to_bytes()));
    let proposal = v1::Proposal {
        manifest: manifest.to_bytes(),
        transition: next.to_bytes().to_vec(),
        signatures: signed(&[owner], &next.message()),
        online: signed(&[owner], &message),
    };
    let result = deployment.propose(&other, proposal.clone(), &[owner]).await;
    refused(result, Code::PermissionDenied, "NCR1206");
    assert!(
        deployment
            .propose(&one, proposal, &[owner])
            .await
            .unwrap()
            .applied
    );
}

#[tokio::test]
async fn two_of_three_and_a_no_op_that_cancels() {
    let (deployment, running) = begun_with(3).await;
    // `begun` signs the beginning with one owner, as measured; updates need two.
    let [a, b, c] = &deployment.owners[..] else {
        panic!()
    };
    let mut wanted = deployment.manifest(&["one"]);
    wanted.update_threshold = 2;
    let head = deployment.history().await.head().transition;
    let next = head.next(&wanted, wanted.hash(), now());
    let link = running.user().await;
    let first = deployment.submit(&link, &wanted, next, &[a]).await.unwrap();
    assert!(!first.applied);
    // The same owner twice is one owner.
    let again = deployment.submit(&link, &wanted, next, &[a]).await.unwrap();
    assert_eq!(again.pending.unwrap().approved_by.len(), 1);
    assert_eq!(running.state().await.generation, 1);

    // The manifest in force, set again, makes the approval void.
    let mut present = deployment.manifest(&[]);
    present.update_threshold = 2;
    let no_op = head.next(&present, present.hash(), now());
    let before = running.certificate(WEB).await;
    let result = deployment
        .submit(&link, &present, no_op, &[b, c])
        .await
        .unwrap();
    assert!(result.applied);
    assert!(running.state().await.pending.is_empty());
    let after = running.certificate(WEB).await;
    assert_eq!((after.generation, &after.mesh_ca), (2, &before.mesh_ca));
    let late = deployment.submit(&link, &wanted, next, &[b]).await;
    refused(late, Code::FailedPrecondition, "NCR1105");

    // Approved anew: the second owner need not bring the manifest again.
    let next = no_op.next(&wanted, wanted.hash(), now());
    assert!(
        !deployment
            .submit(&link, &wanted, next, &[a])
            .await
            .unwrap()
            .applied
    );
    let approval = v1::Proposal {
        transition: next.to_bytes().to_vec(),
        signatures: signed(&[c], &next.message()),
        ..v1::Proposal::default()
    };
    let result = deployment.propose(&link, approval, &[c]).await.unwrap();
    assert!(result.applied);
    assert_eq!(result.generation, 3);
    let unknown = no_op.next(&present, present.hash(), now() + 1);
    let approval = v1::Proposal {
        transition: unknown.to_bytes().to_vec(),
        signatures: signed(&[c], &unknown.message()),
        ..v1::Proposal::default()
    };
    let result = deployment.propose(&link, approval, &[c]).await;
    refused(result, Code::FailedPrecondition, "NCR1207");
}

#[tokio::test]
async fn policies_are_those_that_were_asked_for() {
    let (deployment, running) = begun().await;
    let manifest = deployment.manifest(&["one"]);
    let head = deployment.history().await.head().transition;
    let next = head.next(&manifest, manifest.hash(), now());
    let owner = &deployment.owners[0];
    let link = running.user().await;
    let proposal = v1::Proposal {
        manifest: manifest.to_bytes(),
        transition: next.to_bytes().to_vec(),
        signatures: signed(&[owner], &next.message()),
        online: vec![],
    };
    let large = vec![b'x'; limits::MAX_POLICY + 1];
    let mut cut = v1::Policies::messages([&b"one"[..]]).next().unwrap();
    cut.lz4.pop();
    for steps in [
        vec![Ask::PoliciesDone(v1::PoliciesDone {})],
        vec![policies(&[b"another"])],
        vec![policies(&[WEB])],
        vec![policies(&[&large])],
        vec![Ask::Policies(cut)],
        vec![policies(&[b"one", b"one"])],
        vec![policies(&[b"one"]), policies(&[b"one"])],
    ] {
        let mut dialog = Dialog::open(&link).await.unwrap();
        dialog.say(Ask::Proposal(proposal.clone())).await;
        let Tell::Wanted(wanted) = dialog.hear().await.unwrap() else {
            panic!()
        };
        let present = wanted.policies.is_empty();
        for step in steps {
            dialog.say(step).await;
        }
        // The last round stored the policy before it went wrong, which is no harm.
        if !present {
            refused(dialog.hear().await, Code::InvalidArgument, "NCR1208");
        }
    }
    assert_eq!(running.state().await.generation, 1);
}

#[tokio::test]
async fn a_policy_that_was_tampered_with_is_asked_for_again() {
    let (deployment, running) = begun().await;
    let manifest = deployment.manifest(&["one"]);
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    running.stop().await;
    let file = deployment.file(&ObjectKey::Policy(PolicyHash::of(b"one")));
    std::fs::write(&file, b"package evil").unwrap();
    let running = deployment.start().await;
    let link = running.user().await;
    refused(
        manifests(&link, [0; 32]).await,
        Code::FailedPrecondition,
        "NCR1204",
    );
}

#[tokio::test]
async fn an_update_of_another_coordinator_is_not_overwritten() {
    let (deployment, running) = begun().await;
    // Both see the same head; the store lets only one move it.
    let manifest = deployment.manifest(&["one"]);
    let other = deployment.manifest(&["two"]);
    let head = deployment.history().await.head().transition;
    let link = running.user().await;
    let owner = &deployment.owners[0];
    let owners = [owner];
    let (first, second) = tokio::join!(
        deployment.submit(
            &link,
            &manifest,
            head.next(&manifest, manifest.hash(), now()),
            &owners
        ),
        deployment.submit(
            &link,
            &other,
            head.next(&other, other.hash(), now()),
            &owners
        ),
    );
    let applied = [&first, &second]
        .iter()
        .filter(|result| result.as_ref().is_ok_and(|result| result.applied))
        .count();
    assert_eq!(applied, 1, "{first:?} {second:?}");
    assert_eq!(deployment.history().await.entries().len(), 2);
}

#[tokio::test]
async fn what_waits_makes_no_answer_too_long() {
    let deployment = Deployment::with(2, 1);
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest.update_threshold = 2;
    deployment.set(&running, &manifest).await.unwrap();
    let head = deployment.history().await.head().transition;
    let link = running.user().await;
    // One owner of two proposes manifests that are as long as they may be.
    let mut transitions = Vec::new();
    for spaces in 0..3 {
        let mut long = manifest.to_bytes();
        long.resize(nacre_manifest::MAX_BYTES - spaces, b' ');
        let transition = head.next(&manifest, ManifestHash::of(&long), now());
        let result = propose_raw(&deployment, &link, long, transition)
            .await
            .unwrap();
        assert!(!result.applied);
        assert!(result.encoded_len() < 1024);
        transitions.push(transition);
    }
    let state = running.state().await;
    assert!(state.encoded_len() < 4096);
    let waits: Vec<_> = state
        .pending
        .iter()
        .map(|one| one.transition.clone())
        .collect();
    let proposed: Vec<_> = transitions
        .iter()
        .map(|one| one.to_bytes().to_vec())
        .collect();
    assert_eq!(waits, proposed);
    // The other owner approves one by its hash.
    let owners = [&deployment.owners[1]];
    let transition = transitions[1];
    let request = link.owner_request(method::SET_MANIFEST, &sha256(&transition.to_bytes()));
    let proposal = v1::Proposal {
        manifest: Vec::new(),
        transition: transition.to_bytes().to_vec(),
        signatures: signed(&owners, &transition.message()),
        online: signed(&owners, &request),
    };
    let result = deployment.propose(&link, proposal, &owners).await.unwrap();
    assert!(result.applied);
    // One byte more is no manifest.
    let mut longer = manifest.to_bytes();
    longer.resize(nacre_manifest::MAX_BYTES + 1, b' ');
    let head = deployment.history().await.head().transition;
    let transition = head.next(&manifest, ManifestHash::of(&longer), now());
    let result = propose_raw(&deployment, &link, longer, transition).await;
    refused(result, Code::InvalidArgument, "NCR1108");
}

/// Proposes these very bytes by the first owner.
async fn propose_raw(
    deployment: &Deployment,
    link: &Link,
    manifest: Vec<u8>,
    transition: Transition,
) -> Result<v1::SetManifestResult, Status> {
    let owners = [&deployment.owners[0]];
    let request = link.owner_request(method::SET_MANIFEST, &sha256(&transition.to_bytes()));
    let proposal = v1::Proposal {
        manifest,
        transition: transition.to_bytes().to_vec(),
        signatures: signed(&owners, &transition.message()),
        online: signed(&owners, &request),
    };
    deployment.propose(link, proposal, &owners).await
}
