//! What manifests say differently.

use std::collections::BTreeMap;

use nacre_manifest::{
    HostDataBinding, Identity, Manifest, PolicyEntry, PolicyHash, SnpReference, Tcb,
};
use serde_json::Value;

use super::{Change, ChangeKind, Group, list_changes};

/// Owners, thresholds, switches and reference values.
pub(super) fn groups(old: &Manifest, new: &Manifest) -> Vec<Group> {
    let mut groups = vec![Group {
        subject: "deployment".to_owned(),
        kind: ChangeKind::Changed,
        changes: settings(old, new),
    }];
    groups.extend(references(old, new));
    groups
}

fn settings(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let mut changes = Vec::new();
    let text = |what: &str, old: String, new: String, widens: bool| {
        Change::between(what, Some(old), Some(new)).map(|change| change.widening(widens))
    };
    changes.extend(text(
        "TrustDomain",
        old.trust_domain.to_string(),
        new.trust_domain.to_string(),
        false,
    ));
    let strings = |keys: Vec<String>| keys;
    let owners = |manifest: &Manifest| {
        strings(
            manifest
                .workload_owner_key_digests
                .iter()
                .map(ToString::to_string)
                .collect(),
        )
    };
    let shares = |manifest: &Manifest| {
        let short = |key: &nacre_manifest::SeedshareOwnerKey| {
            let digest = nacre_manifest::KeyDigest::of_spki(key.as_der());
            format!("RSA {} bits, SHA-256 of PKCS#1 {digest}", key.bits())
        };
        strings(
            manifest
                .seedshare_owner_pub_keys
                .iter()
                .map(short)
                .collect(),
        )
    };
    changes.extend(added_widens(list_changes(
        "workload owner",
        &owners(old),
        &owners(new),
    )));
    changes.extend(
        list_changes("seed-share owner", &shares(old), &shares(new))
            .into_iter()
            .map(|change| change.widening(true)),
    );
    let numbers = [
        (
            "UpdateThreshold",
            old.update_threshold,
            new.update_threshold,
        ),
        (
            "RecoveryThreshold",
            old.recovery_threshold,
            new.recovery_threshold,
        ),
        (
            "CoordinatorReplicas",
            old.coordinator_replicas,
            new.coordinator_replicas,
        ),
    ];
    for (what, old, new) in numbers {
        changes.extend(text(what, old.to_string(), new.to_string(), new < old));
    }
    let switches = [
        ("PeerRecovery", old.peer_recovery, new.peer_recovery),
        ("AllowAnyChip", old.allow_any_chip, new.allow_any_chip),
        ("CAOverlap", old.ca_overlap, new.ca_overlap),
        (
            "AllowUnattestedCoordinator",
            old.allow_unattested_coordinator,
            new.allow_unattested_coordinator,
        ),
        (
            "InsecureUnboundFirstSet",
            old.insecure_unbound_first_set,
            new.insecure_unbound_first_set,
        ),
    ];
    for (what, old, new) in switches {
        changes.extend(text(what, old.to_string(), new.to_string(), new));
    }
    let root = |manifest: &Manifest| manifest.test_root.map(|root| root.to_string());
    changes.extend(
        Change::between("TestRoot", root(old), root(new)).map(|change| change.widening(true)),
    );
    changes
}

fn added_widens(changes: Vec<Change>) -> impl Iterator<Item = Change> {
    changes.into_iter().map(|change| {
        let widens = change.kind == ChangeKind::Added;
        change.widening(widens)
    })
}

