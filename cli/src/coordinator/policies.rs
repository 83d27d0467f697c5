//! Policies of rendered resources, as the Coordinator stores them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nacre_client::examine::AcceptPolicies;
use nacre_client::workloads::{Policies, Workload, is_weaker};
use nacre_findings::{Finding, codes::client as codes};
use nacre_framing::{input, transform};
use nacre_manifest::{Manifest, PolicyHash};
use nacre_policy::Carrier;
use nacre_review::set::{DEFAULT_NAMESPACE, RenderedObject, RenderedSet};

use crate::context::Context;
use crate::error::{CommandError, Kind};
use crate::resources;

/// Raw policies of the resources, by hash; those that the manifest does not list are an error.
pub(crate) fn of_resources(
    paths: &[PathBuf],
    manifest: &Manifest,
    context: &Context,
) -> Result<BTreeMap<PolicyHash, Vec<u8>>, CommandError> {
    if paths.is_empty() {
        return Ok(BTreeMap::new());
    }
    let texts = resources::texts(paths, context)?;
    let sources = transform::parse(&texts, input::limit(&context.environment)?)?;
    let streams = sources
        .iter()
        .map(|source| (source.file.as_deref(), &source.stream));
    // Kinds beyond those of Kubernetes carry their annotation wherever the configuration says; every object
    // is looked at in every place that may hold a pod template.
    let set = RenderedSet::read(streams, &Default::default(), DEFAULT_NAMESPACE);
    let mut policies = BTreeMap::new();
    let mut findings = Vec::new();
    for object in &set.objects {
        for (carrier, value) in annotations(object) {
            let raw = match carrier.raw(value) {
                Ok(raw) => raw,
                Err(error) => {
                    let message = format!("its policy annotation cannot be read: {error}");
                    findings.push(about(Finding::error(codes::POLICY_EXTRA, message), object));
                    continue;
                }
            };
            let hash = PolicyHash::of(&raw);
            if !manifest.policies.contains_key(&hash) {
                let message = format!("its policy {hash} is not in the manifest");
                let finding = Finding::error(codes::POLICY_EXTRA, message)
                    .help("run nacre generate again, or give the manifest that belongs to it");
                findings.push(about(finding, object));
            }
            policies.insert(hash, raw);
        }
    }
    match findings.is_empty() {
        true => Ok(policies),
        false => Err(findings.into()),
    }
}

/// Policy annotations anywhere in an object.
fn annotations(object: &RenderedObject) -> Vec<(Carrier, &str)> {
    fn walk<'a>(value: &'a serde_json::Value, found: &mut Vec<(Carrier, &'a str)>) {
        match value {
            serde_json::Value::Object(members) => {
                for (key, value) in members {
                    match (Carrier::of_annotation(key), value.as_str()) {
                        (Some(carrier), Some(text)) => found.push((carrier, text)),
                        _ => walk(value, found),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&object.value, &mut found);
    found
}

fn about(finding: Finding, object: &RenderedObject) -> Finding {
    finding
        .resource(object.resource.clone())
        .at(object.location.clone())
}

/// Refuses policies with unknown rules and those weaker than their entries say. Gives what is left to the
/// host, for people.
pub(crate) fn review(
    policies: &BTreeMap<PolicyHash, Vec<u8>>,
    manifest: &Manifest,
    accept: &AcceptPolicies,
) -> Result<Vec<Workload>, CommandError> {
    let given: BTreeSet<_> = policies.keys().collect();
    let read = Policies::read(policies.iter().map(|(hash, raw)| (*hash, raw.as_slice())));
    let mut findings = Vec::new();
    let mut workloads = read.workloads(manifest);
    workloads.retain(|workload| given.contains(&workload.policy));
    for workload in &workloads {
        if !workload.known && !accept.accepts(&workload.policy) {
            let reason = workload.reason.as_deref().unwrap_or("nothing is known");
            let (name, hash) = (&workload.name, workload.policy);
            let message = format!("the policy of {name} ({hash}) is not known: {reason}");
            let finding = Finding::error(codes::RULES_UNKNOWN, message).help(format!(
                "review it, then run again with --accept-policy {hash}"
            ));
            findings.push(finding);
        }
    }
    for (hash, entry) in &manifest.policies {
        let weaker = read.known(hash).and_then(|policy| is_weaker(policy, entry));
        if let Some((is, says)) = weaker {
            let message = format!("policy {hash} has profile {is}, its entry says {says}");
            findings.push(Finding::error(codes::PROFILE_DIFFERS, message));
        }
    }
    match findings.is_empty() {
        true => Ok(workloads),
        false => Err(CommandError::new(Kind::Verification, findings)),
    }
}
