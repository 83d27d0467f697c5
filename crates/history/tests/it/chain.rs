//! Who may extend a history, and what makes one invalid: a case for each reason.

use std::borrow::Cow;
use std::collections::BTreeMap;

use nacre_findings::codes;
use nacre_history::{
    Authority, Expect, GenesisAuthority, History, Invalid, Lookup, ObjectKey, Objects,
    OwnerKeyPair, OwnersError, Relation, Rules, Transition, validate, validate_after,
};
use nacre_manifest::{
    HostDataBinding, Manifest, ManifestHash, PoliciesDigest, PolicyHash, ProblemKind,
    SeedSharesHash, SeedshareOwnerKey, TransitionHash,
};

use crate::support::{COORDINATOR, Deployment, manifest, sign, signatures, with};

fn check(deployment: &Deployment) -> Result<History, Invalid> {
    validate(
        &deployment.objects,
        &deployment.rules(),
        &Expect::complete().coordinator(PolicyHash::of(COORDINATOR)),
    )
}

/// Asserts the reason and that it has a documented code.
macro_rules! refused {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {{
        let error = $result.unwrap_err();
        assert!(matches!(error, $pattern $(if $guard)?), "{error:?}");
        let code = codes::Code::new(error.code());
        assert!(code.info().is_some(), "{code} is not registered");
    }};
}

#[test]
fn a_chain_of_updates_holds() {
    let mut deployment = Deployment::new();
    let first = manifest(&[&deployment.owner], 1);
    for name in ["web", "api", "db"] {
        deployment.update(&with(first.clone(), name));
    }
    let history = check(&deployment).unwrap();
    assert_eq!(history.entries().len(), 4);
    assert_eq!(history.head().transition.generation, 4);
    assert!(history.contains(&deployment.genesis.hash()));
    let at_head = Expect::complete().known(deployment.head.hash());
    validate(&deployment.objects, &deployment.rules(), &at_head).unwrap();
}

#[test]
fn the_threshold_of_the_manifest_before_counts() {
    let mut deployment = Deployment::new();
    let [second, third] = [(); 2].map(|()| OwnerKeyPair::generate().unwrap());
    let two = manifest(&[&deployment.owner, &second, &third], 2);
    deployment.update(&two);
    let next_manifest = with(two.clone(), "web");
    let next = deployment
        .head
        .next(&next_manifest, next_manifest.hash(), 1_700_000_200);
    let history = check(&deployment).unwrap();
    let extend = |owners: &[&OwnerKeyPair]| {
        history.extended(
            &sign(next, owners),
            &next_manifest.to_bytes(),
            &deployment.rules(),
        )
    };
    refused!(
        extend(&[]),
        Invalid::TooFewSignatures {
            found: 0,
            needed: 2
        }
    );
    refused!(
        extend(&[&third]),
        Invalid::TooFewSignatures {
            found: 1,
            needed: 2
        }
    );
    let stranger = OwnerKeyPair::generate().unwrap();
    refused!(extend(&[&third, &stranger]), Invalid::NotAnOwner { key, .. } if key == stranger.digest());
    assert_eq!(extend(&[&third, &second]).unwrap().entries().len(), 3);
    // The owners of the next manifest have no say.
    let mine = manifest(&[&stranger], 1);
    let takeover = deployment.head.next(&mine, mine.hash(), 1_700_000_200);
    let taken = sign(takeover, &[&stranger]);
    refused!(
        history.extended(&taken, &mine.to_bytes(), &deployment.rules()),
        Invalid::NotAnOwner { .. }
    );
}

#[test]
fn signatures_are_for_this_transition_only() {
    let deployment = Deployment::new();
    let history = check(&deployment).unwrap();
    let one = with(manifest(&[&deployment.owner], 1), "one");
    let two = with(manifest(&[&deployment.owner], 1), "two");
    let next = |manifest: &Manifest| {
        deployment
            .head
            .next(manifest, manifest.hash(), 1_700_000_100)
    };
    let replayed = next(&two)
        .signed(signatures(&next(&one).message(), &[&deployment.owner]))
        .unwrap();
    refused!(
        history.extended(&replayed, &two.to_bytes(), &deployment.rules()),
        Invalid::Signature { .. }
    );
    // A signature over the confirmation is none over a transition.
    let confirmation = deployment.confirmation().message();
    let other = next(&two)
        .signed(signatures(&confirmation, &[&deployment.owner]))
        .unwrap();
    refused!(
        history.extended(&other, &two.to_bytes(), &deployment.rules()),
        Invalid::Signature { .. }
    );
}

