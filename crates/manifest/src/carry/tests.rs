use super::*;
use crate::bytes::LaunchMeasurement;
use crate::manifest::tests::full;

fn rendered() -> Manifest {
    let mut manifest = full();
    let entry = manifest.policies.values().next().unwrap().clone();
    let entry = PolicyEntry {
        role: None,
        ..entry
    };
    manifest.policies = [(PolicyHash::of(b"new"), entry)].into();
    manifest
}

#[test]
fn names_and_secrets_follow_the_workload_to_its_new_policy() {
    let mut new = rendered();
    let mut previous = full();
    let old = previous.policies.values_mut().next().unwrap();
    old.sans.push("203.0.113.34".to_owned());
    old.workload_secret_id = Some("legacy".to_owned());
    let edits = new.carry_from(&previous, &BTreeSet::new());
    let entry = new.policies.values().next().unwrap();
    assert_eq!(entry.sans, ["web", "*", "203.0.113.34"]);
    assert_eq!(entry.workload_secret_id.as_deref(), Some("legacy"));
    let texts: Vec<String> = edits.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "shop/Deployment/web keeps the name \"203.0.113.34\" of the previous manifest",
            "shop/Deployment/web keeps the WorkloadSecretID \"legacy\" of the previous manifest",
        ]
    );
    assert_eq!(
        edits[0].path,
        format!("Policies.{}.SANs[2]", PolicyHash::of(b"new"))
    );
    assert_eq!(
        new.carry_from(&previous, &BTreeSet::new()),
        [],
        "a second time changes nothing"
    );
}

#[test]
fn a_secret_name_given_now_stays() {
    let mut new = rendered();
    let mut previous = full();
    previous
        .policies
        .values_mut()
        .for_each(|old| old.workload_secret_id = Some("x".to_owned()));
    let settled = BTreeSet::from([PolicyHash::of(b"new")]);
    assert_eq!(new.carry_from(&previous, &settled), []);
}

#[test]
fn other_workloads_get_nothing() {
    let mut new = rendered();
    let mut previous = full();
    for old in previous.policies.values_mut() {
        old.identity = Some(Identity::new("other", "Deployment", "web"));
        old.sans.push("secret.example".to_owned());
    }
    assert_eq!(new.carry_from(&previous, &BTreeSet::new()), []);
}

#[test]
fn entries_of_the_list_form_are_found_by_their_first_name_if_that_is_clear() {
    let mut previous = full();
    for old in previous.policies.values_mut() {
        old.identity = None;
        old.workload_secret_id = None;
        old.sans = vec!["web".to_owned(), "shop.example".to_owned()];
    }
    let mut new = rendered();
    assert_eq!(new.carry_from(&previous, &BTreeSet::new()).len(), 1);

    let mut unclear = rendered();
    let twin = PolicyEntry::new(Identity::new("test", "Deployment", "web"), Vec::new());
    unclear.policies.insert(PolicyHash::of(b"twin"), twin);
    assert_eq!(unclear.carry_from(&previous, &BTreeSet::new()), []);
}

#[test]
fn reference_values_that_rendering_leaves_open_are_filled_in() {
    let mut new = rendered();
    new.reference_values.snp[0].trusted_measurement = None;
    let mut previous = full();
    let mut second = previous.reference_values.snp[0].clone();
    second.trusted_measurement = Some(LaunchMeasurement::from_bytes([8; 48]));
    previous.reference_values.snp.push(second);
    let edits = new.carry_from(&previous, &BTreeSet::new());
    assert_eq!(edits.len(), 2);
    assert_eq!(edits[1].path, "ReferenceValues.snp[1]");
    assert_eq!(new.reference_values, previous.reference_values);

    let mut known = rendered();
    previous.reference_values.snp[0].vmpl = 2;
    assert_eq!(
        known.carry_from(&previous, &BTreeSet::new()),
        [],
        "what is known now wins"
    );
}
