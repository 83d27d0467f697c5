//! The volume with certificates and keys: guest memory, mounted in every container.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::{Map, Value, json};

use super::{each_container, list_mut};
use crate::containers::containers;
use crate::names::{CERTS_PATH, CERTS_VOLUME, INJECTED};
use crate::object::{list, text};

/// Adds the volume, or turns what is there into guest memory.
pub(super) fn ensure(pod_spec: &mut Value, spec_field: &str, findings: &mut Vec<Finding>) {
    let taken = list(pod_spec, "volumes")
        .iter()
        .position(|v| text(v, "name") == Some(CERTS_VOLUME));
    if let Some(index) = taken {
        let source = named(pod_spec, CERTS_VOLUME).and_then(foreign_source);
        if let Some(source) = source {
            findings.push(
                Finding::error(
                    codes::VOLUME_TAKEN,
                    format!("the volume {CERTS_VOLUME} must be an emptyDir, it is {source}"),
                )
                .help("private keys are written there and must not leave the guest: rename the volume")
                .field(format!("{spec_field}.volumes[{index}]")),
            );
            return;
        }
        harden_existing(pod_spec);
        return;
    }
    if let Some(volumes) = pod_spec
        .as_object_mut()
        .and_then(|map| list_mut(map, "volumes"))
    {
        volumes.push(json!({"name": CERTS_VOLUME, "emptyDir": {"medium": "Memory"}}));
    }
}

/// Sets `medium: Memory` on the volume if it is there: the manual snippet of the v0.8 documentation
/// has `emptyDir: {}`, which would be the host's disk.
pub(super) fn harden_existing(pod_spec: &mut Value) {
    let volumes = pod_spec.get_mut("volumes").and_then(Value::as_array_mut);
    for volume in volumes.into_iter().flatten() {
        if text(volume, "name") != Some(CERTS_VOLUME) || foreign_source(volume).is_some() {
            continue;
        }
        let Some(map) = volume.as_object_mut() else {
            continue;
        };
        let source = map.entry("emptyDir").or_insert(Value::Null);
        if !source.is_object() {
            *source = Value::Object(Map::new());
        }
        if let Some(source) = source.as_object_mut() {
            source.insert("medium".to_owned(), json!("Memory"));
        }
    }
}

/// A volume by name.
pub(super) fn named<'a>(pod_spec: &'a Value, name: &str) -> Option<&'a Value> {
    list(pod_spec, "volumes")
        .iter()
        .find(|v| text(v, "name") == Some(name))
}

/// The kind of a volume that is not an emptyDir. A volume without a kind is one.
fn foreign_source(volume: &Value) -> Option<String> {
    let sources = volume.as_object().into_iter().flatten();
    let mut sources = sources.filter(|(key, value)| *key != "name" && !value.is_null());
    sources
        .find(|(key, value)| *key != "emptyDir" || !value.is_object())
        .map(|(key, _)| key.clone())
}

/// Mounts the volume where it is not, and refuses mounts that would hide it.
///
/// Other containers than ours get it read-only: nobody but what is injected can put the
/// start gate, certificates or the ready mark there.
pub(super) fn mount_everywhere(
    pod_spec: &mut Value,
    spec_field: &str,
    findings: &mut Vec<Finding>,
) {
    for container in containers(pod_spec) {
        for (index, mount) in list(container.value, "volumeMounts").iter().enumerate() {
            let path = text(mount, "mountPath").unwrap_or_default();
            let own = text(mount, "name") == Some(CERTS_VOLUME) && clean(path) == CERTS_PATH;
            if !own && is_within(path) {
                findings.push(
                    Finding::error(
                        codes::MOUNT_TAKEN,
                        format!("{path} is mounted already: it would hide the certificates"),
                    )
                    .help(format!(
                        "mount {:?} somewhere else",
                        text(mount, "name").unwrap_or_default()
                    ))
                    .current(path)
                    .field(
                        container.field(spec_field, &format!("volumeMounts[{index}].mountPath")),
                    ),
                );
            }
        }
    }
    each_container(pod_spec, |_, _, container| {
        let name = container.get("name").and_then(Value::as_str);
        let ours = name.is_some_and(|name| INJECTED.contains(&name));
        let Some(mounts) = list_mut(container, "volumeMounts") else {
            return;
        };
        let mounted = mounts
            .iter()
            .any(|m| clean(text(m, "mountPath").unwrap_or_default()) == CERTS_PATH);
        if !mounted {
            let mut mount = json!({"name": CERTS_VOLUME, "mountPath": CERTS_PATH});
            if let (Some(map), false) = (mount.as_object_mut(), ours) {
                map.insert("readOnly".to_owned(), json!(true));
            }
            mounts.push(mount);
        }
    });
}

/// A path without empty and `.` parts, `..` resolved, as the runtime sees it.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether a mount at this path would cover the directory or something in it.
fn is_within(path: &str) -> bool {
    let path = clean(path);
    path.strip_prefix(CERTS_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
