//! Stage 7: the manifest, and the item that carries it.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::{Code, Finding, Severity, codes::generate as codes, has_errors};
use nacre_fnconfig::{Confidential, ManifestOutput};
use nacre_krm::Path;
use nacre_manifest::{
    Manifest, PolicyEntry, PolicyHash, Problem, ProblemKind, Profile, ReferenceValues, Role,
    SnpReference, Strictness,
};
use nacre_workload::names::{MANIFEST_CONFIG_MAP, MANIFEST_KEY, MANIFEST_PATH};
use serde_json::{Map, Value, json};

use crate::coordinator;
use crate::options::Options;
use crate::place::Place;
use crate::stage::Finished;

/// The manifest of the finished workloads.
pub(crate) fn build(
    finished: &[Finished<'_>],
    options: &Options<'_>,
    findings: &mut Vec<Finding>,
) -> Manifest {
    let config = options.config;
    let mut settled = BTreeSet::new();
    let mut policies = BTreeMap::new();
    for workload in finished {
        let Some(made) = &workload.made else { continue };
        let entry = PolicyEntry {
            workload_secret_id: made.secret_id.clone(),
            role: workload.coordinator.then_some(Role::Coordinator),
            profile: (made.profile != Profile::Strict).then_some(made.profile),
            platforms: vec![made.platform.name.clone()],
            ..PolicyEntry::new(workload.identity.clone(), made.sans.clone())
        };
        if made.secret_id.is_some() {
            settled.insert(made.hash);
        }
        let earlier: Option<PolicyEntry> = policies.insert(made.hash, entry);
        if let Some(other) = earlier
            .and_then(|e| e.identity)
            .filter(|id| *id != workload.identity)
        {
            findings.push(
                Finding::error(
                    codes::POLICY_SHARED,
                    format!("{} and {other} have the same policy", workload.identity),
                )
                .help("rename one of them")
                .at(workload.place.locate("metadata.name")),
            );
        }
    }
    let mut snp = coordinator::reference_values(&coordinator::sizes(finished.iter()), options);
    if !finished.iter().any(|workload| workload.coordinator) {
        coordinators_apart(options, &mut policies, &mut snp);
    }
    let mut manifest = Manifest {
        trust_domain: config.trust_domain.clone(),
        policies,
        reference_values: ReferenceValues { snp },
        workload_owner_key_digests: config.workload_owners.clone(),
        seedshare_owner_pub_keys: config.seedshare_owners.clone(),
        update_threshold: config.update_threshold,
        recovery_threshold: config.recovery_threshold,
        coordinator_replicas: config.coordinator_replicas,
        peer_recovery: config.peer_recovery,
        allow_any_chip: config.allow_any_chip,
        ca_overlap: config.ca_overlap,
        allow_unattested_coordinator: config.allow_unattested_coordinator,
        insecure_unbound_first_set: config.insecure_unbound_first_set,
        test_root: None,
    };
    owners(config, findings);
    unused_sans(config, finished, findings);
    if let Some(previous) = options.previous {
        for edit in manifest.carry_from(previous, &settled) {
            findings.push(
                Finding::info(codes::CARRIED_EDIT, edit.to_string())
                    .help("write it into the configuration to make it last")
                    .field(edit.path),
            );
        }
    }
    // After an error something is missing here that would only repeat it.
    if !has_errors(findings.iter()) {
        problems(&manifest, config, findings);
    }
    manifest
}

/// Coordinators that the configuration names by hash.
fn coordinators_apart(
    options: &Options<'_>,
    policies: &mut BTreeMap<PolicyHash, PolicyEntry>,
    snp: &mut Vec<SnpReference>,
) {
    let coordinator = &options.config.coordinator;
    if coordinator.policy_hashes.is_empty() {
        return;
    }
    for hash in &coordinator.policy_hashes {
        policies.entry(*hash).or_insert_with(|| PolicyEntry {
            sans: vec![coordinator.host.clone(), "*".to_owned()],
            role: Some(Role::Coordinator),
            ..PolicyEntry::default()
        });
    }
    for set in coordinator::apart(options) {
        let known = snp
            .iter()
            .any(|s| s.key() == set.key() && s.trusted_measurement == set.trusted_measurement);
        if !known {
            snp.push(set);
        }
    }
}

fn owners(config: &Confidential, findings: &mut Vec<Finding>) {
    if config.workload_owners.is_empty() && !config.disable_updates {
        findings.push(
            Finding::error(
                codes::OWNERS_MISSING,
                "nobody is named who may replace the manifest",
            )
            .help(
                "run `nacre init`, which makes owner keys and writes them into the configuration, \
                     or set disableUpdates: true",
            ),
        );
    }
}

fn unused_sans(config: &Confidential, finished: &[Finished<'_>], findings: &mut Vec<Finding>) {
    let known: BTreeSet<_> = finished.iter().map(|workload| &workload.identity).collect();
    for identity in config
        .sans
        .keys()
        .filter(|identity| !known.contains(identity))
    {
        findings.push(
            Finding::warning(
                codes::SANS_UNUSED,
                format!("sans in the configuration names {identity}, which is not selected"),
            )
            .help("write <namespace>/<Kind>/<name> of a selected workload"),
        );
    }
}

/// Everything that is wrong with the manifest as a whole.
fn problems(manifest: &Manifest, config: &Confidential, findings: &mut Vec<Finding>) {
    let strictness = match config.strict {
        true => Strictness::Strict,
        false => Strictness::Lenient,
    };
    let apart: BTreeSet<String> = match manifest.coordinators().any(|(_, e)| e.identity.is_some()) {
        true => BTreeSet::new(),
        // Coordinators that are deployed apart are known by their hash alone.
        false => manifest
            .coordinators()
            .map(|(hash, _)| format!("Policies.{hash}"))
            .collect(),
    };
    findings.extend(shortcomings(manifest, strictness, |problem| {
        problem.kind == ProblemKind::IdentityMissing && apart.contains(&problem.path)
    }));
    let (bytes, limit) = (manifest.to_bytes().len(), nacre_manifest::MAX_BYTES);
    if bytes > limit {
        let error = nacre_manifest::Error::TooLarge { bytes, limit };
        let finding = Finding::error(Code::new(error.code()), error.to_string());
        findings.push(
            finding.help(
                "select fewer workloads: two deployments, each with a Coordinator of its own",
            ),
        );
    }
}

/// What [`Manifest::validate`] finds, but for what may be passed over. Reference values that are to be filled in
/// are one finding for each set, behind the others.
pub fn shortcomings(
    manifest: &Manifest,
    strictness: Strictness,
    pass_over: impl Fn(&Problem) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut open: BTreeMap<usize, (Severity, Code, Vec<String>)> = BTreeMap::new();
    let problems = manifest.validate(strictness);
    for problem in problems.into_iter().filter(|problem| !pass_over(problem)) {
        let severity = match problem.severity {
            nacre_manifest::Severity::Error => Severity::Error,
            nacre_manifest::Severity::Warning => Severity::Warning,
        };
        let code = Code::new(problem.kind.code());
        match (&problem.kind, in_set(&problem.path)) {
            (
                ProblemKind::MeasurementMissing { .. } | ProblemKind::TcbMissing,
                Some((set, field)),
            ) => {
                let (_, _, fields) = open.entry(set).or_insert((severity, code, Vec::new()));
                fields.push(field.to_owned());
            }
            _ => {
                let finding = Finding::new(code, severity, problem.to_string());
                findings.push(with_fix(finding.field(problem.path)));
            }
        }
    }
    for (index, (severity, code, fields)) in open {
        let Some(set) = manifest.reference_values.snp.get(index) else {
            continue;
        };
        let message = format!(
            "reference values of {} on {} with {} vCPU are missing: {}",
            set.platform,
            set.product_name,
            set.cpus,
            fields.join(", ")
        );
        let finding = Finding::new(code, severity, message);
        findings.push(with_fix(
            finding.field(format!("ReferenceValues.snp[{index}]")),
        ));
    }
    findings
}

/// Number of the set and path within it.
fn in_set(path: &str) -> Option<(usize, &str)> {
    let rest = path.strip_prefix("ReferenceValues.snp[")?;
    let (index, field) = rest.split_once("].")?;
    Some((index.parse().ok()?, field))
}

fn with_fix(finding: Finding) -> Finding {
    match finding.code.info() {
        Some(info) => finding.help(info.fix),
        None => finding,
    }
}

/// The manifest as an item: the new value of the one that is there, or a new one.
pub(crate) fn item(
    manifest: &Manifest,
    config: &Confidential,
    old: Option<&Place<'_>>,
) -> Option<Value> {
    let settings = &config.manifest;
    let old = old.and_then(|place| place.value(&Path::root()));
    let old_kind = old
        .as_ref()
        .and_then(|o| o.get("kind")?.as_str().map(str::to_owned));
    let old_kind = old_kind.as_deref();
    match settings.output {
        ManifestOutput::None => None,
        ManifestOutput::Json => {
            let path = settings.path.as_deref().unwrap_or(MANIFEST_KEY);
            let annotations = annotations(path, true);
            let mut value = manifest.to_object(MANIFEST_CONFIG_MAP, &annotations);
            if let (Some(nacre_manifest::KIND), Some(metadata)) =
                (old_kind, old.as_ref().and_then(|o| o.get("metadata")))
                && let Some(map) = value.as_object_mut()
            {
                map.insert("metadata".to_owned(), metadata.clone());
            }
            Some(value)
        }
        ManifestOutput::ConfigMap => {
            let text = String::from_utf8(manifest.to_bytes()).unwrap_or_default();
            if let (Some("ConfigMap"), Some(mut value)) = (old_kind, old) {
                let data = value.get_mut("data").and_then(Value::as_object_mut);
                if let Some(data) = data {
                    data.insert(MANIFEST_KEY.to_owned(), Value::from(text));
                }
                return Some(value);
            }
            let path = settings.path.as_deref().unwrap_or(MANIFEST_PATH);
            let mut metadata = Map::new();
            metadata.insert("name".to_owned(), json!(MANIFEST_CONFIG_MAP));
            if let (true, Some(namespace)) = (settings.emit_config_map, &config.namespace) {
                metadata.insert("namespace".to_owned(), json!(namespace));
            }
            let annotations = annotations(path, !settings.emit_config_map);
            metadata.insert("annotations".to_owned(), json!(annotations));
            Some(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata,
                "data": {MANIFEST_KEY: text},
            }))
        }
    }
}

