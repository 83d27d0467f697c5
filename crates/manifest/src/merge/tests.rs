use super::*;
use crate::manifest::tests::full;
use crate::{PolicyEntry, Role};

fn part(policy: &[u8], identity: Identity) -> Manifest {
    let mut manifest = full();
    let entry = PolicyEntry::new(identity, vec!["x".to_owned()]);
    manifest.policies = BTreeMap::from([(PolicyHash::of(policy), entry)]);
    manifest
}

fn sources<'a>(a: &'a Manifest, b: &'a Manifest) -> [MergeSource<'a>; 2] {
    [
        MergeSource {
            name: "a.json",
            manifest: a,
        },
        MergeSource {
            name: "b.json",
            manifest: b,
        },
    ]
}

#[test]
fn workloads_and_reference_values_are_united() {
    let a = part(b"a", Identity::new("n", "Pod", "a"));
    let mut b = part(b"b", Identity::new("n", "Pod", "b"));
    b.reference_values.snp[0].cpus = 7;
    let merged = merge(&sources(&a, &b)).unwrap();
    assert_eq!(merged.policies.len(), 2);
    let cpus: Vec<u32> = merged
        .reference_values
        .snp
        .iter()
        .map(|set| set.cpus)
        .collect();
    assert_eq!(cpus, [2, 7]);
    let back = merge(&sources(&b, &a)).unwrap();
    assert_eq!(
        back.to_bytes(),
        merged.to_bytes(),
        "the order does not matter"
    );
    assert_eq!(merge(&sources(&a, &a)).unwrap(), a);
    assert_eq!(merge(&[]).unwrap(), Manifest::default());
}

#[test]
fn authority_is_never_widened_by_a_merge() {
    let a = part(b"a", Identity::new("n", "Pod", "a"));
    let mut b = part(b"b", Identity::new("n", "Pod", "b"));
    b.workload_owner_key_digests
        .push(crate::KeyDigest::of_spki(b"stranger"));
    b.insecure_unbound_first_set = false;
    let conflicts = merge(&sources(&a, &b)).unwrap_err();
    let paths: Vec<&str> = conflicts
        .iter()
        .map(|conflict| conflict.path.as_str())
        .collect();
    assert_eq!(
        paths,
        ["InsecureUnboundFirstSet", "WorkloadOwnerKeyDigests"]
    );
    assert_eq!(conflicts[0].first_value, "true");
    assert_eq!(conflicts[0].second_value, "nothing");
    assert_eq!(conflicts[0].second, "b.json");
}

#[test]
fn one_workload_with_two_policies_is_a_conflict_but_two_coordinators_are_not() {
    let identity = Identity::new("n", "StatefulSet", "coordinator");
    let mut a = part(b"a", identity.clone());
    let mut b = part(b"b", identity);
    let conflicts = merge(&sources(&a, &b)).unwrap_err();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].path, "policy of n/StatefulSet/coordinator");
    assert_eq!(conflicts[0].first_value, PolicyHash::of(b"a").to_string());
    for manifest in [&mut a, &mut b] {
        manifest
            .policies
            .values_mut()
            .for_each(|entry| entry.role = Some(Role::Coordinator));
    }
    assert_eq!(merge(&sources(&a, &b)).unwrap().policies.len(), 2);
}

#[test]
fn the_same_policy_or_reference_with_other_content_is_a_conflict() {
    let a = part(b"a", Identity::new("n", "Pod", "a"));
    let mut b = a.clone();
    b.policies
        .values_mut()
        .for_each(|entry| entry.sans.push("y".to_owned()));
    b.reference_values.snp[0].vmpl = 3;
    let conflicts = merge(&sources(&a, &b)).unwrap_err();
    let paths: Vec<&str> = conflicts
        .iter()
        .map(|conflict| conflict.path.as_str())
        .collect();
    let policy = format!("Policies.{}", PolicyHash::of(b"a"));
    let reference = "reference values of metal-qemu-snp on Turin with 2 vCPUs";
    assert_eq!(paths, [policy.as_str(), reference]);
}
