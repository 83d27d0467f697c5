//! One change to a good answer, and the row that refuses it.

use nacre_attest::Product;
use nacre_client::bundle::Bundle;
use nacre_client::examine::{AcceptPolicies, Examination, Question};
use nacre_client::verdict::{Outcome, Row};
use nacre_findings::Code;
use nacre_findings::codes::{attest, client, history};
use nacre_history::OwnerKeyPair;
use nacre_manifest::{HostDataBinding, Manifest, PolicyHash};
use nacre_pki::{Authority, P384Key, Salt, Seed};
use serde_json::json;

use crate::world::{NONCE, World, add_web, guest, packed, policy, web};

pub(crate) fn row<'a>(examination: &'a Examination, name: &str) -> &'a Row {
    let row = examination.rows.get(name);
    row.unwrap_or_else(|| panic!("no row {name}:\n{}", examination.rows.table(false)))
}

/// The only row that fails, and with this code.
pub(crate) fn refused(examination: &Examination, name: &str, code: Code) {
    let failed: Vec<_> = examination
        .rows
        .iter()
        .filter(|row| row.outcome == Outcome::Fail)
        .map(|row| (row.name, row.code))
        .collect();
    let table = examination.rows.table(false);
    assert_eq!(failed, [(name, Some(code))], "{table}");
    assert!(
        examination.pin.is_none(),
        "nothing is remembered of an answer that does not hold"
    );
}

fn updated() -> World {
    let mut world = World::new();
    let mut manifest = world.manifest();
    manifest.policies.remove(&PolicyHash::of(&web("/web")));
    add_web(&mut manifest, "/web2");
    manifest.coordinator_replicas = 2;
    world.add(&manifest, &[web("/web2")]);
    world
}

#[test]
fn a_good_answer_holds_and_is_remembered() {
    let world = World::new();
    let examination = world.examine(&world.snapshot(NONCE), None);
    let table = examination.rows.table(false);
    assert!(examination.rows.hold(false), "{table}");
    for name in [
        "evidence", "history", "instance", "state", "manifest", "pin", "entries", "policies",
    ] {
        assert_eq!(row(&examination, name).outcome, Outcome::Pass, "{table}");
    }
    let attestation = examination.attestation.as_ref().unwrap();
    assert!(attestation.holds());
    let pin = examination.pin.unwrap();
    assert_eq!(pin.head.transition(), &world.transitions[0]);
    assert_eq!(pin.accepted, Some(world.transitions[0].hash()));
    assert_eq!(pin.manifest.as_bytes(), world.manifests[0]);
    assert!(pin.revocation_lists.0.of(Product::Genoa).is_some());
    let again = world.examine(&world.snapshot(NONCE), Some(&pin));
    assert!(again.rows.hold(false));
    // The only warning is that the platform is a simulated one.
    let warnings = again.rows.iter().filter(|row| row.outcome == Outcome::Warn);
    assert_eq!(
        warnings.map(|row| row.name).collect::<Vec<_>>(),
        ["root-of-trust"]
    );
}

#[test]
fn the_history_is_told_as_meaning() {
    let world = updated();
    let examination = world.examine(&world.snapshot(NONCE), None);
    assert!(
        examination.rows.hold(false),
        "{}",
        examination.rows.table(false)
    );
    let [first, second] = examination.steps.as_slice() else {
        panic!("{:?}", examination.steps)
    };
    assert!(first.changes.is_empty() && !first.accepted);
    assert_eq!(second.signers, [world.owner.digest()]);
    assert!(
        second.changes.text().contains("CoordinatorReplicas: 1 → 2"),
        "{}",
        second.changes.text()
    );
    assert_eq!(
        second.policies["shop/Deployment/web"],
        ["container web: args: [\"/web\"] → [\"/web2\"]"]
    );
}

#[test]
fn entries_nobody_accepted_are_named_until_somebody_does() {
    let world = updated();
    let snapshot = world.snapshot(NONCE);
    let first = world.examine(&snapshot, None);
    let entries = row(&first, "entries");
    assert_eq!(
        (entries.outcome, entries.code),
        (Outcome::Warn, Some(client::HISTORY_NOT_ACCEPTED))
    );
    assert!(!first.rows.hold(true));
    let pin = first.pin.clone().unwrap();
    assert_eq!(pin.accepted, None);
    let accepting = |question: &mut Question<'_>| question.accept_history = true;
    let accepted = world.examine_with(&snapshot, Some(&pin), accepting);
    let pin = accepted.pin.unwrap();
    assert_eq!(pin.accepted, Some(world.transitions[1].hash()));
    let later = world.examine(&snapshot, Some(&pin));
    assert_eq!(row(&later, "entries").outcome, Outcome::Pass);
    assert!(later.steps.iter().all(|step| step.accepted));
}

