//! What a check wanted and what a request had. No value of a variable is among it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Denied, Verdict, network};
use crate::generate::{PAUSE, Policy};
use crate::pod;
use crate::schema;
use crate::view::{Container, Variable, View, short};

/// Both sides of a failed check, and its cause where that can be told from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sides {
    pub(super) expected: Option<Value>,
    pub(super) actual: Option<Value>,
    pub(super) likely: Option<String>,
}

/// Looks both sides up.
pub(super) fn sides(
    check: &str,
    denied: &Denied,
    policy: &Policy,
    name: &str,
    verdict: Option<&Verdict>,
) -> Sides {
    let view = View::of(policy);
    let container = view.container(name);
    let message = denied.message.as_deref().unwrap_or("");
    let request = denied.request.as_ref();
    let mut sides = Sides {
        expected: wanted(check, message, view, container),
        actual: request.and_then(|request| {
            let values = schema::guarded(message, check, request);
            (!values.is_empty()).then(|| json!(values))
        }),
        likely: None,
    };
    // The rules' own documents, where they have one for the check.
    let document = |all: Option<&Value>| all.and_then(|all| all.get(check)).cloned();
    if let Some(want) = document(verdict.and_then(|v| v.want.as_ref())) {
        sides.expected = Some(want);
        sides.actual = document(verdict.and_then(|v| v.got.as_ref()));
    }
    let Some(request) = request else {
        return sides;
    };
    match check {
        "args" => sides.actual = request.pointer("/OCI/Process/Args").cloned(),
        "command" => sides.actual = request.pointer("/process/Args").cloned(),
        "annotations" => annotations(view, request, &mut sides),
        "labels" => labels(view, request, &mut sides),
        "storages" => {
            let storages = pod::list(request, "storages");
            sides.actual = Some(storages.iter().map(short).collect());
        }
        _ => {}
    }
    match (check, container) {
        ("env", Some(container)) => variables(container, request, &mut sides),
        ("mounts", Some(container)) => mounts(container, request, &mut sides),
        ("image", Some(container)) => image(container, request, &mut sides),
        _ => {}
    }
    if sides.likely.is_none() {
        sides.likely = network::likely(check, request);
    }
    sides
}

/// What the policy holds for a check.
fn wanted(
    check: &str,
    message: &str,
    view: View<'_>,
    container: Option<Container<'_>>,
) -> Option<Value> {
    match check {
        "annotations" => {
            return Some(json!({"namespace": view.namespace(), "pod name": view.pod_name()}));
        }
        "labels" => {
            return Some(json!({"versions": view.oci_versions(), "target": view.target()}));
        }
        "host" => return Some(json!({"hostname": view.host_rule()})),
        "names" => return Some(json!({"hostname": view.hostname()})),
        "namespaces" => return Some(json!(["ipc", "mnt", "uts"])),
        "pidns" => return Some(view.shares_processes().into()),
        "dns" => return view.dns().cloned(),
        "path" => return Some(json!(view.files())),
        "size" => return view.file_size(),
        "storages" if message == "CreateSandboxRequest" => {
            return Some(view.sandbox_storages().iter().map(short).collect());
        }
        _ => {}
    }
    let container = container?;
    Some(match check {
        "args" => json!(container.args()),
        "sysctl" => container.sysctls(),
        "devices" => json!(container.devices()),
        "order" => json!(container.after()),
        "command" => json!(container.commands()),
        "image" if container.name == PAUSE => return None,
        "image" => json!({"names": container.image_names(), "digest": container.digest()}),
        "caps" => json!(container.capabilities()),
        "paths" => container.paths(),
        "cwd" | "nnp" | "tty" | "user" => container.process(check)?.clone(),
        "ro" => json!({"readOnly": container.read_only_root()}),
        "storages" => json!(container.storages()),
        "mounts" => container.mounts().keys().copied().collect(),
        "env" => container.variables().keys().cloned().collect(),
        _ => return None,
    })
}

/// The variables of a request, as name and value.
pub(super) fn environment(request: &Value) -> impl Iterator<Item = (&str, &str)> {
    let create = request.pointer("/OCI/Process/Env");
    let list = create.or_else(|| request.pointer("/process/Env"));
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(|entry| {
        let entry = entry.as_str()?;
        Some(entry.split_once('=').unwrap_or((entry, "")))
    })
}

