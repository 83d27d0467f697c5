//! The first manifest.

use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Tell;
use nacre_api::v1::{self, Phase};
use nacre_atls::Appraise as _;
use nacre_atls::binding::HttpState;
use nacre_attest::Evidence;
use nacre_history::{GenesisAuthority, OwnerKeyPair, Transition};
use tonic::Code;

use crate::support::running::policies;
use crate::support::{
    COORDINATOR, Deployment, Dialog, WEB, confirmation, guest, manifests, measured, now,
    references, refused, signed,
};

fn proposal(
    manifest: &nacre_manifest::Manifest,
    transition: Transition,
    owners: &[&OwnerKeyPair],
) -> v1::Proposal {
    v1::Proposal {
        manifest: manifest.to_bytes(),
        transition: transition.to_bytes().to_vec(),
        signatures: signed(owners, &transition.message()),
        online: Vec::new(),
    }
}

#[tokio::test]
async fn two_signatures_bring_it_into_force() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    assert_eq!(running.phase().await, Phase::Empty);
    let manifest = deployment.manifest(&["one"]);
    let result = deployment.set(&running, &manifest).await.unwrap();
    assert!(result.applied && !result.unconfirmed);
    assert_eq!((result.generation, result.replicas.len()), (1, 1));
    assert!(result.root_ca.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(running.phase().await, Phase::Ready);

    // What it stored is a history that anybody can check, with the shares in it.
    let link = running.user().await;
    let (head, objects) = manifests(&link, [7; 32]).await.unwrap();
    assert_eq!(head.transition, result.transition);
    assert_eq!(usize::try_from(head.objects).unwrap(), objects.len());
    let history = deployment.history().await;
    assert!(history.is_bound());
    assert_eq!(history.confirmation().root_spki, head.root_spki);
    assert!(objects.values().any(|bytes| *bytes == result.seed_shares));

    // The head is proven for the nonce and for this state, and for nothing else.
    let mut state = HttpState {
        nonce: &[7; 32],
        transition: head.transition.as_slice().try_into().unwrap(),
        manifest: head.manifest.as_slice().try_into().unwrap(),
        root_spki: &head.root_spki,
        mesh_ca: &head.mesh_ca,
    };
    let evidence = Evidence::decode(&head.evidence).unwrap();
    let references = references(&[COORDINATOR]);
    references.appraise(&evidence, state.report_data()).unwrap();
    state.nonce = &[8; 32];
    assert!(references.appraise(&evidence, state.report_data()).is_err());
}

#[tokio::test]
async fn nothing_is_in_force_before_the_confirmation() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let manifest = deployment.manifest(&[]);
    let transition = Transition::genesis(&manifest, manifest.hash(), now());
    let owner = &deployment.owners[0];
    let link = running.user().await;
    let mut dialog = Dialog::open(&link).await.unwrap();
    dialog
        .say(Ask::Proposal(proposal(&manifest, transition, &[owner])))
        .await;
    let Tell::Wanted(wanted) = dialog.hear().await.unwrap() else {
        panic!("wanted policies")
    };
    assert_eq!(wanted.policies.len(), 2);
    for raw in deployment.policies.values() {
        dialog.say(policies(&[raw.as_slice()])).await;
    }
    dialog.say(Ask::PoliciesDone(v1::PoliciesDone {})).await;
    let Tell::Offer(offer) = dialog.hear().await.unwrap() else {
        panic!("an offer")
    };
    assert_eq!(running.phase().await, Phase::Empty);
    assert!(running.workload(guest(WEB)).await.is_err());
    assert!(deployment.store().latest().await.unwrap().is_none());

    // Another owner's confirmation, and one of another offer.
    let stranger = OwnerKeyPair::generate().unwrap();
    let real = confirmation(transition.hash(), &offer);
    let mut other = real.clone();
    other.salt[0] ^= 1;
    for (body, signer, code, number) in [
        (&real, &stranger, Code::PermissionDenied, "NCR1111"),
        (&other, owner, Code::InvalidArgument, "NCR1210"),
    ] {
        let mut dialog = Dialog::open(&link).await.unwrap();
        dialog
            .say(Ask::Proposal(proposal(&manifest, transition, &[owner])))
            .await;
        assert!(
            matches!(dialog.hear().await.unwrap(), Tell::Wanted(wanted) if wanted.policies.is_empty())
        );
        dialog.say(Ask::PoliciesDone(v1::PoliciesDone {})).await;
        // The same offer again: other owners may have confirmed it already.
        assert_eq!(dialog.hear().await.unwrap(), Tell::Offer(offer.clone()));
        dialog
            .say(Ask::Confirmation(v1::SignedConfirmation {
                confirmation: body.to_bytes(),
                signatures: signed(&[signer], &body.message()),
            }))
            .await;
        refused(dialog.hear().await, code, number);
    }
    assert_eq!(running.phase().await, Phase::Empty);

    // An unconfirmed one may be replaced by another.
    let replacement = deployment.manifest(&["one"]);
    let result = deployment.set(&running, &replacement).await.unwrap();
    assert!(result.applied);
    assert_ne!(result.transition, transition.hash().as_bytes());
}