/// New items need path and index in both spellings; kpt gives them odd file names otherwise.
fn annotations(path: &str, local: bool) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    let mut put = |key: &str, value: &str| annotations.insert(key.to_owned(), value.to_owned());
    if local {
        put("config.kubernetes.io/local-config", "true");
    }
    for prefix in ["config.kubernetes.io", "internal.config.kubernetes.io"] {
        put(&format!("{prefix}/path"), path);
        put(&format!("{prefix}/index"), "0");
    }
    annotations
}

#[cfg(test)]
mod tests {
    use nacre_manifest::Identity;

    use super::*;

    fn too_large(workloads: u32) -> bool {
        let entry = |index: u32| {
            let identity = Identity::new("shop", "Deployment", format!("app-{index}"));
            let hash = PolicyHash::of(&index.to_be_bytes());
            (hash, PolicyEntry::new(identity, vec!["a".repeat(200)]))
        };
        let manifest = Manifest {
            policies: (0..workloads).map(entry).collect(),
            ..Manifest::default()
        };
        let mut findings = Vec::new();
        problems(&manifest, &Confidential::default(), &mut findings);
        findings.iter().any(|finding| {
            finding.severity == Severity::Error && finding.message.contains("2031616")
        })
    }

    #[test]
    fn a_manifest_that_no_message_carries_is_an_error() {
        assert!(!too_large(2_000));
        assert!(too_large(5_000));
    }
}
