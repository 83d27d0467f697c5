//! Pods that run now, against the manifest and the rendered resources.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::{Finding, ResourceRef, codes};
use nacre_manifest::{Identity, Manifest, PolicyHash};
use nacre_policy::carrier::Carrier;
use nacre_workload::select::is_confidential_class;
use serde_json::Value;

/// Where Kubernetes puts the account's token, under a name that differs for each pod.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What is running, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Drift {
    /// Pods that were compared.
    pub(crate) pods: usize,
    /// Differences, none of them harmless.
    pub(crate) findings: Vec<Finding>,
}

/// Compares the pods of some namespaces with a manifest. `templates` are the pod specs that were
/// rendered, by identity; a pod of one of them must have the same containers.
pub(crate) fn compare(
    pods: &[Value],
    manifest: &Manifest,
    templates: &BTreeMap<Identity, Value>,
) -> Drift {
    let mut drift = Drift::default();
    let mut running: BTreeSet<PolicyHash> = BTreeSet::new();
    for pod in pods.iter().filter(|pod| is_alive(pod)) {
        let (owner, listed) = listed_owner(pod, manifest);
        let class = text(pod, "/spec/runtimeClassName");
        if !class.is_some_and(is_confidential_class) {
            if listed {
                drift.report(
                    pod,
                    format!(
                        "it runs without the confidential runtime, but {owner} is in the manifest"
                    ),
                );
            }
            continue;
        }
        drift.pods += 1;
        let hash = match policy(pod) {
            Ok(hash) => hash,
            Err(reason) => {
                drift.report(pod, reason);
                continue;
            }
        };
        running.insert(hash);
        match manifest.policies.get(&hash) {
            None => drift.report(
                pod,
                format!("its policy {hash} is not in the manifest: the Coordinator refuses it"),
            ),
            Some(entry) => {
                if let Some(expected) = entry.identity.as_ref().filter(|known| **known != owner) {
                    drift.report(
                        pod,
                        format!("it belongs to {owner} but runs with the policy of {expected}"),
                    );
                }
            }
        }
        if let Some(template) = templates.get(&owner) {
            for difference in differences(template, pod.get("spec").unwrap_or(&Value::Null)) {
                drift.report(pod, format!("{difference}, so its guest denies it"));
            }
        }
    }
    for (hash, entry) in &manifest.policies {
        if !running.contains(hash)
            && let Some(identity) = &entry.identity
            && !matches!(identity.kind.as_str(), "Job" | "CronJob")
        {
            drift.findings.push(Finding::warning(
                codes::cluster::NOT_RUNNING,
                format!("no pod of {identity} runs with its policy {hash}"),
            ));
        }
    }
    drift
}

impl Drift {
    fn report(&mut self, pod: &Value, reason: String) {
        let name = text(pod, "/metadata/name").unwrap_or_default();
        self.findings.push(
            Finding::error(codes::cluster::DRIFT, reason).resource(ResourceRef {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: name.to_owned(),
                namespace: text(pod, "/metadata/namespace").map(str::to_owned),
            }),
        );
    }
}

/// Pods that ended need no policy any more.
fn is_alive(pod: &Value) -> bool {
    !matches!(text(pod, "/status/phase"), Some("Succeeded" | "Failed"))
        && pod.pointer("/metadata/deletionTimestamp").is_none()
}

/// The hash of the policy that the pod's guest was started with.
fn policy(pod: &Value) -> Result<PolicyHash, String> {
    let annotations = pod
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let mut found = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            Some((
                Carrier::of_annotation(key)?,
                value.as_str().unwrap_or_default(),
            ))
        });
    let Some((carrier, value)) = found.next() else {
        return Err("it has no policy".to_owned());
    };
    if found.next().is_some() {
        return Err("it has two policies".to_owned());
    }
    match carrier.unpack(value) {
        Ok(decoded) => Ok(decoded.hash),
        Err(error) => Err(format!("its policy cannot be read: {error}")),
    }
}

/// The object that a pod was made for, and whether the manifest lists it. A CronJob's pods belong to a
/// Job that is named after it and the minute.
fn listed_owner(pod: &Value, manifest: &Manifest) -> (Identity, bool) {
    let is_listed = |identity: &Identity| {
        manifest
            .policies
            .values()
            .any(|entry| entry.identity.as_ref() == Some(identity))
    };
    let owner = owner(pod);
    if owner.kind == "Job"
        && let Some((name, minute)) = owner.name.rsplit_once('-')
        && !minute.is_empty()
        && minute.bytes().all(|byte| byte.is_ascii_digit())
    {
        let cron = Identity::new(owner.namespace.clone(), "CronJob", name);
        if is_listed(&cron) {
            return (cron, true);
        }
    }
    let listed = is_listed(&owner);
    (owner, listed)
}