#[test]
fn a_transition_has_to_follow_the_head() {
    let mut deployment = Deployment::new();
    let old_head = deployment.head;
    let update = with(manifest(&[&deployment.owner], 1), "web");
    deployment.update(&update);
    let history = check(&deployment).unwrap();
    let propose = |transition: Transition, manifest: &Manifest| {
        history.propose(transition, &manifest.to_bytes(), &deployment.rules())
    };
    let late = old_head.next(&update, update.hash(), 1_700_000_300);
    refused!(propose(late, &update), Invalid::NotNext { found, head }
        if found == old_head.hash() && head == deployment.head.hash());
    let again = Transition::genesis(&update, update.hash(), 1_700_000_300);
    refused!(propose(again, &update), Invalid::NotNext { .. });
    let mut jump = deployment.head.next(&update, update.hash(), 1_700_000_300);
    jump.generation += 1;
    refused!(
        propose(jump, &update),
        Invalid::Generation {
            found: 4,
            expected: 3
        }
    );
    let mut early = deployment.head.next(&update, update.hash(), 0);
    assert_eq!(early.signed_at, deployment.head.signed_at);
    assert!(
        propose(early, &update)
            .unwrap()
            .is_no_op(Some(history.head()))
    );
    early.signed_at = 5;
    refused!(propose(early, &update), Invalid::TimeBackwards { .. });
    let mut policies = deployment.head.next(&update, update.hash(), 1_700_000_300);
    policies.policies = PoliciesDigest::of([]);
    refused!(propose(policies, &update), Invalid::PoliciesOther);
    let fine = deployment.head.next(&update, update.hash(), 1_700_000_300);
    let other = with(update, "other");
    refused!(propose(fine, &other), Invalid::ManifestOther { .. });
}

#[test]
fn manifests_are_strict() {
    let deployment = Deployment::new();
    let history = check(&deployment).unwrap();
    let rules = deployment.rules();
    let mut incomplete = manifest(&[&deployment.owner], 1);
    incomplete.reference_values.snp.clear();
    let next = deployment
        .head
        .next(&incomplete, incomplete.hash(), 1_700_000_100);
    refused!(
        history.propose(next, &incomplete.to_bytes(), &rules),
        Invalid::ManifestProblems { .. }
    );
    let mut next = next;
    next.manifest = ManifestHash::of(b"{}");
    refused!(
        history.propose(next, b"{}", &rules),
        Invalid::Manifest { .. }
    );
}

#[test]
fn checks_that_came_later_judge_what_is_proposed_only() {
    let mut first = manifest(&[], 1);
    first.peer_recovery = true;
    first.allow_any_chip = true;
    first.reference_values.snp[0].host_data_binding = HostDataBinding::None;
    let mut deployment = Deployment::of(first.clone());
    first = deployment.manifest();
    let second = with(first.clone(), "web");
    let rules = deployment.rules();
    let unbound = |error: &Invalid| match error {
        Invalid::ManifestProblems { problems, .. } => problems
            .iter()
            .all(|problem| matches!(problem.kind, ProblemKind::PeerRecoveryUnbound { .. })),
        _ => false,
    };
    // Nobody can set such a manifest, neither as the first one nor later.
    let begun = History::propose_genesis(deployment.genesis, &first.to_bytes(), &rules);
    refused!(begun, ref error if unbound(error));
    let history = check(&deployment).unwrap();
    let next = deployment.head.next(&second, second.hash(), 1_700_000_100);
    refused!(history.propose(next, &second.to_bytes(), &rules), ref error if unbound(error));
    let signed = sign(next, &[&deployment.owner]);
    refused!(history.extended(&signed, &second.to_bytes(), &rules), ref error if unbound(error));
    // A history that has some of before is read, and goes on.
    deployment.update(&second);
    assert_eq!(check(&deployment).unwrap().generations(), 2);
    let after = validate_after(&history, &deployment.objects, &rules, &Expect::complete());
    assert_eq!(after.unwrap().generations(), 2);
    let mut mended = second;
    mended.reference_values.snp[0].host_data_binding = HostDataBinding::Enforced;
    deployment.update(&mended);
    assert_eq!(check(&deployment).unwrap().generations(), 3);
    // Every other mistake is one of a history too.
    mended.coordinator_replicas = 0;
    deployment.update(&mended);
    refused!(check(&deployment), Invalid::ManifestProblems { .. });
}

#[test]
fn share_owners_and_recovery_threshold_never_change() {
    let deployment = Deployment::new();
    let history = check(&deployment).unwrap();
    let key = include_str!("../../../manifest/testdata/rsa2048.pub");
    let mut other = manifest(&[&deployment.owner], 1);
    other
        .seedshare_owner_pub_keys
        .push(SeedshareOwnerKey::from_pem(key).unwrap());
    let next = deployment.head.next(&other, other.hash(), 1_700_000_100);
    refused!(
        history.propose(next, &other.to_bytes(), &deployment.rules()),
        Invalid::Immutable {
            field: "SeedshareOwnerPubKeys"
        }
    );
}

