//! Rules that a golden file shows but does not explain.

use nacre_findings::Severity;
use nacre_manifest::ReferenceValues;
use serde_json::{Value, json};

use crate::{Case, manifest_text, written};

fn case(name: &str) -> Case {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases")
        .join(name);
    Case::read(&folder)
}

fn environment(object: &Value, container: &str) -> Vec<(String, String)> {
    let containers = object["spec"]["template"]["spec"]["initContainers"]
        .as_array()
        .unwrap();
    let found = containers.iter().find(|c| c["name"] == container).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let env = found["env"].as_array().unwrap();
    env.iter()
        .map(|e| (text(&e["name"]), text(&e["value"])))
        .collect()
}

/// SECURITY-DESIGN 20: the initializer knows the hash and the reference values of the Coordinator
/// that is rendered along, and the workload's own policy pins both.
#[test]
fn the_coordinators_hash_flows_into_every_initializer() {
    let case = case("basic");
    let (outcome, _) = case.run(&case.input);
    let coordinator = outcome.policies.iter().find(|p| p.coordinator).unwrap();
    let web = outcome.policies.iter().find(|p| !p.coordinator).unwrap();
    let (_, _, object) = outcome
        .edits
        .iter()
        .find(|(_, at, _)| *at == web.object)
        .unwrap();
    let env = environment(object, "contrast-initializer");
    let hash = coordinator.hash.to_string();
    assert!(env.contains(&("NACRE_COORDINATOR_POLICY_HASH".to_owned(), hash.clone())));
    let (_, reference) = env
        .iter()
        .find(|(name, _)| name == "NACRE_COORDINATOR_REFERENCE")
        .unwrap();
    // Shorter than in the manifest, and the same to whoever reads it.
    let manifest = outcome.manifest.as_ref().unwrap();
    let read: ReferenceValues = serde_json::from_str(reference).unwrap();
    assert_eq!(read, manifest.reference_values);
    assert!(text(web).contains(&hash));
}

/// SECURITY-DESIGN 7: owners are measured into the Coordinator, and nothing of `Policies` is.
#[test]
fn the_coordinators_policy_pins_the_owners_and_no_workload() {
    let case = case("basic");
    let (outcome, _) = case.run(&case.input);
    let coordinator = outcome.policies.iter().find(|p| p.coordinator).unwrap();
    let digest = case.config.workload_owners[0].to_string();
    assert!(text(coordinator).contains(&format!("\"NACRE_OWNERS\": \"=1:{digest}\"")));
    let mut alone = self::case("basic");
    let stream = nacre_krm::Stream::parse(alone.input.clone()).unwrap();
    let at = stream
        .objects()
        .into_iter()
        .find(|at| *at == coordinator.object)
        .unwrap();
    alone.input = nacre_krm::emit(&stream.documents()[at.document].value(&at.base).unwrap());
    let (only, _) = alone.run(&alone.input);
    assert_eq!(only.policies[0].hash, coordinator.hash);
}

/// SECURITY-DESIGN 33: the value of a Secret stands in the Secret and nowhere else.
#[test]
fn a_secrets_value_is_nowhere_else() {
    let case = case("config-map-and-secret");
    let (outcome, stream) = case.run(&case.input);
    let forms = ["dGhlLXNlY3JldC12YWx1ZQ==", "the-secret-value"];
    let output = written(&outcome, &stream);
    let findings = serde_json::to_string(&outcome.findings).unwrap();
    let policies: String = outcome.policies.iter().map(text).collect();
    for form in forms {
        assert_eq!(
            output.matches(form).count(),
            case.input.matches(form).count(),
            "{form}"
        );
        for (name, text) in [
            ("findings", &findings),
            ("policies", &policies),
            ("manifest", &manifest_text(&outcome)),
        ] {
            assert!(!text.contains(form), "{name}");
        }
    }
    for (_, _, object) in &outcome.edits {
        assert!(!object.to_string().contains(forms[0]));
    }
    // The ConfigMap was found under the name kustomize gave up.
    assert!(policies.contains("\"TITLE\": \"=The shop"));
}

#[test]
fn annotations_beyond_what_an_object_may_have_are_an_error() {
    // What lies beside the policy in the pod template counts with it.
    for (length, fits) in [(200_000, true), (260_000, false)] {
        let mut case = case("basic");
        let note = format!(
            "labels: {{app: web}}\n      annotations: {{note: {}}}",
            "n".repeat(length)
        );
        case.input = case.input.replacen("labels: {app: web}", &note, 1);
        let (outcome, _) = case.run(&case.input);
        let errors = outcome
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error);
        let codes: Vec<_> = errors.clone().map(|f| f.code.to_string()).collect();
        let expected: &[&str] = if fits { &[] } else { &["NCR0515"] };
        assert_eq!(codes, expected, "{:?}", outcome.findings);
        for finding in errors {
            assert!(finding.resource.is_some() && finding.location.line.is_some());
        }
    }
}