/// Reference values are compared set by set where both have one set for platform, product and size,
/// and as lists of measurements otherwise.
fn references(old: &Manifest, new: &Manifest) -> Vec<Group> {
    let by_key = |manifest: &Manifest| {
        let mut sets: BTreeMap<String, Vec<SnpReference>> = BTreeMap::new();
        for set in &manifest.reference_values.snp {
            let (platform, product, cpus) = set.key();
            let key = format!("reference values of {platform} on {product} with {cpus} vCPUs");
            sets.entry(key).or_default().push(set.clone());
        }
        sets
    };
    let (before, after) = (by_key(old), by_key(new));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let mut groups = Vec::new();
    for key in keys {
        let none = Vec::new();
        let before = before.get(key).unwrap_or(&none);
        let after = after.get(key).unwrap_or(&none);
        let (kind, changes) = match (before.as_slice(), after.as_slice()) {
            ([], sets) => (
                ChangeKind::Added,
                sets.iter().filter_map(measurement).collect(),
            ),
            (_, []) => (ChangeKind::Removed, Vec::new()),
            ([one], [other]) => (ChangeKind::Changed, set_changes(one, other)),
            (before, after) => {
                let describe = |sets: &[SnpReference]| -> Vec<String> {
                    sets.iter().map(|set| json(set).to_string()).collect()
                };
                let changes = list_changes("set", &describe(before), &describe(after));
                (ChangeKind::Changed, added_widens(changes).collect())
            }
        };
        groups.push(Group {
            subject: key.clone(),
            kind,
            changes,
        });
    }
    groups
}

fn measurement(set: &SnpReference) -> Option<Change> {
    let measurement = set
        .trusted_measurement
        .map(|measurement| measurement.to_string());
    Change::between("TrustedMeasurement", None, measurement).map(|change| change.widening(true))
}

fn set_changes(old: &SnpReference, new: &SnpReference) -> Vec<Change> {
    let mut changes = Vec::new();
    let (Value::Object(before), Value::Object(after)) = (json(old), json(new)) else {
        return changes;
    };
    let mut fields: Vec<&String> = before.keys().chain(after.keys()).collect();
    fields.sort();
    fields.dedup();
    for field in fields {
        let (was, is) = (before.get(field), after.get(field));
        match field.as_str() {
            "MinimumTCB" => changes.extend(tcb_changes(&old.minimum_tcb, &new.minimum_tcb)),
            "AllowedChipIDs" | "IDKeyDigests" | "AuthorKeyDigests" => {
                let (was, is) = (strings(was), strings(is));
                // An empty list accepts everything.
                let opens = is.is_empty() && !was.is_empty();
                let list = list_changes(field, &was, &is);
                changes.extend(list.into_iter().map(|change| {
                    let widens = opens || (change.kind == ChangeKind::Added && !was.is_empty());
                    change.widening(widens)
                }));
            }
            _ => {
                let widens = match field.as_str() {
                    "HostDataBinding" => new.host_data_binding == HostDataBinding::None,
                    "TrustedMeasurement" | "GuestPolicy" | "PlatformInfo" | "SigningKey"
                    | "VMPL" | "MinimumTCBByModel" => true,
                    "MinimumMitigationVector" => {
                        new.minimum_mitigation_vector < old.minimum_mitigation_vector
                    }
                    "RequireCommittedTCB" => !new.require_committed_tcb,
                    "StrictPlatformInfo" => !new.strict_platform_info,
                    _ => false,
                };
                let change = Change::between(field, was.map(plain), is.map(plain));
                changes.extend(change.map(|change| change.widening(widens)));
            }
        }
    }
    changes
}

fn tcb_changes(old: &Tcb, new: &Tcb) -> Vec<Change> {
    let components = [
        ("FMCVersion", old.fmc, new.fmc),
        ("BootloaderVersion", old.bootloader, new.bootloader),
        ("TEEVersion", old.tee, new.tee),
        ("SNPVersion", old.snp, new.snp),
        ("MicrocodeVersion", old.microcode, new.microcode),
    ];
    let changes = components.into_iter().filter_map(|(field, was, is)| {
        let number = |value: Option<u8>| value.map(|value| value.to_string());
        let change = Change::between(format!("MinimumTCB.{field}"), number(was), number(is))?;
        Some(change.widening(is < was))
    });
    changes.collect()
}