#[test]
fn evidence_for_another_question_or_another_state_is_refused() {
    let world = World::new();
    let mut replayed = world.snapshot([1; 32]);
    replayed.nonce = NONCE;
    refused(
        &world.examine(&replayed, None),
        "evidence",
        client::STATE_NOT_PROVEN,
    );
    let changes: [fn(&mut nacre_client::snapshot::Head); 4] = [
        |head| head.transition[0] ^= 1,
        |head| head.manifest[0] ^= 1,
        |head| head.root_spki[40] ^= 1,
        |head| head.mesh_ca.push(0),
    ];
    for change in changes {
        let mut snapshot = world.snapshot(NONCE);
        change(&mut snapshot.head);
        refused(
            &world.examine(&snapshot, None),
            "evidence",
            client::STATE_NOT_PROVEN,
        );
    }
}

#[test]
fn a_head_that_is_not_the_historys_is_refused() {
    let world = updated();
    let mut snapshot = world.snapshot(NONCE);
    snapshot.head.transition = *world.transitions[0].hash().as_bytes();
    world.attest(&mut snapshot);
    refused(
        &world.examine(&snapshot, None),
        "state",
        client::STATE_NOT_PROVEN,
    );
}

#[test]
fn another_guest_is_refused() {
    let mut world = World::new();
    world.guest = guest(PolicyHash::of(&web("/web")));
    refused(
        &world.examine(&world.snapshot(NONCE), None),
        "evidence",
        attest::HOST_DATA,
    );
    let mut garbage = World::new().snapshot(NONCE);
    garbage.head.evidence.truncate(100);
    refused(
        &world.examine(&garbage, None),
        "evidence",
        client::NOT_ATTESTED,
    );
}

#[test]
fn an_older_history_than_was_seen_is_refused() {
    let world = updated();
    let pin = world.examine(&world.snapshot(NONCE), None).pin.unwrap();
    // The whole store set back: every signature in it holds.
    let mut back = world;
    back.transitions.truncate(1);
    back.manifests.truncate(1);
    let head = back.transitions[0].hash();
    back.sign_latest(head);
    let examination = back.examine(&back.snapshot(NONCE), Some(&pin));
    refused(&examination, "pin", client::ROLLED_BACK);
}

/// What a bundle holds was so once: before what was seen is no rollback, beside it is a fork.
#[test]
fn a_bundle_of_before_is_a_note_and_a_fork_in_it_a_failure() {
    let mut world = World::new();
    let past = |question: &mut Question<'_>| question.past = true;
    let early = world.snapshot(NONCE);
    let manifests = world.manifests.clone();
    let first = (world.transitions.clone(), world.objects.clone());
    for replicas in [2, 3] {
        let mut next = world.manifest();
        next.coordinator_replicas = replicas;
        world.add(&next, &[]);
    }
    let accepting = |question: &mut Question<'_>| question.accept_history = true;
    let seen = world.examine_with(&world.snapshot(NONCE), None, accepting);
    let pin = seen.pin.unwrap();
    world.manifests = manifests;
    let then = world.examine_with(&early, Some(&pin), past);
    assert!(then.rows.hold(false), "{}", then.rows.table(false));
    let note = row(&then, "pin");
    let expected = (Outcome::Note, Some(client::ROLLED_BACK));
    assert_eq!((note.outcome, note.code), expected, "{}", note.text);
    assert!(note.text.contains("generation 1") && note.text.contains("generation 3"));
    assert_eq!(row(&then, "entries").outcome, Outcome::Pass);
    // A Coordinator that answers so has been set back.
    refused(
        &world.examine(&early, Some(&pin)),
        "pin",
        client::ROLLED_BACK,
    );
    // Shorter than what was seen, and another way.
    (world.transitions, world.objects) = first;
    let mut other = world.manifest();
    other.coordinator_replicas = 4;
    world.add(&other, &[]);
    let fork = world.examine_with(&world.snapshot(NONCE), Some(&pin), past);
    refused(&fork, "pin", client::FORKED);
}

#[test]
fn a_split_history_is_refused() {
    let mut world = World::new();
    let (first, objects) = (world.transitions.clone(), world.objects.clone());
    let mut one = world.manifest();
    one.coordinator_replicas = 2;
    world.add(&one, &[]);
    let pin = world.examine(&world.snapshot(NONCE), None).pin.unwrap();
    (world.transitions, world.objects) = (first, objects);
    let mut other = world.manifest();
    other.coordinator_replicas = 3;
    world.add(&other, &[]);
    let examination = world.examine(&world.snapshot(NONCE), Some(&pin));
    refused(&examination, "pin", client::FORKED);
}