fn variables(container: Container<'_>, request: &Value, sides: &mut Sides) {
    let own = container.variables();
    let have: BTreeMap<&str, &str> = environment(request).collect();
    let twice = environment(request).count() - have.len();
    let names = || own.keys().map(String::as_str);
    let missing: Vec<&str> = names()
        .filter(|name| !have.contains_key(name) && !container.may_lack(name))
        .collect();
    let added: Vec<&str> = have
        .keys()
        .copied()
        .filter(|name| !own.contains_key(*name))
        .collect();
    let differs = |name: &&str| match (own.get(*name), have.get(name)) {
        (Some(Variable::Exact(value)), Some(actual)) => value != actual,
        _ => false,
    };
    let changed: Vec<&str> = names().filter(differs).collect();
    let mut differences = Map::new();
    let mut put = |key: &str, names: &[&str]| {
        if !names.is_empty() {
            differences.insert(key.to_owned(), json!(names));
        }
    };
    put("missing", &missing);
    put("added", &added);
    put("other value", &changed);
    if missing.is_empty() && added.is_empty() && changed.is_empty() && twice == 0 {
        let is_open = |name: &&str| !matches!(own.get(*name), Some(Variable::Exact(_)));
        let open: Vec<&str> = names()
            .filter(|name| have.contains_key(name))
            .filter(is_open)
            .collect();
        put("one of these has another shape", &open);
    }
    if twice > 0 {
        differences.insert("given twice".to_owned(), twice.into());
    }
    sides.actual = Some(Value::Object(differences));
    // The kubelet gives each Service this one.
    let services: BTreeSet<&str> = added
        .iter()
        .filter_map(|name| name.strip_suffix("_SERVICE_HOST"))
        .filter(|name| !name.is_empty())
        .collect();
    let others: Vec<&str> = added
        .iter()
        .copied()
        .filter(|name| !services.iter().any(|service| is_about(name, service)))
        .collect();
    let mut likely = Vec::new();
    if !services.is_empty() {
        let names: Vec<_> = services.into_iter().map(str::to_lowercase).collect();
        likely.push(format!(
            "the namespace has Services that were not rendered along: {}",
            names.join(", ").replace('_', "-")
        ));
    }
    if !changed.is_empty() {
        likely.push(format!(
            "{} changed after rendering, or its ConfigMap did",
            changed.join(", ")
        ));
    }
    if !others.is_empty() {
        likely.push(format!(
            "{} added by an admission webhook, or by an image that was rebuilt",
            others.join(", ")
        ));
    }
    sides.likely = (!likely.is_empty()).then(|| likely.join("; "));
}