/// What the entries of policies say differently, by workload.
pub(super) fn policies(old: &Manifest, new: &Manifest) -> Vec<Group> {
    let (before, after) = (by_subject(old), by_subject(new));
    let mut subjects: Vec<&String> = before.keys().chain(after.keys()).collect();
    subjects.sort();
    subjects.dedup();
    let mut groups = Vec::new();
    for subject in subjects {
        let none = Vec::new();
        let before = before.get(subject).unwrap_or(&none);
        let after = after.get(subject).unwrap_or(&none);
        let (kind, changes) = match (before.as_slice(), after.as_slice()) {
            ([], entries) => (
                ChangeKind::Added,
                entries.iter().flat_map(summary).collect(),
            ),
            (_, []) => (ChangeKind::Removed, Vec::new()),
            ([one], [other]) => (ChangeKind::Changed, entry_changes(*one, *other)),
            (before, after) => {
                let hashes = |entries: &[Entry<'_>]| -> Vec<String> {
                    entries.iter().map(|(hash, _)| hash.to_string()).collect()
                };
                let mut changes: Vec<Change> =
                    added_widens(list_changes("policy", &hashes(before), &hashes(after))).collect();
                for one in before {
                    let same = after.iter().find(|other| other.0 == one.0);
                    changes.extend(
                        same.into_iter()
                            .flat_map(|other| entry_changes(*one, *other)),
                    );
                }
                (ChangeKind::Changed, changes)
            }
        };
        groups.push(Group {
            subject: subject.clone(),
            kind,
            changes,
        });
    }
    groups
}

type Entry<'a> = (&'a PolicyHash, &'a PolicyEntry);

fn by_subject(manifest: &Manifest) -> BTreeMap<String, Vec<Entry<'_>>> {
    let mut entries: BTreeMap<String, Vec<Entry<'_>>> = BTreeMap::new();
    for (hash, entry) in &manifest.policies {
        let subject = match (&entry.identity, entry.sans.first()) {
            (Some(identity), _) => Identity::to_string(identity),
            (None, Some(name)) => format!("workload {name}"),
            (None, None) => format!("policy {hash}"),
        };
        entries.entry(subject).or_default().push((hash, entry));
    }
    entries
}

fn summary(entry: &Entry<'_>) -> Vec<Change> {
    entry_changes((entry.0, &PolicyEntry::default()), *entry)
}

fn entry_changes((old_hash, old): Entry<'_>, (new_hash, new): Entry<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let hash = |hash: &PolicyHash| Some(hash.to_string());
    changes.extend(Change::between("policy", hash(old_hash), hash(new_hash)));
    changes.extend(list_changes("name", &old.sans, &new.sans));
    if old.sans.first() != new.sans.first() && !old.sans.is_empty() && !new.sans.is_empty() {
        let first = |entry: &PolicyEntry| entry.sans.first().cloned();
        changes.extend(Change::between("first name", first(old), first(new)));
    }
    // Another secret means that what was encrypted with the old one cannot be read any more.
    let secret = Change::between(
        "WorkloadSecretID",
        old.workload_secret_id.clone(),
        new.workload_secret_id.clone(),
    );
    changes.extend(secret.map(|change| change.widening(true)));
    let role = |entry: &PolicyEntry| entry.role.map(|role| role.to_string());
    changes
        .extend(Change::between("role", role(old), role(new)).map(|change| change.widening(true)));
    let (was, is) = (old.effective_profile(), new.effective_profile());
    let profile = Change::between("profile", Some(was.to_string()), Some(is.to_string()));
    changes.extend(profile.map(|change| change.widening(is > was)));
    changes.extend(list_changes("platform", &old.platforms, &new.platforms));
    let pod_ip = |entry: &PolicyEntry| Some(entry.pod_ip.to_string());
    changes.extend(
        Change::between("pod address in the certificate", pod_ip(old), pod_ip(new))
            .map(|change| change.widening(new.pod_ip)),
    );
    changes
}

fn json(set: &SnpReference) -> Value {
    let mut value = serde_json::to_value(set).unwrap_or_default();
    value.sort_all_objects();
    value
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.map(plain).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "to be filled in".to_owned(),
        other => other.to_string(),
    }
}
