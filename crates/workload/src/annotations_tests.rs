//! Annotations as people write them.

use serde_json::json;

use super::*;

fn read(object: Value, template: Value) -> (Annotations, Vec<Finding>) {
    let object = json!({
        "metadata": {"annotations": object},
        "spec": {"template": {"metadata": {"annotations": template}}}
    });
    Annotations::read(&object, &TemplatePath::new(["spec", "template"]))
}

#[test]
fn both_places_and_both_prefixes_are_read() {
    let (annotations, findings) = read(
        json!({"contrast.edgeless.systems/skip-initializer": "true", "nacre.dev/sans": "a.example, 192.0.2.1,"}),
        json!({"nacre.dev/servicemesh-strict-egress": "true", "contrast.edgeless.systems/servicemesh-admin-interface-port": "9901"}),
    );
    assert_eq!(findings, []);
    assert!(annotations.skip_initializer && annotations.strict_egress);
    assert_eq!(annotations.sans.unwrap().value, ["a.example", "192.0.2.1"]);
    let port = annotations.admin_port.unwrap();
    assert_eq!(port.value, 9901);
    assert_eq!(
        port.field,
        "spec.template.metadata.annotations[\"contrast.edgeless.systems/servicemesh-admin-interface-port\"]"
    );
}

#[test]
fn the_same_value_twice_is_no_conflict_and_the_template_wins() {
    let (annotations, findings) = read(
        json!({"nacre.dev/servicemesh-ingress": "a#1#true"}),
        json!({"contrast.edgeless.systems/servicemesh-ingress": "a#1#true"}),
    );
    assert_eq!(findings, []);
    assert!(
        annotations
            .ingress
            .unwrap()
            .field
            .starts_with("spec.template")
    );
}

#[test]
fn contradictions_are_errors() {
    for (object, template) in [
        (
            json!({"nacre.dev/pod-role": "coordinator", "contrast.edgeless.systems/pod-role": "x"}),
            json!({}),
        ),
        (
            json!({"nacre.dev/servicemesh-egress": "a"}),
            json!({"nacre.dev/servicemesh-egress": "b"}),
        ),
    ] {
        let (_, findings) = read(object, template);
        assert_eq!(findings[0].code, codes::ANNOTATION_CONFLICT);
    }
}

#[test]
fn values_are_checked() {
    for annotations in [
        json!({"nacre.dev/skip-initializer": "yes"}),
        json!({"nacre.dev/pod-role": "worker"}),
        json!({"nacre.dev/servicemesh-admin-interface-port": "65536"}),
        json!({"nacre.dev/servicemesh-admin-interface-port": "+80"}),
        json!({"nacre.dev/start-gate": "on"}),
        json!({"nacre.dev/renew-seconds": "9"}),
        json!({"nacre.dev/renew-seconds": "2592001"}),
        json!({"nacre.dev/renew-seconds": "+60"}),
        json!({"nacre.dev/renew-seconds": "1h"}),
        json!({"nacre.dev/workload-secret-id": ""}),
        json!({"nacre.dev/skip-initializer": true}),
    ] {
        let (_, findings) = read(annotations.clone(), json!({}));
        assert_eq!(findings.len(), 1, "{annotations}");
        assert_eq!(findings[0].code, codes::ANNOTATION_VALUE, "{annotations}");
    }
}

#[test]
fn a_misspelt_name_is_not_silently_ignored() {
    let (annotations, findings) = read(
        json!({"contrast.edgeless.systems/service-mesh-ingress": "a#1#true"}),
        json!({}),
    );
    assert!(!annotations.wants_mesh());
    assert_eq!(findings[0].code, codes::ANNOTATION_UNKNOWN);
    assert_eq!(
        findings[0].help.as_deref(),
        Some("did you mean contrast.edgeless.systems/servicemesh-ingress?")
    );
    let (_, findings) = read(json!({"contrast.edgeless.systems/sans": "x"}), json!({}));
    assert_eq!(
        findings[0].help.as_deref(),
        Some("did you mean nacre.dev/sans?")
    );
    let (_, findings) = read(
        json!({"contrast.edgeless.systems/secure-pv": "a:b"}),
        json!({}),
    );
    assert_eq!(findings[0].code, codes::ANNOTATION_UNSUPPORTED);
}

