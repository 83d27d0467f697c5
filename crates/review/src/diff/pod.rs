//! What rendered pods and the configuration beside them mean differently.

use std::collections::{BTreeMap, BTreeSet};

use nacre_imagelock::ImageReference;
use nacre_workload::names::{CONTRAST_PREFIX, NACRE_PREFIX};
use serde_json::Value;

use super::tree::{Leaf, Step, leaves};
use super::{Change, ChangeKind, Group, list_changes};
use crate::set::{RenderedObject, RenderedSet};

/// Confidential workloads, by identity.
pub(super) fn workloads(old: &RenderedSet, new: &RenderedSet) -> Vec<Group> {
    let (before, after) = (old.by_identity(), new.by_identity());
    let identities: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut groups = Vec::new();
    for identity in identities {
        let (kind, changes) = match (before.get(identity), after.get(identity)) {
            (None, Some(object)) => (ChangeKind::Added, images(object)),
            (Some(_), Some(object)) => {
                let old = before.get(identity).copied();
                (
                    ChangeKind::Changed,
                    old.map(|old| pods(old, object)).unwrap_or_default(),
                )
            }
            _ => (ChangeKind::Removed, Vec::new()),
        };
        groups.push(Group {
            subject: identity.to_string(),
            kind,
            changes,
        });
    }
    groups
}

/// The images of a new workload: what a reviewer asks for first.
fn images(object: &RenderedObject) -> Vec<Change> {
    let Some(spec) = object.pod_spec() else {
        return Vec::new();
    };
    let images = nacre_workload::containers::containers(spec).filter_map(|container| {
        let name = container.value.get("name")?.as_str()?;
        let image = container.value.get("image")?.as_str()?;
        Change::between(
            format!("container {name}: image"),
            None,
            Some(image.to_owned()),
        )
    });
    images.collect()
}

pub(super) fn pods(old: &RenderedObject, new: &RenderedObject) -> Vec<Change> {
    let mut changes = Vec::new();
    for leaf in leaves(old.pod_spec(), new.pod_spec()) {
        changes.extend(changes_of(&leaf));
    }
    changes.extend(annotations(old, new));
    let (was, is) = (old.policy_hash(), new.policy_hash());
    if changes.is_empty() && was != is {
        // Nothing in the pod: something it refers to, or the rules.
        let text = |hash: Option<nacre_manifest::PolicyHash>| hash.map(|hash| hash.to_string());
        changes.extend(Change::between("policy", text(was), text(is)));
    }
    changes
}

/// Our own annotations; those of others do not decide what runs, and the policy speaks through the
/// pod.
fn annotations(old: &RenderedObject, new: &RenderedObject) -> Vec<Change> {
    let (before, after) = (ours(old), ours(new));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changes = keys.into_iter().filter_map(|key| {
        let (was, is) = (before.get(key).cloned(), after.get(key).cloned());
        Change::between(format!("annotation {key}"), was, is)
    });
    changes.collect()
}

fn ours(object: &RenderedObject) -> BTreeMap<String, String> {
    let places = [object.value.get("metadata"), object.pod_metadata()];
    let annotations = places
        .into_iter()
        .flatten()
        .filter_map(|metadata| metadata.get("annotations")?.as_object())
        .flatten();
    annotations
        .filter(|(key, _)| key.starts_with(CONTRAST_PREFIX) || key.starts_with(NACRE_PREFIX))
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

/// A difference in words.
fn changes_of(leaf: &Leaf) -> Vec<Change> {
    let what = words(&leaf.path);
    let last = leaf.path.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Item(_) => None,
    });
    let item = matches!(leaf.path.last(), Some(Step::Item(_)));
    match (last, item) {
        (Some("image"), false) => image(&what, leaf),
        (Some("add" | "drop"), false) => {
            let dropping = last == Some("drop");
            let changes = list_changes(&what, &strings(&leaf.old), &strings(&leaf.new));
            let risky = if dropping {
                ChangeKind::Removed
            } else {
                ChangeKind::Added
            };
            let flagged = changes.into_iter().map(|change| {
                let widens = change.kind == risky;
                change.widening(widens)
            });
            flagged.collect()
        }
        (Some("env"), true) => {
            let value = |value: &Option<Value>| value.as_ref().map(variable);
            Change::between(what, value(&leaf.old), value(&leaf.new))
                .into_iter()
                .collect()
        }
        _ => {
            let widens = opens(last.unwrap_or_default(), item, leaf);
            let value = |value: &Option<Value>| value.as_ref().map(text);
            let change = Change::between(what, value(&leaf.old), value(&leaf.new));
            change
                .map(|change| change.widening(widens))
                .into_iter()
                .collect()
        }
    }
}