#[test]
fn replicas_that_went_apart_are_told_from_those_that_lag() {
    use nacre_client::examine::replicas::compare;
    let mut world = World::new();
    let first = world.examine(&world.snapshot(NONCE), None);
    let (transitions, objects) = (world.transitions.clone(), world.objects.clone());
    let mut one = world.manifest();
    one.coordinator_replicas = 2;
    world.add(&one, &[]);
    let ahead = world.examine(&world.snapshot(NONCE), None);
    (world.transitions, world.objects) = (transitions, objects);
    one.coordinator_replicas = 3;
    world.add(&one, &[]);
    let apart = world.examine(&world.snapshot(NONCE), None);
    let history = ahead.history.as_ref().unwrap();
    for (other, outcome, code) in [
        (&ahead, Outcome::Pass, None),
        (&first, Outcome::Warn, Some(client::UNCONFIRMED)),
        (&apart, Outcome::Fail, Some(client::FORKED)),
    ] {
        let row = compare(history, "b:1313", other);
        assert_eq!((row.outcome, row.code), (outcome, code), "{}", row.text);
    }
    let foreign = World::new();
    let mut answer = foreign.snapshot(NONCE);
    answer.head.transition[0] ^= 1;
    let refused = compare(history, "b:1313", &foreign.examine(&answer, None));
    assert_eq!(
        (refused.outcome, refused.code),
        (Outcome::Fail, Some(client::STATE_NOT_PROVEN))
    );
}

#[test]
fn another_deployment_under_the_same_software_is_refused() {
    let world = World::new();
    let pin = world.examine(&world.snapshot(NONCE), None).pin.unwrap();
    let other = World::new();
    let examination = other.examine(&other.snapshot(NONCE), Some(&pin));
    refused(&examination, "pin", client::ROOT_CHANGED);
}

#[test]
fn a_seed_of_somebody_else_is_refused() {
    // A Coordinator recovered with a foreign seed: other root CA than the owners confirmed.
    let mut world = World::new();
    let (seed, salt) = (Seed::generate().unwrap(), Salt::generate().unwrap());
    let root = seed.root_ca_key(&salt).unwrap();
    world.authority = Authority::new(&root, P384Key::generate().unwrap(), 1).unwrap();
    let examination = world.examine(&world.snapshot(NONCE), None);
    refused(&examination, "state", history::FOREIGN_SEED);
    let mut world = World::new();
    let head = world.transitions[0].hash();
    (world.seed, world.salt) = (seed, salt);
    world.sign_latest(head);
    let examination = world.examine(&world.snapshot(NONCE), None);
    refused(&examination, "history", history::LATEST_SIGNATURE);
}

#[test]
fn every_object_that_is_changed_or_missing_is_refused() {
    let world = updated();
    let whole = world.snapshot(NONCE);
    for key in whole.objects.keys() {
        let mut changed = whole.clone();
        let bytes = changed.objects.get_mut(key).unwrap();
        let at = bytes.len() - 2;
        bytes[at] ^= 1;
        let examination = world.examine(&changed, None);
        assert!(!examination.rows.hold(false), "{key} changed");
        let mut missing = whole.clone();
        missing.objects.remove(key);
        let examination = world.examine(&missing, None);
        assert!(!examination.rows.hold(false), "{key} missing");
    }
}

#[test]
fn an_update_by_somebody_who_is_no_owner_is_refused() {
    let mut world = World::new();
    let mut manifest = world.manifest();
    manifest.coordinator_replicas = 2;
    world.add_signed(&manifest, &[], &OwnerKeyPair::generate().unwrap());
    let examination = world.examine(&world.snapshot(NONCE), None);
    refused(&examination, "history", history::NOT_AN_OWNER);
}

#[test]
fn certificates_that_do_not_belong_together_are_refused() {
    let world = World::new();
    let other = World::new();
    let refusals: [fn(&mut nacre_client::snapshot::Head, &World); 4] = [
        |head, other| head.root_ca = other.authority.root_pem(),
        |head, other| {
            head.intermediate_ca = nacre_pki::pem("CERTIFICATE", other.authority.intermediate())
        },
        |head, other| head.mesh_ca = other.authority.mesh_ca().to_vec(),
        |head, _| head.root_ca = format!("{}{}", head.root_ca, head.intermediate_ca),
    ];
    for change in refusals {
        let mut snapshot = world.snapshot(NONCE);
        change(&mut snapshot.head, &other);
        world.attest(&mut snapshot);
        refused(
            &world.examine(&snapshot, None),
            "state",
            client::CERTIFICATES,
        );
    }
}

