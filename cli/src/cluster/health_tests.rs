//! Clusters in which something gets in the way.

use serde_json::json;

use super::*;

fn expected() -> Expected<'static> {
    Expected {
        platform: Some("metal-qemu-snp"),
        target: Some("kata-4/1"),
        namespace: "shop",
    }
}

/// A cluster in which everything is as it should be.
fn good() -> Objects {
    let platform = nacre_platform::find("metal-qemu-snp").unwrap();
    Objects {
        version: json!({ "gitVersion": "v1.34.4" }),
        namespace: json!({ "metadata": { "name": "shop", "labels": { "team": "a" } } }),
        nodes: vec![json!({
            "metadata": { "name": "n1", "labels": { "katacontainers.io/kata-runtime": "true" } },
            "status": {
                "conditions": [{ "type": "Ready", "status": "True" }],
                "nodeInfo": {
                    "kubeletVersion": "v1.34.4", "containerRuntimeVersion": "containerd://2.1.4",
                },
            },
        })],
        runtime_classes: vec![json!({
            "metadata": { "name": platform.runtime_class_name() },
            "handler": platform.versioned_handler(),
            "scheduling": { "nodeSelector": platform.runtime.node_selector },
        })],
        daemon_sets: vec![json!({ "spec": { "template": { "spec": { "containers": [
            { "image": platform.runtime.installer.as_ref().unwrap().image },
        ] } } } })],
        coordinator: Some(json!({
            "spec": { "replicas": 1 }, "status": { "readyReplicas": 1 },
        })),
        ..Objects::default()
    }
}

fn codes_of(objects: &Objects) -> Vec<nacre_findings::Code> {
    let (_, findings) = examine(objects, &expected());
    findings.into_iter().map(|finding| finding.code).collect()
}

#[test]
fn a_good_cluster_has_no_findings_and_says_what_it_is() {
    let (facts, findings) = examine(&good(), &expected());
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(facts.kata.as_deref(), Some("4.0.0"));
    assert_eq!(facts.proposed_target, Some("kata-4/1"));
    assert_eq!(facts.runtime_classes[0].ready_nodes, 1);
    assert_eq!(facts.runtime_classes[0].platform, Some("metal-qemu-snp"));
    assert_eq!(facts.coordinator, "1 of 1 ready");
}

#[test]
fn the_default_target_is_that_of_every_installer_of_ours() {
    let platforms = nacre_platform::platforms().iter();
    let installers: Vec<_> = platforms
        .filter_map(|platform| platform.runtime.installer.as_ref())
        .collect();
    assert!(!installers.is_empty());
    for installer in installers {
        let mut objects = good();
        objects.daemon_sets[0]["spec"]["template"]["spec"]["containers"][0]["image"] =
            json!(installer.image);
        let by_default = Expected {
            target: None,
            ..expected()
        };
        let (facts, findings) = examine(&objects, &by_default);
        assert!(facts.proposed_target.is_some(), "{}", installer.image);
        assert!(findings.is_empty(), "{}: {findings:?}", installer.image);
    }
}

/// The DaemonSet of an installer, with the mark of a platform.
fn installer(platform: &str, image: &str) -> Value {
    let platform = nacre_platform::find(platform).unwrap();
    json!({
        "metadata": { "name": "i", "namespace": "nacre-runtime" },
        "spec": { "template": { "spec": { "containers": [{
            "image": image,
            "env": [{ "name": "MULTI_INSTALL_SUFFIX", "value": platform.data_hash() }],
        }] } } },
        "status": { "desiredNumberScheduled": 2, "numberReady": 2 },
    })
}