#[test]
fn without_owners_there_are_no_updates() {
    let mut deployment = Deployment::new();
    let closed = manifest(&[], 1);
    deployment.update(&closed);
    let history = check(&deployment).unwrap();
    let next = deployment.head.next(&closed, closed.hash(), 1_700_000_200);
    refused!(
        history.propose(next, &closed.to_bytes(), &deployment.rules()),
        Invalid::NoUpdates
    );
}

#[test]
fn the_first_transition_is_for_measured_owners() {
    let deployment = Deployment::new();
    let stranger = OwnerKeyPair::generate().unwrap();
    let elsewhere: Authority = format!("1:{}", stranger.digest()).parse().unwrap();
    let rules = |genesis| Rules {
        reader: Manifest::parse,
        genesis,
    };
    let with_rules = |rules: &Rules| validate(&deployment.objects, rules, &Expect::default());
    refused!(
        with_rules(&rules(GenesisAuthority::Owners(elsewhere))),
        Invalid::NotAnOwner {
            owners: "owners measured into the Coordinator",
            ..
        }
    );
    refused!(
        with_rules(&rules(GenesisAuthority::InsecureUnbound)),
        Invalid::Unbound
    );
    let two: Authority = format!("2:{},{}", stranger.digest(), deployment.owner.digest())
        .parse()
        .unwrap();
    refused!(
        with_rules(&rules(GenesisAuthority::Owners(two))),
        Invalid::TooFewSignatures {
            found: 1,
            needed: 2
        }
    );
}

#[test]
fn an_unbound_first_set_is_said_in_the_manifest_and_in_the_history() {
    let mut deployment = Deployment::new();
    let mut open = manifest(&[&deployment.owner], 1);
    open.insecure_unbound_first_set = true;
    deployment.genesis = Transition::genesis(&open, open.hash(), 1_700_000_000);
    let confirmation = deployment.confirmation();
    deployment.confirm(confirmation);
    deployment.store(&sign(deployment.genesis, &[&deployment.owner]), &open);
    let rules = Rules {
        reader: Manifest::parse,
        genesis: GenesisAuthority::InsecureUnbound,
    };
    let history = validate(&deployment.objects, &rules, &Expect::complete()).unwrap();
    assert!(!history.is_bound());
    // The owners it lists have to want it all the same.
    deployment.store(&sign(deployment.genesis, &[]), &open);
    refused!(
        validate(&deployment.objects, &rules, &Expect::complete()),
        Invalid::TooFewSignatures { .. }
    );
}

#[test]
fn the_confirmation_is_of_this_history() {
    let mut deployment = Deployment::new();
    let mut other = deployment.confirmation();
    other.transition = TransitionHash::from_bytes([9; 32]);
    deployment.confirm(other);
    refused!(check(&deployment), Invalid::ConfirmationOther { .. });

    let mut deployment = Deployment::new();
    let mut other = deployment.confirmation();
    other.seed_shares = SeedSharesHash::of(b"others");
    deployment.confirm(other);
    refused!(
        check(&deployment),
        Invalid::Missing {
            key: ObjectKey::SeedShares(_)
        }
    );

    let mut deployment = Deployment::new();
    let unsigned = deployment.confirmation().signed(vec![]).unwrap();
    let key = ObjectKey::Confirmation(deployment.genesis.hash());
    deployment.put(key, &unsigned.encode());
    refused!(
        check(&deployment),
        Invalid::TooFewSignatures {
            found: 0,
            needed: 1
        }
    );
}

#[test]
fn latest_is_signed_by_the_confirmed_key() {
    let mut deployment = Deployment::new();
    deployment.history = OwnerKeyPair::generate().unwrap();
    deployment.point_to(deployment.head);
    refused!(check(&deployment), Invalid::LatestSignature);
}

#[test]
fn rollback_and_replacement_are_seen_by_who_has_seen_more() {
    let mut deployment = Deployment::new();
    let old = check(&deployment).unwrap();
    let first = manifest(&[&deployment.owner], 1);
    deployment.update(&with(first.clone(), "web"));
    let new = check(&deployment).unwrap();
    let seen = Expect::complete().known(deployment.head.hash());
    // The whole store is put back.
    deployment.point_to(deployment.genesis);
    refused!(
        validate(&deployment.objects, &deployment.rules(), &seen),
        Invalid::Rollback { .. }
    );
    // Another successor, signed by the same owner.
    deployment.head = deployment.genesis;
    deployment.update(&with(first, "other"));
    refused!(
        validate(&deployment.objects, &deployment.rules(), &seen),
        Invalid::Rollback { .. }
    );
    let fork = check(&deployment).unwrap();
    assert_eq!(new.relation(&fork), Relation::Fork { common: 1 });
    assert_eq!(old.relation(&new), Relation::Ahead { by: 1 });
    assert_eq!(new.relation(&old), Relation::Behind { by: 1 });
    assert_eq!(new.relation(&new), Relation::Same);
}

