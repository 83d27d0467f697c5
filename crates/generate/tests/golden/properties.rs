//! What holds for every input: idempotent, independent of the order, nothing else touched.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Case, hashes, manifest_text, reversed, written};

/// One workload of a generated deployment.
#[derive(Clone, Debug)]
struct Sketch {
    kind: usize,
    selected: bool,
    ingress: Option<usize>,
    egress: bool,
    gate: bool,
    skip: bool,
    service: bool,
    init: Option<bool>,
    cpu: Option<u8>,
    injected_before: bool,
}

const KINDS: [(&str, &str); 5] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("v1", "Pod"),
];
const INGRESS: [&str; 3] = ["", "main#8001#false##metrics#8080#true", "DISABLED"];

fn sketch() -> impl Strategy<Value = Sketch> {
    (
        (
            0..KINDS.len(),
            prop::bool::weighted(0.8),
            prop::option::of(0..INGRESS.len()),
        ),
        (
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.2),
            any::<bool>(),
        ),
        (
            prop::option::of(any::<bool>()),
            prop::option::of(1..4_u8),
            prop::bool::weighted(0.2),
        ),
    )
        .prop_map(
            |((kind, selected, ingress), (egress, gate, skip, service), rest)| {
                let (init, cpu, injected_before) = rest;
                Sketch {
                    kind,
                    selected,
                    ingress,
                    egress,
                    gate,
                    skip,
                    service,
                    init,
                    cpu,
                    injected_before,
                }
            },
        )
}

fn objects(number: usize, sketch: &Sketch) -> Vec<Value> {
    let (api_version, kind) = KINDS[sketch.kind];
    let name = format!("w{number}");
    let mut annotations = json!({});
    if let Some(ingress) = sketch.ingress {
        annotations["nacre.dev/servicemesh-ingress"] = json!(INGRESS[ingress]);
    }
    if sketch.egress {
        annotations["nacre.dev/servicemesh-egress"] = json!("next#127.0.0.9:9#w0:80");
    }
    if sketch.gate {
        annotations["nacre.dev/start-gate"] = json!("true");
    }
    if sketch.skip {
        annotations["nacre.dev/skip-initializer"] = json!("true");
    }
    let mut container = json!({"name": "app", "image": "registry.example.org/app:v1"});
    if let Some(cpu) = sketch.cpu {
        container["resources"] = json!({"limits": {"cpu": cpu}});
    }
    let mut spec = json!({"enableServiceLinks": false, "automountServiceAccountToken": false, "containers": [container]});
    if sketch.selected {
        spec["runtimeClassName"] = json!("contrast-cc");
    }
    let mut init = Vec::new();
    if let Some(sidecar) = sketch.init {
        let mut container = json!({"name": "helper", "image": "registry.example.org/tool:v1"});
        if sidecar {
            container["restartPolicy"] = json!("Always");
        }
        init.push(container);
    }
    if sketch.injected_before {
        init.push(json!({
            "name": "contrast-initializer", "image": "registry.example.org/tool:v1",
            "volumeMounts": [{"name": "contrast-tls-certs", "mountPath": "/tls-config"}],
        }));
        spec["volumes"] = json!([{"name": "contrast-tls-certs", "emptyDir": {}}]);
    }
    if !init.is_empty() {
        spec["initContainers"] = json!(init);
    }
    if kind == "Job" {
        spec["restartPolicy"] = json!("Never");
    }
    let metadata = json!({"name": name, "labels": {"app": name}, "annotations": annotations});
    let mut all = vec![match kind {
        "Pod" => {
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
        }
        _ => json!({
            "apiVersion": api_version, "kind": kind, "metadata": metadata,
            "spec": {"template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
        }),
    }];
    if sketch.service {
        all.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
        }));
    }
    all
}

fn case(sketches: &[Sketch]) -> Case {
    let coordinator = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "coordinator"},
        "spec": {"template": {
            "metadata": {"annotations": {"nacre.dev/pod-role": "coordinator"}},
            "spec": {
                "runtimeClassName": "contrast-cc",
                "containers": [{"name": "c", "image": "ghcr.io/nacre-dev/nacre/coordinator:v0.1.0"}],
            },
        }},
    });
    let all = sketches
        .iter()
        .enumerate()
        .flat_map(|(n, s)| objects(n, s))
        .chain([coordinator]);
    let config = nacre_fnconfig::Confidential::from_value(&json!({
        "apiVersion": "nacre.dev/v1alpha1", "kind": "Confidential",
        "spec": {
            "platform": "metal-qemu-snp", "namespace": "shop",
            "workloadOwners": [{"digest": "0".repeat(64)}],
        },
    }));
    Case {
        config: config.unwrap(),
        lock: crate::lock::lock(),
        coordinator: None,
        previous: None,
        mode: nacre_generate::Mode::Stream,
        input: all
            .map(|object| nacre_krm::emit(&object))
            .collect::<Vec<_>>()
            .join("---\n"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn twice_is_once_and_order_is_nothing(sketches in prop::collection::vec(sketch(), 1..6)) {
        let case = case(&sketches);
        let (outcome, stream) = case.run(&case.input);
        prop_assert!(!nacre_findings::has_errors(&outcome.findings), "{:#?}", outcome.findings);
        let output = written(&outcome, &stream);

        let (again, stream) = case.run(&output);
        prop_assert_eq!(written(&again, &stream), output);
        prop_assert_eq!(manifest_text(&again), manifest_text(&outcome));

        let (other, _) = case.run(&reversed(&case.input));
        prop_assert_eq!(hashes(&other), hashes(&outcome));
        prop_assert_eq!(manifest_text(&other), manifest_text(&outcome));
        // One policy for each selected workload and the Coordinator.
        let selected = sketches.iter().filter(|s| s.selected).count();
        prop_assert_eq!(outcome.policies.len(), selected + 1);
        prop_assert_eq!(hashes(&outcome).len(), selected + 1);
    }
}