#[test]
fn an_installer_brings_the_guest_that_manifests_speak_of() {
    let kata = nacre_platform::find("kata-qemu-snp").unwrap();
    let released = &kata.runtime.installer.as_ref().unwrap().image;
    let own = format!(
        "registry.example/kata-deploy:4.0.1@sha256:{}",
        "b".repeat(64)
    );
    for (platform, image, expected) in [
        ("kata-qemu-snp", released, vec![]),
        ("metal-qemu-snp", &own, vec![]),
        (
            "metal-qemu-snp",
            released,
            vec![codes::cluster::GUEST_UNSUITED],
        ),
    ] {
        let mut objects = good();
        objects.daemon_sets = vec![installer(platform, image)];
        assert_eq!(codes_of(&objects), expected, "{platform} {image}");
        objects.daemon_sets[0]["status"]["numberReady"] = json!(1);
        assert!(codes_of(&objects).contains(&codes::cluster::NO_NODE));
    }
}

#[test]
fn the_version_of_kata_is_that_of_the_platform() {
    let mut objects = good();
    let own = format!(
        "registry.example/kata-deploy:4.0.1@sha256:{}",
        "b".repeat(64)
    );
    objects.daemon_sets.push(installer("metal-qemu-snp", &own));
    // Somebody else's Kata beside it.
    objects.runtime_classes.push(json!({ "metadata": {
        "name": "kata", "annotations": { "katacontainers.io/kata-version": "3.20.0" },
    } }));
    let (facts, findings) = examine(&objects, &expected());
    assert_eq!((facts.kata.as_deref(), findings.len()), (Some("4.0.1"), 0));
    objects.daemon_sets.clear();
    assert_eq!(
        examine(&objects, &expected()).0.kata.as_deref(),
        Some("3.20.0")
    );
}

#[test]
fn a_missing_class_and_a_missing_node_are_two_things() {
    let mut objects = good();
    objects.runtime_classes.clear();
    assert_eq!(codes_of(&objects), [codes::cluster::RUNTIME_CLASS_MISSING]);
    let mut objects = good();
    objects.nodes[0]["status"]["conditions"][0]["status"] = json!("False");
    assert_eq!(codes_of(&objects), [codes::cluster::NO_NODE]);
    let mut objects = good();
    objects.nodes[0]["metadata"]["labels"] = json!({});
    assert_eq!(codes_of(&objects), [codes::cluster::NO_NODE]);
}

#[test]
fn another_kata_or_containerd_needs_another_target() {
    let mut objects = good();
    // Kata before 3.29 asks its policy in another way.
    for (version, target) in [
        ("3.29.0", Some("kata-3/1")),
        ("3.28.0", None),
        ("5.0.0", None),
    ] {
        let image = json!(format!("quay.io/kata-containers/kata-deploy:{version}"));
        objects.daemon_sets[0]["spec"]["template"]["spec"]["containers"][0]["image"] = image;
        let (facts, findings) = examine(&objects, &expected());
        assert_eq!(facts.proposed_target, target);
        assert_eq!(findings[0].code, codes::cluster::NODE_UNSUITED);
        assert_eq!(findings.len(), 1);
    }
    for runtime in ["containerd://1.6.8", "cri-o://1.33.0"] {
        let mut objects = good();
        objects.nodes[0]["status"]["nodeInfo"]["containerRuntimeVersion"] = json!(runtime);
        assert_eq!(
            codes_of(&objects),
            [codes::cluster::NODE_UNSUITED],
            "{runtime}"
        );
    }
}

#[test]
fn the_runtime_in_rust_is_refused() {
    for (handler, expected) in [
        (
            "kata-qemu-snp-runtime-rs",
            vec![codes::cluster::NODE_UNSUITED],
        ),
        (
            "kata-qemu-snp-runtime-rs-0a1b",
            vec![codes::cluster::NODE_UNSUITED],
        ),
        ("kata-qemu-snp", vec![]),
        ("kata-qemu-snp-0a1b", vec![]),
    ] {
        let mut objects = good();
        objects.runtime_classes[0]["handler"] = json!(handler);
        assert_eq!(codes_of(&objects), expected, "{handler}");
        // Classes that are not for confidential pods are nobody's business.
        objects.runtime_classes[0]["handler"] = json!("kata-qemu-snp");
        let mut other = objects.runtime_classes[0].clone();
        other["metadata"]["name"] = json!("kata-other");
        other["handler"] = json!(handler);
        objects.runtime_classes.push(other);
        assert_eq!(codes_of(&objects), [], "{handler}");
    }
}

