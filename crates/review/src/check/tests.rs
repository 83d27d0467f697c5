use nacre_findings::Code;
use serde_json::json;

use super::*;
use crate::fixture::{Fixture, sources, summary};

/// Checks text against the manifest of the rendered deployment.
fn checked(fixture: &Fixture, text: &str, manifest: &Manifest) -> Vec<Finding> {
    check(&sources(text), &fixture.options(), Some(manifest)).findings
}

/// Renders, changes the output, checks.
fn after(edits: &[(&str, &str)]) -> Vec<Finding> {
    let fixture = Fixture::new();
    let (mut text, outcome) = fixture.rendered();
    for (from, to) in edits {
        assert!(text.contains(from), "{from} in {text}");
        text = text.replace(from, to);
    }
    checked(&fixture, &text, &outcome.manifest.unwrap())
}

fn codes_of(findings: &[Finding]) -> Vec<Code> {
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn what_was_rendered_passes() {
    assert_eq!(summary(&after(&[])), Vec::<String>::new());
}

#[test]
fn hand_edits_of_the_manifest_are_no_difference() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let mut manifest = outcome.manifest.unwrap();
    for entry in manifest.policies.values_mut() {
        entry.sans.push("203.0.113.34".to_owned());
    }
    assert_eq!(
        summary(&checked(&fixture, &text, &manifest)),
        Vec::<String>::new()
    );
}

#[test]
fn a_pod_that_was_never_rendered_is_found() {
    let fixture = Fixture::new();
    let (_, outcome) = fixture.rendered();
    let text =
        crate::fixture::INPUT.replace("COORDINATOR", nacre_workload::names::COORDINATOR_IMAGE);
    let findings = checked(&fixture, &text, &outcome.manifest.unwrap());
    let expected = [
        codes::PLACEHOLDER_LEFT,
        codes::POLICY_MISSING,
        codes::UNPINNED_IMAGE,
        codes::PLACEHOLDER_LEFT,
        codes::POLICY_MISSING,
        codes::UNPINNED_IMAGE,
    ];
    assert_eq!(codes_of(&findings), expected, "{findings:#?}");
    let place = &findings[3];
    assert_eq!(
        place.message,
        "shop/Deployment/web still has the placeholder contrast-cc"
    );
    assert_eq!(
        place.field.as_deref(),
        Some("spec.template.spec.runtimeClassName")
    );
    assert_eq!(
        (place.location.file.as_deref(), place.location.line),
        (Some("all.yml"), Some(32))
    );
}

#[test]
fn a_changed_pod_no_longer_fits_its_policy() {
    let findings = after(&[("value: info", "value: debug")]);
    let stale = &findings[0];
    assert_eq!(stale.code, codes::STALE_POLICY);
    assert_eq!(
        stale.message,
        "the policy of shop/Deployment/web is not the one that its pod gives"
    );
    let help = stale.help.as_deref().unwrap();
    assert!(
        help.contains("the policy has") && help.contains(r#""LOG_LEVEL": "=info""#),
        "{help}"
    );
    assert!(
        help.contains("the pod gives") && help.contains(r#""LOG_LEVEL": "=debug""#),
        "{help}"
    );
    assert_eq!(stale.resource.as_ref().unwrap().name, "web");
    // The manifest is that of the pods as rendered, so it does not fit either.
    assert_eq!(codes_of(&findings[1..]), [codes::STALE_MANIFEST]);
}

#[test]
fn a_removed_initializer_is_named() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let stream = nacre_krm::Stream::parse(text).unwrap();
    let mut web = stream.documents()[1].value(&Path::root()).unwrap();
    let spec = web
        .pointer_mut("/spec/template/spec")
        .unwrap()
        .as_object_mut()
        .unwrap();
    assert!(spec.shift_remove("initContainers").is_some());
    let text = format!("{}---\n{web}\n", stream.documents()[0].text());
    let findings = checked(&fixture, &text, &outcome.manifest.unwrap());
    // The policy in the annotation is still the right one for the right pod.
    assert_eq!(codes_of(&findings), [codes::NOT_RENDERED], "{findings:#?}");
    let help = findings[0].help.as_deref().unwrap();
    assert!(
        help.contains("+ init container contrast-initializer"),
        "{help}"
    );
}

#[test]
fn an_image_that_lost_its_digest_is_found() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let at = text.find("app:v1@sha256:").unwrap() + "app:v1".len();
    let mut text = text;
    text.replace_range(at..at + "@sha256:".len() + 64, "");
    let findings = checked(&fixture, &text, &outcome.manifest.unwrap());
    assert_eq!(codes_of(&findings), [codes::UNPINNED_IMAGE]);
    assert_eq!(
        findings[0].current.as_deref(),
        Some("registry.example.org/app:v1")
    );
}