#[tokio::test]
async fn several_measured_owners_have_to_sign_and_confirm() {
    let mut deployment = Deployment::with(3, 1);
    let [a, b, _] = &deployment.owners[..] else {
        panic!()
    };
    deployment.genesis = measured(&[a, b], 2);
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    manifest.update_threshold = 2;
    let transition = Transition::genesis(&manifest, manifest.hash(), now());
    let link = running.user().await;
    let [a, b, c] = &deployment.owners[..] else {
        panic!()
    };
    // A listed owner that is not measured has no say in the beginning.
    let by_c = deployment.submit(&link, &manifest, transition, &[c]).await;
    refused(by_c, Code::PermissionDenied, "NCR1111");
    let first = deployment
        .submit(&link, &manifest, transition, &[a])
        .await
        .unwrap();
    assert!(!first.applied);
    let pending = first.pending.unwrap();
    assert_eq!((pending.approved_by.len(), pending.needed), (1, 2));
    assert_eq!(running.state().await.pending, [pending]);
    // The second owner signs, and confirms; the first has to confirm the same offer.
    let second = deployment
        .submit(&link, &manifest, transition, &[b])
        .await
        .unwrap();
    assert!(!second.applied);
    assert_eq!(running.phase().await, Phase::Empty);
    let third = deployment
        .submit(&link, &manifest, transition, &[a])
        .await
        .unwrap();
    assert!(third.applied);
    assert!(running.state().await.pending.is_empty());
    assert_eq!(deployment.history().await.head().signers.len(), 2);
}

#[tokio::test]
async fn without_measured_owners_the_manifest_has_to_say_that_it_is_meant() {
    let mut deployment = Deployment::new();
    deployment.genesis = GenesisAuthority::InsecureUnbound;
    let running = deployment.start().await;
    let mut manifest = deployment.manifest(&[]);
    let closed = deployment.set(&running, &manifest).await;
    refused(closed, Code::PermissionDenied, "NCR1114");
    manifest.insecure_unbound_first_set = true;
    assert!(deployment.set(&running, &manifest).await.unwrap().applied);
    assert!(!deployment.history().await.is_bound());
}

#[tokio::test]
async fn a_manifest_that_could_not_be_recovered_or_served_is_refused() {
    let deployment = Deployment::new();
    let running = deployment.start().await;
    let mut without = deployment.manifest(&[]);
    without.seedshare_owner_pub_keys.clear();
    let result = deployment.set(&running, &without).await;
    refused(result, Code::FailedPrecondition, "NCR1211");
    let mut above = deployment.manifest(&[]);
    above.recovery_threshold = 2;
    refused(
        deployment.set(&running, &above).await,
        Code::InvalidArgument,
        "NCR1108",
    );
    let mut other = deployment.manifest(&["one"]);
    for entry in other.policies.values_mut() {
        let name = &entry.identity.as_ref().unwrap().name;
        entry.role = (name == "one").then_some(nacre_manifest::Role::Coordinator);
    }
    let result = deployment.set(&running, &other).await;
    refused(result, Code::FailedPrecondition, "NCR1118");
    assert_eq!(running.phase().await, Phase::Empty);
}
