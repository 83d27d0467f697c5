//! The policies that rendered workloads carry, read from their bytes.

use std::sync::OnceLock;

use nacre_findings::{Finding, Location, codes::check as codes, has_errors};
use nacre_generate::{Options, Source};
use nacre_krm::Path;
use nacre_manifest::{Identity, PolicyHash};
use nacre_policy::carrier::Carrier;
use nacre_policy::read::{Rules, Unknown};
use nacre_policy::{Facts, Policy};
use nacre_workload::kinds::Kinds;
use nacre_workload::names::INJECTED;
use serde_json::Value;

use crate::manifest::about;
use crate::set::{RenderedObject, RenderedSet};

/// A rendered workload and the policy in its annotation.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The object.
    pub object: RenderedObject,
    /// The annotation its policy stands in.
    pub carrier: Carrier,
    /// What the hardware signs.
    pub hash: PolicyHash,
    /// The policy's text, whoever wrote it.
    pub text: String,
    read: OnceLock<Rules>,
    /// Keys of the initdata document beside the policy.
    pub other_keys: Vec<String>,
}

impl Workload {
    /// Namespace, kind and name.
    pub fn identity(&self) -> Identity {
        self.object.identity()
    }

    /// Path of the pod spec in the object.
    pub fn spec_path(&self) -> String {
        let template = self.object.template.as_ref();
        template.map_or_else(|| "spec".to_owned(), |template| template.spec_field())
    }

    /// Whether a container is one that the transformation injected, or the workload is the
    /// Coordinator.
    pub fn is_ours(&self, container: &str) -> bool {
        let coordinator = self.object.pod_metadata().is_some_and(|metadata| {
            let annotations = metadata.get("annotations").and_then(Value::as_object);
            annotations.into_iter().flatten().any(|(key, value)| {
                key.ends_with("/pod-role") && value.as_str() == Some("coordinator")
            })
        });
        is_ours(container, coordinator)
    }

    /// The policy; a finding at the object if this version cannot read it.
    pub fn policy(&self) -> Result<&Policy, Finding> {
        let read = self.read.get_or_init(|| Rules::of_text(self.text.clone()));
        let reason = match read {
            Rules::Known { policy, .. } => return Ok(policy),
            Rules::Unknown { reason, .. } => reason,
        };
        let (code, help) = match reason {
            Unknown::Form | Unknown::Rules => (
                codes::FOREIGN_RULES,
                "use the version that wrote it, or render again",
            ),
            _ => (
                codes::POLICY_ADDITIONS,
                "do not deploy it; render again, and find out who wrote the annotation",
            ),
        };
        let message = format!("the policy of {}: {reason}", self.identity());
        Err(about(
            Finding::error(code, message).help(help),
            &self.object,
        ))
    }

    /// File, line and column of a field, or of the nearest one around it that exists.
    pub fn locate(&self, sources: &[Source], field: &str) -> Location {
        let mut location = self.object.location.clone();
        let (source, at) = &self.object.place;
        let source = sources.get(*source);
        let document = source.and_then(|source| source.stream.documents().get(at.document));
        if let (Some(document), Ok(path)) = (document, field.parse::<Path>()) {
            let position = document.position(&at.base.join(&path));
            location.line = Some(position.line);
            location.column = Some(position.column);
        }
        location
    }
}

/// Whether a container is one that the transformation injected; all of the Coordinator's are ours.
pub fn is_ours(container: &str, coordinator: bool) -> bool {
    coordinator || INJECTED.contains(&container)
}