#[test]
fn policies_that_cannot_be_read_or_belong_elsewhere_are_found() {
    let key = "io.katacontainers.config.hypervisor.cc_init_data: ";
    let broken = after(&[(key, &format!("{key}AAAA"))]);
    assert_eq!(codes_of(&broken)[..2], [codes::POLICY_UNREADABLE; 2]);

    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let manifest = outcome.manifest.unwrap();
    let stream = nacre_krm::Stream::parse(text.as_str()).unwrap();
    let set = read(&sources(&text), &fixture.config);
    let web = set
        .objects
        .iter()
        .find(|object| object.resource.name == "web")
        .unwrap();
    let decoded = web.policy().unwrap().1.unwrap();
    let in_other = Carrier::AgentPolicy.pack(&decoded.policy);
    let annotated = |carried: &nacre_policy::Carried| {
        let mut value = web.value.clone();
        let annotations = value
            .pointer_mut("/spec/template/metadata/annotations")
            .unwrap();
        *annotations = json!({ carried.annotation_key: carried.annotation_value });
        format!("{}---\n{value}\n", stream.documents()[0].text())
    };
    let wrong = checked(&fixture, &annotated(&in_other), &manifest);
    assert_eq!(codes_of(&wrong), [codes::WRONG_CARRIER], "{wrong:#?}");

    let foreign = Carrier::InitData
        .pack("package agent_policy\ndefault AllowRequestsFailingPolicy := true\n");
    let foreign = checked(&fixture, &annotated(&foreign), &manifest);
    assert_eq!(codes_of(&foreign), [codes::FOREIGN_RULES], "{foreign:#?}");
}

#[test]
fn a_runtime_class_of_another_version_is_found() {
    let class = nacre_platform::find("metal-qemu-snp")
        .unwrap()
        .runtime_class_name();
    let findings = after(&[(&class, "contrast-cc-metal-qemu-snp-00000000")]);
    let outdated: Vec<_> = findings
        .iter()
        .filter(|f| f.code == codes::OUTDATED_RUNTIME_CLASS)
        .collect();
    assert_eq!(outdated.len(), 2);
    assert_eq!(outdated[0].proposed.as_deref(), Some(class.as_str()));
}

#[test]
fn a_selected_pod_without_runtime_class_is_found() {
    let fixture = Fixture::with(json!({ "selectors": [{ "labels": { "tier": "front" } }] }));
    let (text, outcome) = fixture.rendered();
    let class = nacre_platform::find("metal-qemu-snp")
        .unwrap()
        .runtime_class_name();
    let at = text.rfind(&class).unwrap();
    let mut text = text;
    text.replace_range(at..at + class.len(), "runc");
    let findings = checked(&fixture, &text, &outcome.manifest.unwrap());
    assert_eq!(findings[0].code, codes::POLICY_MISSING);
    assert_eq!(
        findings[0].message,
        "shop/Deployment/web is selected, but was not made confidential"
    );
}

#[test]
fn a_manifest_that_is_stale_or_absent_is_found() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let manifest = outcome.manifest.unwrap();

    let mut lacking = manifest.clone();
    lacking.policies.retain(|_, entry| entry.is_coordinator());
    let findings = checked(&fixture, &text, &lacking);
    assert_eq!(
        summary(&findings),
        ["NCR0805 the manifest lacks shop/Deployment/web"]
    );

    let mut open = manifest.clone();
    open.insecure_unbound_first_set = true;
    let findings = checked(&fixture, &text, &open);
    assert_eq!(
        summary(&findings),
        ["NCR0805 the manifest says something else about deployment"]
    );
    assert!(
        findings[0]
            .help
            .as_deref()
            .unwrap()
            .contains("InsecureUnboundFirstSet: true → false")
    );

    let none = check(&sources(&text), &fixture.options(), None).findings;
    assert_eq!(codes_of(&none), [codes::MANIFEST_NOT_FOUND]);
    assert!(has_errors(&none));
}