#[test]
fn a_setting_of_the_mesh_needs_the_mesh() {
    let field = |name: &str| format!("metadata.annotations[\"nacre.dev/{name}\"]");
    for (name, value) in [
        ("servicemesh-ingress-allow", "*=a/B/c"),
        ("servicemesh-egress-peer", "backend=a/B/c"),
        ("servicemesh-inbound-udp", "drop"),
        ("servicemesh-strict-egress", "true"),
    ] {
        let annotations = json!({format!("nacre.dev/{name}"): value});
        let (_, findings) = read(annotations.clone(), json!({}));
        assert_eq!(findings.len(), 1, "{annotations}");
        assert_eq!(findings[0].code, codes::MESH_NOT_ASKED_FOR);
        assert_eq!(findings[0].field, Some(field(name)));
        for mesh in ["ingress", "egress", "admin-interface-port"] {
            let mesh = json!({format!("nacre.dev/servicemesh-{mesh}"): "9901"});
            let (_, findings) = read(annotations.clone(), mesh);
            assert_eq!(findings, [], "{annotations}");
        }
    }
    // What holds without the mesh too.
    for annotations in [
        json!({"nacre.dev/servicemesh-inbound-udp": "allow"}),
        json!({"nacre.dev/servicemesh-strict-egress": "false"}),
    ] {
        assert_eq!(read(annotations, json!({})).1, []);
    }
}

#[test]
fn the_coordinator_is_not_in_the_mesh() {
    let role = json!({"nacre.dev/pod-role": "coordinator"});
    for (name, value) in [
        ("servicemesh-ingress", ""),
        ("servicemesh-egress", "backend#127.0.0.2:4001#backend:3000"),
        ("servicemesh-admin-interface-port", "9901"),
        ("servicemesh-strict-egress", "true"),
    ] {
        let annotations = json!({format!("contrast.edgeless.systems/{name}"): value});
        let own = json!({format!("nacre.dev/{name}"): value});
        for annotations in [annotations, own] {
            let (read, findings) = read(annotations.clone(), role.clone());
            if !read.wants_mesh() && !read.strict_egress {
                // The prefix of Contrast has no such annotation.
                assert_eq!(findings[0].code, codes::ANNOTATION_UNKNOWN);
                continue;
            }
            assert_eq!(findings.len(), 1, "{annotations}");
            assert_eq!(findings[0].code, codes::MESH_NOT_ASKED_FOR);
            assert!(findings[0].message.contains("Coordinator"));
        }
    }
}

#[test]
fn a_domain_that_is_nearly_ours_is_said() {
    let (_, findings) = read(
        json!({
            "contrast.edgeless.system/servicemesh-ingress": "",
            "nacre.dv/sans": "a",
            "example.org/sans": "b",
            "contrast.example.org/servicemesh-ingress": "",
        }),
        json!({}),
    );
    let help: Vec<_> = findings
        .iter()
        .map(|f| f.help.as_deref().unwrap())
        .collect();
    assert_eq!(
        help,
        [
            "did you mean contrast.edgeless.systems/servicemesh-ingress?",
            "did you mean nacre.dev/sans?"
        ]
    );
}

#[test]
fn a_pod_is_read_once() {
    let object = json!({"metadata": {"annotations": {"nacre.dev/pod-role": "coordinator"}}});
    let root = TemplatePath::new([]);
    let (annotations, findings) = Annotations::read(&object, &root);
    assert!(annotations.coordinator && findings.is_empty());
    assert!(is_coordinator(&object, &root));
}
