//! Pods as the API server gives them, against a manifest.

use nacre_manifest::PolicyEntry;
use serde_json::json;

use super::*;

const POLICY: &str = "package agent_policy\n";

fn manifest(identity: Identity) -> Manifest {
    let hash = Carrier::AgentPolicy.pack(POLICY).hash;
    let mut manifest = Manifest::default();
    manifest.policies.insert(
        hash,
        PolicyEntry {
            identity: Some(identity),
            ..PolicyEntry::default()
        },
    );
    manifest
}

fn web() -> Identity {
    Identity::new("shop", "Deployment", "web")
}

/// A pod of the Deployment `web`.
fn pod() -> Value {
    let carried = Carrier::AgentPolicy.pack(POLICY);
    json!({
        "metadata": {
            "name": "web-5d4f8-x2", "namespace": "shop",
            "labels": { "pod-template-hash": "5d4f8" },
            "annotations": { carried.annotation_key: carried.annotation_value },
            "ownerReferences": [{ "kind": "ReplicaSet", "name": "web-5d4f8", "controller": true }],
        },
        "spec": {
            "runtimeClassName": "contrast-cc-metal-qemu-snp-323f0eaf",
            "containers": [{
                "name": "app", "image": "web@sha256:1", "imagePullPolicy": "IfNotPresent",
                "env": [{ "name": "A", "value": "1" }],
                "volumeMounts": [{ "name": "kube-api-access-x", "mountPath": TOKEN_PATH }],
            }],
        },
        "status": { "phase": "Running" },
    })
}

fn template() -> BTreeMap<Identity, Value> {
    let spec = json!({
        "containers": [{
            "name": "app", "image": "web@sha256:1", "env": [{ "name": "A", "value": "1" }],
        }],
    });
    BTreeMap::from([(web(), spec)])
}

fn messages(pod: Value) -> Vec<String> {
    let drift = compare(&[pod], &manifest(web()), &template());
    drift.findings.into_iter().map(|f| f.message).collect()
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    *value.pointer_mut(pointer).unwrap() = new;
}

#[test]
fn a_pod_as_it_was_rendered_is_no_drift() {
    let drift = compare(&[pod()], &manifest(web()), &template());
    assert_eq!(
        (drift.pods, drift.findings.len()),
        (1, 0),
        "{:?}",
        drift.findings
    );
}

#[test]
fn a_policy_that_is_missing_foreign_or_somebody_elses_is_named() {
    let mut bare = pod();
    set(&mut bare, "/metadata/annotations", json!({}));
    assert!(messages(bare)[0].contains("no policy"));

    let mut foreign = pod();
    let other = Carrier::AgentPolicy.pack("package other\n");
    let annotations = json!({ other.annotation_key: other.annotation_value });
    set(&mut foreign, "/metadata/annotations", annotations);
    let said = messages(foreign);
    assert!(said[0].contains("not in the manifest"), "{said:?}");
    // And nobody runs with the one that is.
    assert!(
        said[1].contains("no pod of shop/Deployment/web"),
        "{said:?}"
    );

    let mut stolen = pod();
    set(
        &mut stolen,
        "/metadata/ownerReferences/0/name",
        json!("evil-5d4f8"),
    );
    assert!(messages(stolen)[0].contains("belongs to shop/Deployment/evil"));
}

#[test]
fn a_listed_workload_outside_of_the_confidential_runtime_is_named() {
    let mut plain = pod();
    set(&mut plain, "/spec/runtimeClassName", json!("runc"));
    let said = messages(plain);
    assert!(
        said[0].contains("without the confidential runtime"),
        "{said:?}"
    );
}

#[test]
fn what_a_webhook_adds_is_named() {
    let mut changed = pod();
    let containers = changed.pointer_mut("/spec/containers").unwrap();
    containers
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "istio-proxy", "image": "x" }));
    set(
        &mut changed,
        "/spec/containers/0/image",
        json!("web@sha256:2"),
    );
    set(
        &mut changed,
        "/spec/containers/0/env",
        json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]),
    );
    set(
        &mut changed,
        "/spec/containers/0/volumeMounts",
        json!([{ "name": "x", "mountPath": "/injected" }]),
    );
    let said = messages(changed).join("\n");
    for part in [
        "istio-proxy was added",
        "image is not",
        "variable B was added",
        "/injected was added",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn pods_that_ended_or_are_ending_are_left_alone() {
    for phase in ["Succeeded", "Failed"] {
        let mut ended = pod();
        set(&mut ended, "/status/phase", json!(phase));
        set(&mut ended, "/metadata/annotations", json!({}));
        let drift = compare(&[ended], &manifest(web()), &template());
        assert_eq!(drift.pods, 0);
    }
}

#[test]
fn pods_of_a_cron_job_belong_to_it() {
    let mut job = pod();
    set(
        &mut job,
        "/metadata/ownerReferences",
        json!([{ "kind": "Job", "name": "report-29384756", "controller": true }]),
    );
    let cron = Identity::new("shop", "CronJob", "report");
    let drift = compare(&[job], &manifest(cron), &BTreeMap::new());
    assert!(drift.findings.is_empty(), "{:?}", drift.findings);
}

#[test]
fn what_the_api_server_leaves_out_or_fills_in_is_no_drift() {
    let field = |version: Value| json!({ "fieldRef": { "fieldPath": "metadata.name" , "apiVersion": version } });
    let mut rendered = template();
    rendered.get_mut(&web()).unwrap()["containers"][0] = json!({
        "name": "app", "image": "web@sha256:1", "command": [], "args": [], "workingDir": "",
        "env": [
            { "name": "A", "value": "1" },
            { "name": "EMPTY", "value": "" },
            { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
    });
    let mut live = pod();
    live["spec"]["containers"][0]["env"] = json!([
        { "name": "A", "value": "1" },
        { "name": "EMPTY" },
        { "name": "NAME", "valueFrom": field(json!("v1")) },
    ]);
    let drift =
        |live: &Value| compare(std::slice::from_ref(live), &manifest(web()), &rendered).findings;
    assert_eq!(drift(&live), []);

    live["spec"]["containers"][0]["env"][2]["valueFrom"]["fieldRef"]["fieldPath"] =
        json!("spec.nodeName");
    assert!(
        drift(&live)[0]
            .message
            .contains("variable NAME has another value")
    );
}

#[test]
fn more_that_a_guest_denies_is_named() {
    for (member, value, expected) in [
        (
            "envFrom",
            json!([{ "secretRef": { "name": "s" } }]),
            "envFrom is not",
        ),
        (
            "volumeMounts",
            json!([{ "name": "v", "mountPath": "/x" }]),
            "a mount at /x was added",
        ),
    ] {
        let mut live = pod();
        live["spec"]["containers"][0][member] = value;
        let said = messages(live);
        assert!(said[0].contains(expected), "{said:?}");
    }
    let mut debugged = pod();
    debugged["spec"]["ephemeralContainers"] = json!([{ "name": "debugger", "image": "busybox" }]);
    assert!(messages(debugged)[0].contains("container debugger was added"));

    let mut rendered = template();
    rendered.get_mut(&web()).unwrap()["containers"][0]["volumeMounts"] =
        json!([{ "name": "v", "mountPath": "/data" }]);
    let drift = compare(&[pod()], &manifest(web()), &rendered);
    assert!(
        drift.findings[0]
            .message
            .contains("the mount at /data is gone")
    );
}
