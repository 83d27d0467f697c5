use nacre_findings::Severity;
use serde_json::json;

use super::*;
use crate::fixture::{Fixture, sources, summary};

#[test]
fn building_gives_the_manifest_that_rendering_gave() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let (manifest, _) = build(&sources(&text), &fixture.options()).unwrap();
    assert_eq!(manifest.to_bytes(), outcome.manifest.unwrap().to_bytes());

    let parts: Vec<&str> = text.split("---\n").collect();
    let reversed = format!("{}---\n{}", parts[1], parts[0]);
    let (other, _) = build(&sources(&reversed), &fixture.options()).unwrap();
    assert_eq!(other, manifest, "the order does not matter");
}

#[test]
fn building_refuses_pods_that_are_not_as_rendered() {
    let fixture = Fixture::new();
    let (text, _) = fixture.rendered();
    let findings = build(
        &sources(&text.replace("value: info", "value: x")),
        &fixture.options(),
    )
    .unwrap_err();
    let errors: Vec<_> = findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .collect();
    assert_eq!(
        summary(&errors),
        ["NCR0801 shop/Deployment/web does not carry the policy that its pod gives"]
    );
}

fn set(text: &str) -> RenderedSet {
    check::read(&sources(text), &Fixture::new().config)
}

fn config_map(name: &str, manifest: &str) -> String {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
        "data": { "manifest.json": manifest },
    });
    format!("---\n{map}\n")
}

#[test]
fn a_manifest_is_found_in_either_form_and_under_a_changed_name() {
    let manifest = Manifest {
        coordinator_replicas: 3,
        ..Manifest::default()
    };
    let text = String::from_utf8(manifest.to_bytes()).unwrap();
    for name in [
        "nacre-manifest",
        "prod-nacre-manifest",
        "nacre-manifest-5h2k9d",
    ] {
        let found = extract(&set(&config_map(name, &text))).unwrap().unwrap();
        assert_eq!(found.manifest, manifest);
        assert_eq!(
            found.bytes,
            text.as_bytes(),
            "the identity is that of the bytes"
        );
    }
    let object = manifest.to_object("nacre-manifest", &std::collections::BTreeMap::new());
    let found = extract(&set(&object.to_string())).unwrap().unwrap();
    assert_eq!(found.manifest, manifest);
    assert!(
        extract(&set(&config_map("other", &text)))
            .unwrap()
            .is_none()
    );
}

#[test]
fn two_manifests_must_be_the_same() {
    let one = String::from_utf8(Manifest::default().to_bytes()).unwrap();
    let other = Manifest {
        coordinator_replicas: 3,
        ..Manifest::default()
    };
    let other = String::from_utf8(other.to_bytes()).unwrap();
    let same = format!(
        "{}{}",
        config_map("nacre-manifest", &one),
        config_map("b-nacre-manifest", &one)
    );
    assert!(extract(&set(&same)).unwrap().is_some());
    let different = format!(
        "{}{}",
        config_map("nacre-manifest", &one),
        config_map("b-nacre-manifest", &other)
    );
    let findings = extract(&set(&different)).unwrap_err();
    assert_eq!(findings[0].code, codes::manifest::MERGE_CONFLICT);
    assert_eq!(
        findings[0].resource.as_ref().unwrap().name,
        "b-nacre-manifest"
    );
}

#[test]
fn a_manifest_that_cannot_be_read_is_an_error_with_its_place() {
    let findings = extract(&set(&config_map("nacre-manifest", "{}"))).unwrap_err();
    assert_eq!(
        summary(&findings),
        ["NCR0603 not a manifest: apiVersion is missing"]
    );
    assert_eq!(
        findings[0].field.as_deref(),
        Some("data[\"manifest.json\"]")
    );
}

#[test]
fn merging_reports_what_contradicts() {
    let one = Manifest::default();
    let other = Manifest {
        peer_recovery: true,
        ..Manifest::default()
    };
    let sources = [
        MergeSource {
            name: "a.json",
            manifest: &one,
        },
        MergeSource {
            name: "b.json",
            manifest: &other,
        },
    ];
    let findings = merge(&sources).unwrap_err();
    assert_eq!(findings[0].field.as_deref(), Some("PeerRecovery"));
    assert_eq!(
        findings[0].help.as_deref(),
        Some("a.json and b.json must say the same")
    );
    assert_eq!(merge(&sources[..1]).unwrap(), one);
}

#[test]
fn an_unknown_field_comes_with_those_that_there_are_if_any() {
    let help = |known: &[&str]| {
        let error = nacre_manifest::Error::FieldUnknown {
            path: "policies".to_owned(),
            known: known.iter().copied().map(str::to_owned).collect(),
        };
        unreadable_text(
            &error,
            "{\"policies\": {}}",
            Location::file("manifest.json"),
        )
        .help
    };
    assert_eq!(
        help(&["Policies", "x"]).as_deref(),
        Some("did you mean `Policies`?")
    );
    assert_eq!(help(&["x", "y"]).as_deref(), Some("there are x, y"));
    assert_eq!(help(&[]), None);
}

#[test]
fn codes_of_other_crates_are_registered() {
    // Crates below findings give numbers only; each must be documented.
    let manifest = 601..=606;
    let problems = 610..=622;
    let config = 201..=206;
    for number in manifest.chain(problems).chain(config) {
        assert!(codes::Code::new(number).info().is_some(), "NCR{number:04}");
    }
}
