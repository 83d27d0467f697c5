//! Who started a history: from where that is known, and what follows when it is not.

use nacre_client::examine::AcceptPolicies;
use nacre_client::genesis::MeasuredOwners;
use nacre_client::pin::Pin;
use nacre_client::verdict::Outcome;
use nacre_findings::codes::{client, history};
use nacre_history::OwnerKeyPair;
use nacre_manifest::PolicyHash;

use crate::answers::{refused, row};
use crate::world::{NONCE, World, web};

/// A Coordinator of before or after this program's time: its policy cannot be read, so what is measured into it has
/// to come from somebody who has read it.
#[test]
fn owners_of_a_coordinator_with_foreign_rules_come_from_a_named_source_only() {
    let world = World::with_foreign_rules();
    let snapshot = world.snapshot(NONCE);
    let accept = AcceptPolicies::These([world.coordinator].into());
    let other = AcceptPolicies::These([PolicyHash::of(&web("/web"))].into());
    let owners: MeasuredOwners = format!("1:{}", world.owner.digest()).parse().unwrap();
    let stranger = OwnerKeyPair::generate().unwrap().digest();
    let strangers: MeasuredOwners = format!("1:{stranger}").parse().unwrap();
    let unbound: MeasuredOwners = "unbound".parse().unwrap();
    let ask = |accept, owners, pin| world.examine_accepting(&snapshot, pin, accept, owners);
    let none = AcceptPolicies::None;
    // Neither alone is enough, and what is named has to fit the signatures.
    for (accept, owners, name, code) in [
        (&none, None, "instance", client::RULES_UNKNOWN),
        (&none, Some(&owners), "instance", client::RULES_UNKNOWN),
        (&other, Some(&owners), "instance", client::RULES_UNKNOWN),
        (&accept, None, "instance", client::RULES_UNKNOWN),
        (&accept, Some(&strangers), "history", history::NOT_AN_OWNER),
        (
            &accept,
            Some(&unbound),
            "history",
            history::FIRST_SET_UNBOUND,
        ),
    ] {
        let examination = ask(accept, owners, None);
        refused(&examination, name, code);
        let help = row(&examination, name).help.as_deref();
        assert!(name == "history" || help.is_some_and(|help| help.contains("--owners")));
    }
    let named = ask(&accept, Some(&owners), None);
    assert!(named.rows.hold(false), "{}", named.rows.table(false));
    let instance = row(&named, "instance");
    assert_eq!(instance.outcome, Outcome::Note);
    assert!(
        instance.text.contains("named by --owners"),
        "{}",
        instance.text
    );
    // Later runs have it from the pin; a pin of a run that did not know does not help.
    let pin = named.pin.unwrap();
    let pin = Pin::parse(&pin.to_bytes()).unwrap();
    assert_eq!(pin.owners, Some(owners.clone()));
    let pinned = ask(&accept, None, Some(&pin));
    assert!(pinned.rows.hold(false), "{}", pinned.rows.table(false));
    assert!(row(&pinned, "instance").text.contains("of earlier runs"));
    refused(
        &ask(&none, None, Some(&pin)),
        "instance",
        client::RULES_UNKNOWN,
    );
    let mut silent = pin.clone();
    silent.owners = None;
    refused(
        &ask(&accept, None, Some(&silent)),
        "instance",
        client::RULES_UNKNOWN,
    );
}

#[test]
fn owners_that_can_be_read_are_believed_before_those_that_are_named() {
    let world = World::new();
    let snapshot = world.snapshot(NONCE);
    let owners = |key| -> MeasuredOwners { format!("1:{key}").parse().unwrap() };
    let (own, other) = (
        owners(world.owner.digest()),
        owners(OwnerKeyPair::generate().unwrap().digest()),
    );
    let ask = |named| world.examine_accepting(&snapshot, None, &AcceptPolicies::All, Some(named));
    assert_eq!(row(&ask(&own), "instance").outcome, Outcome::Pass);
    refused(&ask(&other), "instance", client::RULES_UNKNOWN);
}

#[test]
fn a_coordinator_without_owners_is_not_authenticated_and_every_verdict_says_so() {
    let unbound = World::with(false, |manifest| manifest.insecure_unbound_first_set = true);
    let examination = unbound.examine(&unbound.snapshot(NONCE), None);
    let instance = row(&examination, "instance");
    assert_eq!(
        (instance.outcome, instance.code),
        (Outcome::Warn, Some(client::UNAUTHENTICATED))
    );
    assert!(
        instance
            .text
            .starts_with("Coordinator instance not authenticated")
    );
    assert!(!examination.rows.hold(true));
    // Without the manifest saying that this is meant, it is no history at all.
    let silent = World::with(false, |_| {});
    let examination = silent.examine(&silent.snapshot(NONCE), None);
    refused(&examination, "history", history::FIRST_SET_UNBOUND);
}
