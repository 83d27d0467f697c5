//! A history that grows: what it is made of, and how much of it is looked at again.

use std::collections::BTreeSet;
use std::sync::Mutex;

use nacre_history::{Expect, History, Invalid, Lookup, ObjectKey, Objects, Relation};
use nacre_history::{validate, validate_after};

use crate::support::{Deployment, manifest, with};

/// Knows what was looked up.
struct Watched<'a> {
    deployment: &'a Deployment,
    seen: Mutex<Vec<ObjectKey>>,
}

impl<'a> Watched<'a> {
    fn new(deployment: &'a Deployment) -> Self {
        Self {
            deployment,
            seen: Mutex::default(),
        }
    }

    /// Everything, and no transition twice.
    fn seen(self) -> BTreeSet<ObjectKey> {
        let seen = self.seen.into_inner().unwrap();
        let transition = |key: &&ObjectKey| matches!(key, ObjectKey::Transition(_));
        let once: BTreeSet<ObjectKey> = seen.iter().copied().collect();
        let (all, each) = (seen.iter(), once.iter());
        assert_eq!(
            all.filter(transition).count(),
            each.filter(transition).count()
        );
        once
    }
}

impl Objects for Watched<'_> {
    fn object(&self, key: &ObjectKey) -> Lookup<'_> {
        self.seen.lock().unwrap().push(*key);
        self.deployment.objects.object(key)
    }
}

fn lean() -> Expect {
    Expect::complete().lean()
}

fn whole(deployment: &Deployment) -> History {
    validate(&deployment.objects, &deployment.rules(), &lean()).unwrap()
}

fn grown(names: &[&str]) -> Deployment {
    let mut deployment = Deployment::new();
    add(&mut deployment, names);
    deployment
}

fn add(deployment: &mut Deployment, names: &[&str]) {
    for name in names {
        let next = with(manifest(&[&deployment.owner], 1), name);
        deployment.update(&next);
    }
}

#[test]
fn names_and_bytes_are_those_of_its_objects() {
    let deployment = grown(&["web", "api", "web"]);
    let watched = Watched::new(&deployment);
    let history = validate(&watched, &deployment.rules(), &lean()).unwrap();
    let names = watched.seen();
    assert_eq!(**history.objects(), names);
    // latest, confirmation, shares, four transitions, three manifests, three policies
    assert_eq!(names.len(), 13);
    let counted = names.iter().filter(|name| **name != ObjectKey::Latest);
    let bytes: usize = counted.map(|name| deployment.objects[name].len()).sum();
    assert_eq!(history.bytes(), bytes as u64);
    assert_eq!(history.generations(), 4);
    assert_eq!(history.objects().last(), Some(&ObjectKey::Latest));
}

#[test]
fn a_lean_history_keeps_two_manifests_and_knows_every_transition() {
    let deployment = grown(&["web", "api", "db"]);
    let full = validate(
        &deployment.objects,
        &deployment.rules(),
        &Expect::complete(),
    );
    let (full, lean) = (full.unwrap(), whole(&deployment));
    assert_eq!((full.entries().len(), lean.entries().len()), (4, 2));
    assert_eq!(lean.entries()[0].hash, full.entries()[0].hash);
    assert_eq!(lean.head().hash, full.head().hash);
    assert_eq!(full.relation(&lean), Relation::Same);
    assert_eq!(full.clone().lean().entries().len(), 2);
    for entry in full.entries() {
        assert!(lean.contains(&entry.hash));
    }
}

#[test]
fn behind_a_known_head_only_what_is_new_is_looked_at() {
    let mut deployment = grown(&["web", "api"]);
    let known = whole(&deployment);
    add(&mut deployment, &["db"]);
    let watched = Watched::new(&deployment);
    let next = validate_after(&known, &watched, &deployment.rules(), &lean()).unwrap();
    let all = whole(&deployment);
    assert_eq!(next.objects(), all.objects());
    assert_eq!(next.bytes(), all.bytes());
    assert_eq!(next.head().hash, all.head().hash);
    // latest, one transition, one manifest, one policy.
    assert_eq!(watched.seen().len(), 4);
    // Nothing new.
    let watched = Watched::new(&deployment);
    let same = validate_after(&next, &watched, &deployment.rules(), &lean()).unwrap();
    assert_eq!(same.relation(&next), Relation::Same);
    assert_eq!(watched.seen(), BTreeSet::from([ObjectKey::Latest]));
}

#[test]
fn what_is_new_is_checked_as_ever() {
    let mut deployment = grown(&["web"]);
    let known = whole(&deployment);
    add(&mut deployment, &["db"]);
    let after = |deployment: &Deployment| {
        validate_after(&known, &deployment.objects, &deployment.rules(), &lean())
    };
    let policy = ObjectKey::Policy(nacre_manifest::PolicyHash::of(b"db"));
    let bytes = deployment.objects.remove(&policy).unwrap();
    let missing = after(&deployment).unwrap_err();
    assert!(matches!(missing, Invalid::Missing { key } if key == policy));
    deployment.put(policy, b"other");
    let other = after(&deployment).unwrap_err();
    assert!(matches!(other, Invalid::Tampered { key } if key == policy));
    deployment.put(policy, &bytes);
    let unsigned = deployment.head.hash();
    let key = nacre_history::OwnerKeyPair::generate().unwrap();
    let message = nacre_history::Latest::message(&unsigned);
    let foreign = key.sign(&message).unwrap().signature().to_vec();
    let latest = nacre_history::Latest::new(unsigned, foreign).unwrap();
    deployment.put(ObjectKey::Latest, &latest.encode());
    let foreign = after(&deployment).unwrap_err();
    assert!(matches!(foreign, Invalid::LatestSignature));
}

#[test]
fn another_history_is_checked_whole() {
    let deployment = grown(&["web"]);
    let ahead = {
        let mut ahead = grown(&[]);
        add(&mut ahead, &["web"]);
        ahead
    };
    let known = whole(&ahead);
    let watched = Watched::new(&deployment);
    let read = validate_after(&known, &watched, &deployment.rules(), &lean()).unwrap();
    assert_eq!(known.relation(&read), Relation::Fork { common: 0 });
    assert_eq!(watched.seen(), **read.objects());
}