/// The object that controls a pod; a Deployment's pods belong to a ReplicaSet named after it.
fn owner(pod: &Value) -> Identity {
    let namespace = text(pod, "/metadata/namespace").unwrap_or("default");
    let controller = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .and_then(|owners| {
            owners
                .iter()
                .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        });
    let Some(controller) = controller else {
        let name = text(pod, "/metadata/name").unwrap_or_default();
        return Identity::new(namespace, "Pod", name);
    };
    let kind = text(controller, "/kind").unwrap_or_default();
    let name = text(controller, "/name").unwrap_or_default();
    let hash = text(pod, "/metadata/labels/pod-template-hash");
    let deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
    match (kind, deployment) {
        ("ReplicaSet", Some(deployment)) => Identity::new(namespace, "Deployment", deployment),
        _ => Identity::new(namespace, kind, name),
    }
}

/// How a running pod differs from what was rendered, in fields that the policy pins and the API server
/// does not fill in.
fn differences(rendered: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let (expected, present) = (by_name(rendered, list), by_name(live, list));
        for name in expected.keys().filter(|name| !present.contains_key(*name)) {
            found.push(format!("container {name} is gone"));
        }
        for (name, container) in present {
            match expected.get(name) {
                None => found.push(format!("container {name} was added")),
                Some(expected) => container_differences(name, expected, container, &mut found),
            }
        }
    }
    found
}

fn container_differences(name: &str, expected: &Value, live: &Value, found: &mut Vec<String>) {
    for field in ["image", "command", "args", "workingDir"] {
        if said(expected, field) != said(live, field) {
            found.push(format!(
                "container {name}: {field} is not what was rendered"
            ));
        }
    }
    let (wanted, present) = (by_name(expected, "env"), by_name(live, "env"));
    for (variable, value) in &present {
        match wanted.get(variable) {
            None => found.push(format!("container {name}: variable {variable} was added")),
            Some(other)
                if said(other, "value") != said(value, "value")
                    || origin(other) != origin(value) =>
            {
                found.push(format!(
                    "container {name}: variable {variable} has another value"
                ));
            }
            Some(_) => {}
        }
    }
    for variable in wanted.keys().filter(|name| !present.contains_key(*name)) {
        found.push(format!("container {name}: variable {variable} is gone"));
    }
    if said(expected, "envFrom") != said(live, "envFrom") {
        found.push(format!(
            "container {name}: envFrom is not what was rendered"
        ));
    }
    let paths = |container: &Value| -> BTreeSet<String> {
        let mounts = container.get("volumeMounts").and_then(Value::as_array);
        mounts
            .into_iter()
            .flatten()
            .filter_map(|mount| Some(mount.get("mountPath")?.as_str()?.to_owned()))
            .filter(|path| path != TOKEN_PATH)
            .collect()
    };
    let (wanted, present) = (paths(expected), paths(live));
    for path in present.difference(&wanted) {
        found.push(format!("container {name}: a mount at {path} was added"));
    }
    for path in wanted.difference(&present) {
        found.push(format!("container {name}: the mount at {path} is gone"));
    }
}

/// A member that says something: the API server leaves empty ones out.
fn said<'v>(value: &'v Value, member: &str) -> Option<&'v Value> {
    value.get(member).filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    })
}

/// Where a variable comes from, without what the API server fills in: the version of a field reference and
/// the divisor of a resource.
fn origin(variable: &Value) -> Option<Value> {
    let mut origin = said(variable, "valueFrom")?.clone();
    if let Some(Value::Object(field)) = origin.get_mut("fieldRef") {
        field.remove("apiVersion");
    }
    if let Some(Value::Object(resource)) = origin.get_mut("resourceFieldRef")
        && resource.get("divisor").and_then(Value::as_str) == Some("0")
    {
        resource.remove("divisor");
    }
    Some(origin)
}

fn by_name<'v>(value: &'v Value, list: &str) -> BTreeMap<&'v str, &'v Value> {
    let items = value.get(list).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| Some((item.get("name")?.as_str()?, item)))
        .collect()
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