#[test]
fn another_manifest_in_force_shows_what_it_means() {
    let world = updated();
    let snapshot = world.snapshot(NONCE);
    let examination = world.examine_as(&snapshot, &world.manifests[0]);
    refused(&examination, "manifest", client::MANIFEST_DIFFERS);
    let help = row(&examination, "manifest").help.as_ref().unwrap();
    assert!(help.contains("generation 1"), "{help}");
    let mut other = world.manifest();
    other.peer_recovery = true;
    let examination = world.examine_as(&snapshot, &other.to_bytes());
    let help = row(&examination, "manifest").help.as_ref().unwrap();
    assert!(help.contains("never in force"), "{help}");
    let difference = examination.difference.unwrap().text();
    assert!(
        difference.contains("PeerRecovery: true → false"),
        "{difference}"
    );
}

#[test]
fn policies_with_unknown_rules_are_refused_until_accepted() {
    let strange = packed("package agent_policy\n\ndefault AllowRequestsFailingPolicy := true\n");
    let hash = PolicyHash::of(&strange);
    let mut world = World::before_set(true);
    let mut manifest = world.manifest();
    let entry = manifest
        .policies
        .remove(&PolicyHash::of(&web("/web")))
        .unwrap();
    manifest.policies.insert(hash, entry);
    world.add(&manifest, &[strange]);
    let snapshot = world.snapshot(NONCE);
    refused(
        &world.examine(&snapshot, None),
        "policies",
        client::RULES_UNKNOWN,
    );
    for (accept, holds) in [
        (AcceptPolicies::These([hash].into()), true),
        (AcceptPolicies::These([world.coordinator].into()), false),
        (AcceptPolicies::All, true),
    ] {
        // The question borrows, so each case asks anew.
        let bytes = world.manifests.last().unwrap();
        let manifest = nacre_manifest::danger::parse_simulated(bytes).unwrap();
        let question = Question {
            trust: &world.trust,
            reference: &manifest,
            active: None,
            pin: None,
            now: nacre_attest::Timestamp::now(),
            claimed: false,
            past: false,
            accept_policies: &accept,
            owners: None,
            require_chips: false,
            accept_history: true,
        };
        let examination = nacre_client::examine::examine(&snapshot, &question);
        assert_eq!(examination.rows.hold(false), holds, "{accept:?}");
    }
}

#[test]
fn a_policy_weaker_than_its_entry_is_refused() {
    for (open, profile) in [("logs", "logs"), ("stdin", "debug"), ("debug", "debug")] {
        let weaker = policy(&json!({"web": {open: true}}));
        let mut world = World::before_set(true);
        let mut manifest = world.manifest();
        let entry = manifest
            .policies
            .remove(&PolicyHash::of(&web("/web")))
            .unwrap();
        manifest.policies.insert(PolicyHash::of(&weaker), entry);
        world.add(&manifest, &[weaker]);
        let examination = world.examine(&world.snapshot(NONCE), None);
        refused(&examination, "policies", client::PROFILE_DIFFERS);
        let mut workloads = examination.workloads.iter();
        assert!(workloads.any(|workload| workload.profile == Some(profile)));
    }
}

#[test]
fn what_weakens_is_a_row() {
    let expect = |change: fn(&mut Manifest), rows: &[(&str, Code)]| {
        let world = World::with(true, change);
        let examination = world.examine(&world.snapshot(NONCE), None);
        let table = examination.rows.table(false);
        assert!(examination.rows.hold(false), "{table}");
        for (name, code) in rows {
            let row = row(&examination, name);
            let found = (row.outcome, row.code);
            assert_eq!(found, (Outcome::Warn, Some(*code)), "{name}");
        }
    };
    // A Coordinator whose guest enforces nothing gets no seed from another one, so these are two.
    expect(
        |manifest| manifest.reference_values.snp[0].host_data_binding = HostDataBinding::None,
        &[("host-data-binding", client::HOST_DATA_UNBOUND)],
    );
    expect(
        |manifest| {
            manifest.peer_recovery = true;
            manifest.allow_any_chip = true;
            manifest.allow_unattested_coordinator = true;
        },
        &[
            ("peer-recovery", client::WEAKENING),
            ("switches", client::WEAKENING),
            ("root-of-trust", client::SIMULATED),
        ],
    );
}

#[test]
fn a_bundle_verifies_again_from_its_file() {
    let world = updated();
    let bundle = Bundle {
        claimed: nacre_attest::Timestamp::now(),
        coordinator: "coordinator:1313".into(),
        snapshot: world.snapshot(NONCE),
    };
    let read = Bundle::parse(&bundle.to_bytes()).unwrap();
    let as_of = |question: &mut Question<'_>| question.claimed = true;
    let examination = world.examine_with(&read.snapshot, None, as_of);
    assert!(
        examination.rows.hold(false),
        "{}",
        examination.rows.table(false)
    );
    assert!(row(&examination, "time").text.contains("nobody vouches"));
    // Another time than the one at which its certificates were good.
    let late = |question: &mut Question<'_>| question.now.0 += 40 * 365 * 86_400;
    assert!(
        !world
            .examine_with(&read.snapshot, None, late)
            .rows
            .hold(false)
    );
}