/// Reads the workloads that carry a policy; confidential ones without one are findings.
pub fn read(
    sources: &[Source],
    kinds: &Kinds,
    default_namespace: &str,
) -> (Vec<Workload>, Vec<Finding>) {
    let texts = sources
        .iter()
        .map(|source| (source.file.as_deref(), &source.stream));
    let set = RenderedSet::read(texts, kinds, default_namespace);
    let (mut workloads, mut findings) = (Vec::new(), Vec::new());
    for object in set.objects {
        let title = object.identity();
        match object.policy() {
            Some((carrier, Ok(decoded))) => {
                let two =
                    carries(&object, Carrier::InitData) && carries(&object, Carrier::AgentPolicy);
                if two {
                    let message = format!("{title} carries two policies");
                    let finding = Finding::error(codes::TWO_POLICIES, message);
                    findings.push(about(finding.help("render again"), &object));
                }
                workloads.push(Workload {
                    carrier,
                    hash: decoded.hash,
                    text: decoded.policy,
                    read: OnceLock::new(),
                    other_keys: decoded.other_keys,
                    object,
                });
            }
            Some((_, Err(error))) => {
                let message = format!("the policy of {title} cannot be read: {error}");
                let finding = Finding::error(codes::POLICY_UNREADABLE, message);
                let help = "render again; nothing else may write that annotation";
                findings.push(about(finding.help(help), &object));
            }
            None if object.is_confidential() => {
                let finding =
                    Finding::error(codes::POLICY_MISSING, format!("{title} carries no policy"));
                let help = "run nacre generate on it first";
                findings.push(about(finding.help(help), &object));
            }
            None => {}
        }
    }
    if workloads.is_empty() && !has_errors(&findings) {
        let message = "no workload here carries a policy";
        let finding = Finding::error(codes::NOTHING_TO_CHECK, message);
        findings.push(finding.help("give the rendered resources, as they are deployed"));
    }
    (workloads, findings)
}

fn carries(object: &RenderedObject, carrier: Carrier) -> bool {
    let annotations = object.pod_metadata().and_then(|m| m.get("annotations"));
    annotations.is_some_and(|all| all.get(carrier.annotation_key()).is_some())
}

/// What stands in the way of trusting a workload's policy: its rules, its initdata document, and
/// the hashes that are expected, if there are any.
pub fn verify(workload: &Workload, expected: Option<&[PolicyHash]>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(workload.policy().err());
    if !workload.other_keys.is_empty() {
        let message = format!(
            "the initdata of {} has more than the policy: {}",
            workload.identity(),
            workload.other_keys.join(", ")
        );
        let finding = Finding::error(codes::POLICY_ADDITIONS, message);
        let help = "other parts of the guest are configured by it; render again";
        findings.push(about(finding.help(help), &workload.object));
    }
    if expected.is_some_and(|expected| !expected.contains(&workload.hash)) {
        let message = format!(
            "the policy of {} is not one of those expected",
            workload.identity()
        );
        let finding = Finding::error(codes::HASH_UNEXPECTED, message);
        let finding = finding.help("render again, or compare with nacre diff");
        findings.push(about(finding, &workload.object).current(workload.hash.to_string()));
    }
    findings
}

/// What each workload's policy is made from, by running the transformation once more; in the order
/// of `workloads`, with what it would be made to now.
pub fn facts(
    sources: &[Source],
    options: &Options<'_>,
    workloads: &[Workload],
) -> Result<Vec<(Facts, PolicyHash)>, Vec<Finding>> {
    let options = Options {
        policy_facts: true,
        self_check: false,
        manifest_item: false,
        ..*options
    };
    let outcome = nacre_generate::generate(sources, &options);
    if has_errors(&outcome.findings) {
        return Err(outcome.findings);
    }
    let find = |workload: &Workload| {
        let (source, at) = &workload.object.place;
        let made = outcome
            .policies
            .iter()
            .find(|made| made.source == *source && made.object == *at);
        let found = made.and_then(|made| Some((*made.facts.clone()?, made.hash)));
        found.ok_or_else(|| {
            let message = format!(
                "{} is not selected by the configuration",
                workload.identity()
            );
            let finding = Finding::error(codes::NO_SUCH_WORKLOAD, message);
            let help = "use the configuration it was rendered with";
            vec![about(finding.help(help), &workload.object)]
        })
    };
    workloads.iter().map(find).collect()
}