/// The same policy whatever the indentation, comments and key order of the input.
#[test]
fn text_does_not_reach_the_policy() {
    let case = case("basic");
    let (outcome, _) = case.run(&case.input);
    let stream = nacre_krm::Stream::parse(case.input.clone()).unwrap();
    let plain: Vec<_> = stream
        .objects()
        .iter()
        .map(|at| {
            stream.documents()[at.document]
                .value(&at.base)
                .unwrap()
                .to_string()
        })
        .collect();
    let (other, _) = case.run(&plain.join("\n---\n"));
    assert_eq!(crate::hashes(&other), crate::hashes(&outcome));
    assert_eq!(manifest_text(&other), manifest_text(&outcome));
}

/// SECURITY-DESIGN 17: hand edits come over by identity, and each is told.
#[test]
fn hand_edits_of_the_previous_manifest_are_kept_and_told() {
    let mut case = case("basic");
    let (outcome, _) = case.run(&case.input);
    let mut previous = outcome.manifest.unwrap();
    let web = previous
        .policies
        .values_mut()
        .find(|entry| !entry.is_coordinator())
        .unwrap();
    web.sans.push("shop.example.org".to_owned());
    case.previous = Some(previous);
    let (again, _) = case.run(&case.input);
    let web = again
        .manifest
        .as_ref()
        .unwrap()
        .policies
        .values()
        .find(|e| !e.is_coordinator());
    assert!(web.unwrap().sans.contains(&"shop.example.org".to_owned()));
    let told = again
        .findings
        .iter()
        .filter(|f| f.code == nacre_findings::codes::generate::CARRIED_EDIT);
    assert_eq!(told.count(), 1);
}

/// A filled-in measurement of the previous manifest reaches the initializers too.
#[test]
fn a_carried_measurement_reaches_the_initializers() {
    let mut case = case("reference-values-missing");
    let (outcome, _) = case.run(&case.input);
    let mut previous = outcome.manifest.unwrap();
    let measurement = "7".repeat(96);
    for set in &mut previous.reference_values.snp {
        set.trusted_measurement = Some(measurement.parse().unwrap());
    }
    case.previous = Some(previous);
    let (again, _) = case.run(&case.input);
    let web = again.policies.iter().find(|p| !p.coordinator).unwrap();
    let (_, _, object) = again
        .edits
        .iter()
        .find(|(_, at, _)| *at == web.object)
        .unwrap();
    let env = environment(object, "contrast-initializer");
    let (_, reference) = env
        .iter()
        .find(|(name, _)| name == "NACRE_COORDINATOR_REFERENCE")
        .unwrap();
    assert!(reference.contains(&measurement));
}

/// What a finding about an injected-before container says is the place in the input.
#[test]
fn findings_point_into_the_input() {
    let mut case = case("basic");
    case.input = case.input.replace(
        "      containers:\n        - name: app",
        "      initContainers:\n        - name: first\n          image: registry.example.org/unknown:v1\n      containers:\n        - name: app",
    );
    let (outcome, _) = case.run(&case.input);
    let finding = &outcome
        .findings
        .iter()
        .find(|f| f.code == nacre_findings::codes::lock::IMAGE_NOT_LOCKED)
        .unwrap();
    assert_eq!(
        finding.field.as_deref(),
        Some("spec.template.spec.initContainers[0].image")
    );
    let line = case
        .input
        .lines()
        .position(|l| l.contains("unknown:v1"))
        .unwrap()
        + 1;
    assert_eq!(finding.location.line, u32::try_from(line).ok());
    assert_eq!(finding.location.file.as_deref(), Some("input.yaml"));
}

/// An item of a ResourceList is shown with its file, not with a line of the stream.
#[test]
fn items_are_shown_with_their_files() {
    let case = case("basic");
    let list = nacre_krm::emit(&json!({
        "apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList",
        "items": [{
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "annotations": {
                "config.kubernetes.io/path": "app/pod.yaml", "config.kubernetes.io/index": "2",
            }},
            "spec": {"runtimeClassName": "contrast-cc", "containers": []},
        }],
    }));
    let stream = nacre_krm::Stream::parse(list).unwrap();
    let source = nacre_generate::Source { file: None, stream };
    let options = nacre_generate::Options::new(&case.config, &case.lock);
    let outcome = nacre_generate::generate(&[source], &options);
    let finding = outcome
        .findings
        .iter()
        .find(|f| f.code.number() == 401)
        .unwrap();
    assert_eq!(finding.location.file.as_deref(), Some("app/pod.yaml"));
    assert_eq!(
        (finding.location.index, finding.location.line),
        (Some(2), None)
    );
}

/// The text of a policy; the cases ask for it.
fn text(policy: &nacre_generate::GeneratedPolicy) -> &str {
    policy.text.as_deref().unwrap()
}