/// Whether a variable is one of those that the kubelet gives a Service
/// (`k8s.io/kubernetes/pkg/kubelet/envvars`).
fn is_about(name: &str, service: &str) -> bool {
    let Some(rest) = name.strip_prefix(service) else {
        return false;
    };
    let port = rest.strip_prefix("_PORT_");
    matches!(rest, "_SERVICE_HOST" | "_SERVICE_PORT" | "_PORT")
        || rest.starts_with("_SERVICE_PORT_")
        || port.is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

fn mounts(container: Container<'_>, request: &Value, sides: &mut Sides) {
    let own = container.mounts();
    let list = request.pointer("/OCI/Mounts").and_then(Value::as_array);
    let have: BTreeMap<&str, &Value> = list
        .into_iter()
        .flatten()
        .filter_map(|mount| Some((pod::text(mount, "destination")?, mount)))
        .collect();
    let missing: Vec<&str> = own
        .keys()
        .copied()
        .filter(|d| !have.contains_key(d))
        .collect();
    let added: Vec<&str> = have
        .keys()
        .copied()
        .filter(|d| !own.contains_key(d))
        .collect();
    let changed: Vec<Value> = own
        .iter()
        .filter_map(|(destination, mount)| {
            let other = have.get(destination)?;
            let options = pod::texts(other, "options");
            let same = pod::text(other, "type_") == Some(mount.kind)
                && mount.options.iter().all(|option| options.contains(option));
            (!same).then(|| {
                json!({
                    "destination": destination,
                    "wanted": [mount.kind, mount.options],
                    "found": [other.get("type_"), options],
                })
            })
        })
        .collect();
    if missing
        .iter()
        .chain(&added)
        .any(|d| d.contains("serviceaccount"))
    {
        sides.likely = Some(
            "the service account's token is mounted otherwise than `automountServiceAccountToken` says"
                .to_owned(),
        );
    } else if !added.is_empty() {
        sides.likely = Some(format!(
            "{} mounted by an admission webhook, or a VOLUME of an image that was rebuilt",
            added.join(", ")
        ));
    }
    let mut differences = Map::new();
    if !missing.is_empty() {
        differences.insert("missing".to_owned(), json!(missing));
    }
    if !added.is_empty() {
        differences.insert("added".to_owned(), json!(added));
    }
    if !changed.is_empty() {
        differences.insert("other options".to_owned(), json!(changed));
    }
    if differences.is_empty() {
        let order: Vec<_> = list
            .into_iter()
            .flatten()
            .map(|m| m.get("destination"))
            .collect();
        differences.insert("other source, option or order".to_owned(), json!(order));
    }
    sides.actual = Some(Value::Object(differences));
}

fn image(container: Container<'_>, request: &Value, sides: &mut Sides) {
    let storages = pod::list(request, "storages").iter();
    let sources: Vec<&str> = storages
        .filter(|s| pod::text(s, "driver") == Some("image_guest_pull"))
        .filter_map(|s| pod::text(s, "source"))
        .collect();
    let annotations = request.pointer("/OCI/Annotations");
    let named = annotations.and_then(|a| pod::text(a, "io.kubernetes.cri.image-name"));
    sides.actual = Some(json!({"pulled": sources, "annotation": named}));
    let wanted = Some(container.digest()).filter(|digest| !digest.is_empty());
    let found = sources.first().copied().or(named).unwrap_or("");
    sides.likely = match (found.split_once('@'), wanted) {
        (Some((_, digest)), Some(wanted)) if digest != wanted => Some(format!(
            "a stale tag: the pod asks for {digest}, its policy is for {wanted}"
        )),
        (None, Some(_)) if !found.is_empty() => {
            Some("the reference lost its digest after rendering".to_owned())
        }
        (Some((name, _)), Some(_)) => {
            let known = container.image_names().iter().any(|known| known == name);
            (!known).then(|| format!("another registry: {name}, by a mirror or an image policy"))
        }
        _ => None,
    };
}

fn annotations(view: View<'_>, request: &Value, sides: &mut Sides) {
    let null = Value::Null;
    let all = request.pointer("/OCI/Annotations").unwrap_or(&null);
    let cri = |key: &str| pod::text(all, &format!("io.kubernetes.cri.{key}"));
    let keys = all.as_object().into_iter().flatten().map(|(key, _)| key);
    let unknown: Vec<&String> = keys.filter(|key| !view.knows_annotation(key)).collect();
    sides.actual = Some(json!({
        "namespace": cri("sandbox-namespace"),
        "pod name": cri("sandbox-name"),
        "unknown": unknown,
    }));
    let rendered = view.namespace();
    sides.likely = match cri("sandbox-namespace") {
        Some(actual) if actual != rendered => Some(format!(
            "the wrong namespace: the pod runs in {actual}, it was rendered for {rendered}"
        )),
        _ if !unknown.is_empty() => Some(
            "a runtime or a device plugin that passes annotations on which the target does not list"
                .to_owned(),
        ),
        _ => None,
    };
}

fn labels(view: View<'_>, request: &Value, sides: &mut Sides) {
    let version = request.pointer("/OCI/Version").and_then(Value::as_str);
    let known = view.oci_versions();
    if let Some(version) = version.filter(|v| !known.iter().any(|k| k == v)) {
        sides.likely = Some(format!(
            "containerd writes OCI version {version}: another major than target {} lists",
            view.target()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_a_service_are_told_from_others() {
        for name in [
            "A_B_SERVICE_HOST",
            "A_B_SERVICE_PORT",
            "A_B_SERVICE_PORT_HTTPS",
            "A_B_PORT",
            "A_B_PORT_80_TCP",
            "A_B_PORT_80_TCP_ADDR",
        ] {
            assert!(is_about(name, "A_B"), "{name}");
        }
        for name in [
            "A_B_PORTAL",
            "A_B_PORT_NAME",
            "A_B_SERVICE",
            "A_PORT",
            "X_A_B_PORT",
        ] {
            assert!(!is_about(name, "A_B"), "{name}");
        }
    }
}