#[test]
fn a_part_of_a_deployment_can_be_checked() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let coordinator = text.split("---\n").next().unwrap();
    let findings = checked(&fixture, coordinator, outcome.manifest.as_ref().unwrap());
    assert_eq!(
        summary(&findings),
        ["NCR0805 the manifest lists shop/Deployment/web, which is not needed here"]
    );
    assert!(!has_errors(&findings));

    let strict = Fixture::with(json!({
        "strict": true,
        "referenceValues": [{
            "product": "Genoa",
            "trustedMeasurement": "ab".repeat(48),
            "minimumTcb": { "bootloader": 10, "tee": 0, "snp": 27, "microcode": 84 },
        }],
    }));
    let (text, outcome) = strict.rendered();
    let coordinator = text.split("---\n").next().unwrap();
    let findings = checked(&strict, coordinator, outcome.manifest.as_ref().unwrap());
    assert_eq!(
        summary(&findings),
        ["NCR0805 the manifest lists shop/Deployment/web, which is not needed here"]
    );
    assert!(has_errors(&findings));
}

#[test]
fn a_manifest_among_the_resources_is_found_by_itself() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let manifest = String::from_utf8(outcome.manifest.unwrap().to_bytes()).unwrap();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "nacre-manifest" },
        "data": { "manifest.json": manifest },
    });
    let text = format!("{text}---\n{map}\n");
    assert_eq!(
        summary(&check(&sources(&text), &fixture.options(), None).findings),
        Vec::<String>::new()
    );
}

#[test]
fn nothing_to_check_is_an_error() {
    let findings = after(&[("contrast-cc", "runc")]);
    assert_eq!(codes_of(&findings), [codes::NOTHING_TO_CHECK]);
}

#[test]
fn a_pod_in_a_kind_that_is_not_known_is_forgotten() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let manifest = outcome.manifest.unwrap();
    let rollout = "\
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: forgotten, namespace: shop}
spec:
  template:
    spec:
      runtimeClassName: contrast-cc
      containers: [{name: app, image: app}]
";
    let forgotten = format!("{text}{rollout}");
    let findings = checked(&fixture, &forgotten, &manifest);
    let code = nacre_findings::codes::generate::UNCLAIMED_POD;
    assert_eq!(codes_of(&findings), [code]);
    assert_eq!(findings[0].severity, Severity::Error);
    // Another runtime class is none of ours.
    let other = forgotten.replace(
        "runtimeClassName: contrast-cc\n",
        "runtimeClassName: kata\n",
    );
    assert_eq!(checked(&fixture, &other, &manifest), []);
}

#[test]
fn duplicates_and_images_that_are_not_locked_are_reported_as_generating_does() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let manifest = outcome.manifest.unwrap();
    let web = text.split("---\n").nth(1).unwrap();
    let twice = format!("{text}---\n{}", web.replace("value: info", "value: debug"));
    let findings = checked(&fixture, &twice, &manifest);
    let duplicate = nacre_findings::codes::generate::DUPLICATE_WORKLOAD;
    assert!(codes_of(&findings).contains(&duplicate), "{findings:#?}");

    let empty = nacre_imagelock::ImageLock::default();
    let options = Options {
        lock: &empty,
        ..fixture.options()
    };
    let findings = check(&sources(&text), &options, Some(&manifest)).findings;
    assert!(has_errors(&findings));
    assert!(
        findings
            .iter()
            .all(|finding| finding.code.number() / 100 == 3),
        "{findings:#?}"
    );
}

#[test]
fn owners_that_only_the_manifest_names_are_taken_from_it() {
    let fixture = Fixture::new();
    let (text, outcome) = fixture.rendered();
    let manifest = outcome.manifest.unwrap();
    let mut silent = Fixture::new();
    silent.config.workload_owners.clear();
    // The Coordinator's policy pins them, so rendering without would give another one.
    assert_eq!(
        summary(&checked(&silent, &text, &manifest)),
        Vec::<String>::new()
    );

    let other = Fixture::with(json!({ "workloadOwners": [{ "digest": "cd".repeat(32) }] }));
    let found = codes_of(&checked(&other, &text, &manifest));
    assert!(found.contains(&codes::STALE_POLICY) && found.contains(&codes::STALE_MANIFEST));

    let mut nobody = manifest;
    nobody.workload_owner_key_digests.clear();
    let config = with_owners(&silent.config, Some(&nobody));
    assert!(config.disable_updates && config.workload_owners.is_empty());
    assert_eq!(with_owners(&fixture.config, Some(&nobody)), fixture.config);
}