/// Whether a difference gives the pod or the host more power.
fn opens(key: &str, item: bool, leaf: &Leaf) -> bool {
    let is_true = leaf.new.as_ref() == Some(&Value::Bool(true));
    let added = leaf.old.is_none();
    match key {
        "privileged"
        | "hostNetwork"
        | "hostPID"
        | "hostIPC"
        | "shareProcessNamespace"
        | "allowPrivilegeEscalation" => is_true,
        "readOnlyRootFilesystem" | "runAsNonRoot" => !is_true,
        "runAsUser" | "runAsGroup" => leaf.new.as_ref().and_then(Value::as_u64) == Some(0),
        "runtimeClassName" | "serviceAccountName" => true,
        "volumes" | "volumeMounts" | "volumeDevices" => item && added,
        _ => false,
    }
}

/// Repository, tag and digest of an image; each as a change of its own.
fn image(what: &str, leaf: &Leaf) -> Vec<Change> {
    let parts = |value: &Option<Value>| {
        let text = value.as_ref().and_then(Value::as_str)?;
        let reference = ImageReference::parse(text).ok()?;
        let digest = reference.digest().map(ToString::to_string);
        Some((
            reference.name().to_owned(),
            reference.tag().map(str::to_owned),
            digest,
        ))
    };
    let (Some(was), Some(is)) = (parts(&leaf.old), parts(&leaf.new)) else {
        let value = |value: &Option<Value>| value.as_ref().map(text);
        return Change::between(what, value(&leaf.old), value(&leaf.new))
            .into_iter()
            .collect();
    };
    let unpinned = is.2.is_none();
    let parts = [
        (what.to_owned(), Some(was.0), Some(is.0)),
        (format!("{what} tag"), was.1, is.1),
        (format!("{what} digest"), was.2, is.2),
    ];
    let changes = parts
        .into_iter()
        .filter_map(|(what, was, is)| Change::between(what, was, is));
    changes.map(|change| change.widening(unpinned)).collect()
}

/// `container web: env LOG_LEVEL`.
fn words(path: &[Step]) -> String {
    let mut steps = path.iter();
    let mut text = String::new();
    let mut rest: Vec<String> = Vec::new();
    if let (Some(Step::Key(list)), Some(Step::Item(name))) = (path.first(), path.get(1)) {
        let noun = match list.as_str() {
            "containers" => Some("container"),
            "initContainers" if name == "order" => None,
            "initContainers" => Some("init container"),
            "ephemeralContainers" => Some("ephemeral container"),
            "volumes" => Some("volume"),
            _ => None,
        };
        if let Some(noun) = noun {
            text = format!("{noun} {name}");
            steps = path.get(2..).unwrap_or_default().iter();
        }
    }
    for step in steps {
        match step {
            Step::Key(key) => rest.push(key.clone()),
            Step::Item(name) => {
                let list = rest.pop().unwrap_or_default();
                rest.push(format!("{list} {name}"));
            }
        }
    }
    let rest = rest.join(".");
    match (text.is_empty(), rest.is_empty()) {
        (true, _) => rest,
        (false, true) => text,
        (false, false) => format!("{text}: {rest}"),
    }
}

/// The value of a variable, or where it comes from.
fn variable(value: &Value) -> String {
    match (value.get("value"), value.get("valueFrom")) {
        (Some(value), _) => text(value),
        (None, Some(source)) => format!("from {source}"),
        (None, None) => String::new(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn strings(value: &Option<Value>) -> Vec<String> {
    let items = value
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items.map(text).collect()
}

/// ConfigMaps, whose values a policy may pin, and Secrets, of which names of keys are compared only.
pub(super) fn configuration(old: &RenderedSet, new: &RenderedSet) -> Vec<Group> {
    let (before, after) = (entries(old), entries(new));
    let subjects: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut groups = Vec::new();
    for subject in subjects {
        let none = BTreeMap::new();
        let was = before.get(subject).unwrap_or(&none);
        let is = after.get(subject).unwrap_or(&none);
        let kind = match (before.contains_key(subject), after.contains_key(subject)) {
            (false, _) => ChangeKind::Added,
            (_, false) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        let keys: BTreeSet<_> = was.keys().chain(is.keys()).collect();
        let changes = keys.into_iter().filter_map(|key| {
            let value = |entries: &BTreeMap<String, String>| entries.get(key).cloned();
            Change::between(format!("key {key}"), value(was), value(is))
        });
        let changes = if kind == ChangeKind::Changed {
            changes.collect()
        } else {
            Vec::new()
        };
        groups.push(Group {
            subject: subject.clone(),
            kind,
            changes,
        });
    }
    groups
}

fn entries(set: &RenderedSet) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut objects: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for object in &set.objects {
        let secret = match (
            object.resource.api_version.as_str(),
            object.resource.kind.as_str(),
        ) {
            ("v1", "ConfigMap") if !crate::manifest::is_carrier(object) => false,
            ("v1", "Secret") => true,
            _ => continue,
        };
        let fields = ["data", "binaryData", "stringData"];
        let data = fields
            .iter()
            .filter_map(|field| object.value.get(field)?.as_object());
        let entries = data.flatten().map(|(key, value)| {
            let value = if secret {
                "present".to_owned()
            } else {
                text(value)
            };
            (key.clone(), value)
        });
        objects.insert(object.identity().to_string(), entries.collect());
    }
    objects
}