#[test]
fn the_coordinator_has_its_role_in_the_head() {
    let mut deployment = Deployment::new();
    deployment.update(&with(manifest(&[&deployment.owner], 1), "web"));
    for policy in [b"web".as_slice(), b"unknown"] {
        let expect = Expect::default().coordinator(PolicyHash::of(policy));
        refused!(
            validate(&deployment.objects, &deployment.rules(), &expect),
            Invalid::NotCoordinator { .. }
        );
    }
}

#[test]
fn a_loop_or_a_wrong_object_ends_the_walk() {
    let mut deployment = Deployment::new();
    let update = manifest(&[&deployment.owner], 1);
    deployment.update(&update);
    // The successor stands where its predecessor should.
    let bytes = deployment.objects[&ObjectKey::Transition(deployment.head.hash())].clone();
    deployment.put(ObjectKey::Transition(deployment.genesis.hash()), &bytes);
    refused!(check(&deployment), Invalid::Tampered { .. });

    let mut deployment = Deployment::new();
    let mut far = deployment.head.next(&update, update.hash(), 1_700_000_100);
    far.generation = u64::MAX;
    deployment.store(&sign(far, &[&deployment.owner]), &update);
    refused!(check(&deployment), Invalid::TooLong { .. });
    far.generation = 7;
    deployment.head = deployment.genesis;
    deployment.store(&sign(far, &[&deployment.owner]), &update);
    refused!(
        check(&deployment),
        Invalid::Generation {
            found: 1,
            expected: 6
        }
    );
}

#[test]
fn malformed_and_unreadable_objects_are_told_apart() {
    let mut deployment = Deployment::new();
    deployment.put(ObjectKey::Latest, b"latest");
    refused!(
        check(&deployment),
        Invalid::Format {
            key: ObjectKey::Latest,
            ..
        }
    );
    struct Broken;
    impl Objects for Broken {
        fn object(&self, _: &ObjectKey) -> Lookup<'_> {
            Err("the disk is gone".into())
        }
    }
    refused!(
        validate(&Broken, &deployment.rules(), &Expect::default()),
        Invalid::Unreadable { .. }
    );
    struct Lying;
    impl Objects for Lying {
        fn object(&self, _: &ObjectKey) -> Lookup<'_> {
            Ok(Some(Cow::Borrowed(&[])))
        }
    }
    refused!(
        validate(&Lying, &deployment.rules(), &Expect::default()),
        Invalid::Format { .. }
    );
}

/// A source that is asked for several objects at once and answers about fewer.
#[test]
fn what_a_source_leaves_out_is_missing() {
    struct Short(BTreeMap<ObjectKey, Vec<u8>>);
    impl Objects for Short {
        fn object(&self, key: &ObjectKey) -> Lookup<'_> {
            self.0.object(key)
        }
        fn objects(&self, keys: &[ObjectKey]) -> Vec<Lookup<'_>> {
            let keys = keys.split_last().map_or(&[][..], |(_, rest)| rest);
            keys.iter().map(|key| self.object(key)).collect()
        }
    }
    let deployment = Deployment::new();
    let short = Short(deployment.objects.clone());
    validate(&short, &deployment.rules(), &Expect::default()).unwrap();
    refused!(
        validate(&short, &deployment.rules(), &Expect::complete()),
        Invalid::Missing {
            key: ObjectKey::Policy(_)
        }
    );
}

#[test]
fn measured_owners_are_read_strictly() {
    let [a, b] = ["aa".repeat(32), "bb".repeat(32)];
    let read = |text: String| text.parse::<Authority>();
    let authority = read(format!("2:{b},{a}")).unwrap();
    assert_eq!(authority.threshold(), 2);
    assert_eq!(authority.to_string(), format!("2:{a},{b}"));
    for text in [String::new(), a.clone(), format!("+1:{a}"), format!(":{a}")] {
        assert_eq!(read(text.clone()), Err(OwnersError::Form), "{text}");
    }
    for text in [format!("0:{a}"), format!("3:{a},{b}")] {
        let error = read(text).unwrap_err();
        assert!(matches!(error, OwnersError::Threshold { .. }), "{error}");
    }
    for text in [format!("1:{a},"), format!("1:{}", a.to_uppercase())] {
        assert!(matches!(read(text), Err(OwnersError::Digest(_))));
    }
    let twice = read(format!("1:{a},{a}")).unwrap_err();
    assert!(matches!(twice, OwnersError::Twice { .. }));
}