fn webhook(selector: Value, resources: Value) -> Value {
    json!({
        "metadata": { "name": "injector" },
        "webhooks": [{
            "name": "injector.example.org",
            "namespaceSelector": selector,
            "rules": [{ "apiGroups": [""], "resources": resources, "operations": ["CREATE"] }],
        }],
    })
}

#[test]
fn webhooks_matter_when_they_see_pods_of_the_namespace() {
    let labels = |value: &str| json!({ "matchLabels": { "team": value } });
    let expression = |operator: &str| json!({ "matchExpressions": [{ "key": "team", "operator": operator, "values": ["a"] }] });
    let pods = || json!(["pods"]);
    let cases = [
        (json!({}), pods(), true),
        (labels("a"), pods(), true),
        (labels("b"), pods(), false),
        (expression("In"), pods(), true),
        (expression("NotIn"), pods(), false),
        (expression("Exists"), pods(), true),
        (expression("DoesNotExist"), pods(), false),
        (json!({}), json!(["*"]), true),
        (json!({}), json!(["services"]), false),
    ];
    for (selector, resources, matters) in cases {
        let mut objects = good();
        objects.webhooks = vec![webhook(selector.clone(), resources.clone())];
        let found = codes_of(&objects).contains(&codes::cluster::MUTATING_WEBHOOK);
        assert_eq!(found, matters, "{selector} {resources}");
    }
}

#[test]
fn webhooks_matter_when_they_see_what_pods_are_made_from() {
    for (group, resource, operation, matters) in [
        ("", "pods", "CREATE", true),
        // A pod's spec stays as it is.
        ("", "pods", "UPDATE", false),
        ("", "replicationcontrollers", "CREATE", true),
        ("apps", "deployments", "CREATE", true),
        ("apps", "deployments", "UPDATE", true),
        ("apps", "deployments", "DELETE", false),
        ("apps", "deployments/scale", "UPDATE", false),
        ("apps", "statefulsets", "CREATE", true),
        ("apps", "daemonsets", "CREATE", true),
        ("apps", "replicasets", "CREATE", true),
        ("apps", "controllerrevisions", "CREATE", false),
        ("batch", "jobs", "CREATE", true),
        ("batch", "cronjobs", "*", true),
        ("*", "cronjobs", "CREATE", true),
        ("apps", "*", "CREATE", true),
        ("apps", "pods", "CREATE", false),
        ("example.org", "deployments", "CREATE", false),
    ] {
        let rule =
            json!({ "apiGroups": [group], "resources": [resource], "operations": [operation] });
        let mut objects = good();
        let mut hook = webhook(json!({}), json!([]));
        hook["webhooks"][0]["rules"] = json!([rule]);
        objects.webhooks = vec![hook];
        let expected = if matters {
            vec![codes::cluster::MUTATING_WEBHOOK]
        } else {
            vec![]
        };
        assert_eq!(codes_of(&objects), expected, "webhook {rule}");
        objects.webhooks.clear();
        objects.admission_policies = vec![policy("p", rule.clone())];
        assert_eq!(codes_of(&objects), expected, "policy {rule}");
    }
}

fn policy(name: &str, rule: Value) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "matchConstraints": { "resourceRules": [rule] } },
    })
}

#[test]
fn admission_policies_are_read_at_every_version_and_named_once() {
    let rule =
        || json!({ "apiGroups": ["batch"], "resources": ["jobs"], "operations": ["CREATE"] });
    let [v1, v1beta1, v1alpha1] = admission::POLICY_VERSIONS;
    for version in [v1, v1beta1, v1alpha1] {
        let mut objects = good();
        objects.admission_policies =
            admission::policies(vec![(version, vec![policy("a", rule())])]);
        let (_, findings) = examine(&objects, &expected());
        let about = findings[0].resource.as_ref().unwrap();
        assert_eq!(
            about.api_version,
            format!("admissionregistration.k8s.io/{version}")
        );
        assert!(findings[0].message.contains("jobs"), "{findings:?}");
    }
    // What a server has at two versions is one policy.
    let mut objects = good();
    objects.admission_policies = admission::policies(vec![
        (v1, vec![policy("a", rule())]),
        (v1beta1, vec![policy("a", rule()), policy("b", rule())]),
        (v1alpha1, vec![]),
    ]);
    assert_eq!(codes_of(&objects), [codes::cluster::MUTATING_WEBHOOK; 2]);
    let elsewhere = json!({ "matchLabels": { "team": "b" } });
    for policy in &mut objects.admission_policies {
        policy["spec"]["matchConstraints"]["namespaceSelector"] = elsewhere.clone();
    }
    assert!(codes_of(&objects).is_empty());
}

#[test]
fn limit_ranges_matter_when_they_have_defaults() {
    let range =
        |limit: Value| json!({ "metadata": { "name": "l" }, "spec": { "limits": [limit] } });
    let mut objects = good();
    objects.limit_ranges = vec![range(json!({ "type": "Container", "max": { "cpu": "4" } }))];
    assert!(codes_of(&objects).is_empty());
    objects.limit_ranges = vec![range(
        json!({ "type": "Container", "default": { "cpu": "4" } }),
    )];
    assert_eq!(codes_of(&objects), [codes::cluster::LIMIT_RANGE]);
}

#[test]
fn pod_security_of_the_namespace_is_read() {
    for (level, expected) in [
        ("privileged", None),
        ("baseline", Some(nacre_findings::Severity::Warning)),
        ("restricted", Some(nacre_findings::Severity::Error)),
    ] {
        let mut objects = good();
        objects.namespace["metadata"]["labels"] =
            json!({ "pod-security.kubernetes.io/enforce": level });
        let (_, findings) = examine(&objects, &super::tests::expected());
        assert_eq!(findings.first().map(|f| f.severity), expected, "{level}");
    }
}

#[test]
fn a_coordinator_that_waits_is_named() {
    let mut objects = good();
    objects.coordinator = Some(json!({ "spec": { "replicas": 3 }, "status": {} }));
    let (facts, findings) = examine(&objects, &expected());
    assert_eq!(facts.coordinator, "0 of 3 ready");
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, codes::cluster::COORDINATOR_UNHEALTHY);
    assert!(
        findings[0].message.contains("do not say why"),
        "{findings:?}"
    );
    let says = |name: &str, words: &str| (name.to_owned(), Some(words.to_owned()));
    objects.coordinators = vec![
        says("coordinator-0", "sealed"),
        says("coordinator-1", "empty"),
        ("coordinator-2".to_owned(), None),
    ];
    let (facts, findings) = examine(&objects, &expected());
    assert_eq!(facts.coordinator, "0 of 3 ready, 1 sealed, 1 empty");
    let advice: Vec<&str> = findings
        .iter()
        .filter_map(|finding| finding.help.as_deref())
        .collect();
    assert_eq!(advice.len(), 3, "{findings:?}");
    assert!(advice[0].contains("nacre recover") && advice[1].contains("nacre set"));
    assert!(findings[2].message.starts_with("1 of 3"), "{findings:?}");
    objects.coordinator = None;
    assert_eq!(codes_of(&objects), [codes::cluster::COORDINATOR_UNHEALTHY]);
}

#[test]
fn a_namespace_that_is_not_there_is_named() {
    let mut objects = good();
    objects.namespace = Value::Null;
    assert_eq!(codes_of(&objects), [codes::cluster::NAMESPACE_MISSING]);
    // Who deploys may make it.
    let (_, findings) = examine(&objects, &expected());
    assert!(
        findings
            .iter()
            .all(|finding| finding.severity == nacre_findings::Severity::Warning)
    );
}
