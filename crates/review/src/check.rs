//! Whether final YAML is what rendering gives: nothing forgotten, nothing changed afterwards.
//!
//! The resources go through the transformation once more. It changes nothing in its own output, so
//! whatever it would change now is something that another stage changed, or that was never rendered.

use std::collections::BTreeMap;

use nacre_findings::{
    Finding, Severity,
    codes::{check as codes, generate as generate_codes},
    has_errors,
};
use nacre_fnconfig::Confidential;
use nacre_generate::{Options, Outcome, Source, generate};
use nacre_imagelock::ImageReference;
use nacre_krm::{ObjectRef, Path};
use nacre_manifest::{Identity, Manifest};
use nacre_policy::carrier::{Carrier, Decoded};
use nacre_policy::rules;
use nacre_workload::images::images;
use nacre_workload::kinds::{CustomKind, Kinds, TemplatePath};
use serde_json::Value;

use crate::diff::{self, ChangeKind, render::shown};
use crate::manifest::{about, extract};
use crate::set::{RenderedObject, RenderedSet};

/// Most differences that one finding names.
const MOST_LINES: usize = 6;

/// What checking found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Number of confidential workloads.
    pub workloads: usize,
    /// What is wrong; empty is good.
    pub findings: Vec<Finding>,
}

/// Checks final resources against the configuration, lock and manifest they were rendered with.
///
/// `manifest` is the one beside the resources; without it, one among them is taken.
pub fn check(sources: &[Source], options: &Options<'_>, manifest: Option<&Manifest>) -> Report {
    let set = read(sources, options.config);
    let mut findings = Vec::new();
    let manifest = match manifest {
        Some(manifest) => Some(manifest.clone()),
        None => extract(&set)
            .map_err(|errors| findings.extend(errors))
            .ok()
            .flatten()
            .map(|found| found.manifest),
    };
    let config = with_owners(options.config, manifest.as_ref());
    let options = &Options {
        config: &config,
        ..*options
    };
    let checker = Checker {
        sources,
        config: options.config,
    };
    let mut workloads = Vec::new();
    for object in set
        .objects
        .iter()
        .filter(|object| checker.is_selected(object))
    {
        let before = findings.len();
        checker.workload(object, &mut findings);
        workloads.push((object, findings.len() == before));
    }
    if workloads.is_empty() {
        findings.push(
            Finding::error(
                codes::NOTHING_TO_CHECK,
                "no workload here is to be confidential",
            )
            .help("check all rendered resources, with the configuration they were rendered with"),
        );
        return Report {
            workloads: 0,
            findings,
        };
    }
    let outcome = again(sources, options, manifest.as_ref());
    // What generating says as a warning it said when it rendered, but a forgotten pod is what checking
    // is for. Errors keep us from comparing.
    let errors = outcome.findings.iter().filter(|finding| {
        let is_omission = [generate_codes::UNCLAIMED_POD, generate_codes::FORGOTTEN];
        finding.severity == Severity::Error || is_omission.contains(&finding.code)
    });
    findings.extend(errors.cloned().map(|mut finding| {
        finding.severity = Severity::Error;
        finding
    }));
    let rendered = by_place(&outcome);
    for (object, sound) in &workloads {
        if let (true, Some(value)) = (*sound, rendered.get(&object.place)) {
            findings.extend(compare(object, value));
        }
    }
    match &manifest {
        Some(manifest) => findings.extend(stale(manifest, &workloads, &outcome, options.config)),
        None => findings.push(
            Finding::error(
                codes::MANIFEST_NOT_FOUND,
                "there is no manifest to compare with",
            )
            .help("give it with --manifest, or say --without-manifest"),
        ),
    }
    Report {
        workloads: workloads.len(),
        findings,
    }
}

/// The configuration with the owners of a manifest, where it names none of its own: on a command line
/// they come from key files, which the place that checks need not have. A manifest without workload
/// owners says that updates are disabled.
pub fn with_owners(config: &Confidential, manifest: Option<&Manifest>) -> Confidential {
    let mut config = config.clone();
    let Some(manifest) = manifest else {
        return config;
    };
    if config.workload_owners.is_empty() && !config.disable_updates {
        config
            .workload_owners
            .clone_from(&manifest.workload_owner_key_digests);
        config.disable_updates = config.workload_owners.is_empty();
    }
    if config.seedshare_owners.is_empty() {
        config
            .seedshare_owners
            .clone_from(&manifest.seedshare_owner_pub_keys);
    }
    config
}

/// Reads the sources with the kinds of the configuration.
pub(crate) fn read(sources: &[Source], config: &Confidential) -> RenderedSet {
    let texts = sources
        .iter()
        .map(|source| (source.file.as_deref(), &source.stream));
    RenderedSet::read(
        texts,
        &kinds(config),
        config
            .namespace
            .as_deref()
            .unwrap_or(crate::set::DEFAULT_NAMESPACE),
    )
}

/// The pod specs of the confidential workloads, by the object they belong to.
pub fn pod_specs(sources: &[Source], config: &Confidential) -> BTreeMap<Identity, Value> {
    let set = read(sources, config);
    let specs = set.objects.iter().filter(|object| object.is_confidential());
    specs
        .filter_map(|object| Some((object.identity(), object.pod_spec()?.clone())))
        .collect()
}

/// The manifest that is one of the resources.
pub fn manifest_among(sources: &[Source], config: &Confidential) -> Result<Manifest, Vec<Finding>> {
    match extract(&read(sources, config))? {
        Some(found) => Ok(found.manifest),
        None => Err(vec![
            Finding::error(
                codes::MANIFEST_NOT_FOUND,
                "there is no manifest to compare with",
            )
            .help("give it with --manifest"),
        ]),
    }
}

/// The kinds of Kubernetes and of the configuration.
pub fn kinds(config: &Confidential) -> Kinds {
    let custom = config.custom_resources.iter().filter_map(|resource| {
        Some(CustomKind {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            template: TemplatePath::parse(&resource.pod_template)?,
        })
    });
    Kinds::with_custom(custom)
}

/// The transformation of what it already transformed.
pub(crate) fn again(
    sources: &[Source],
    options: &Options<'_>,
    manifest: Option<&Manifest>,
) -> Outcome {
    let previous = manifest.or(options.previous);
    generate(
        sources,
        &Options {
            previous,
            manifest_item: false,
            ..*options
        },
    )
}

pub(crate) fn by_place(outcome: &Outcome) -> BTreeMap<(usize, ObjectRef), &Value> {
    let edits = outcome.edits.iter();
    edits
        .map(|(source, object, value)| ((*source, object.clone()), value))
        .collect()
}

struct Checker<'a> {
    sources: &'a [Source],
    config: &'a Confidential,
}

impl Checker<'_> {
    fn is_selected(&self, object: &RenderedObject) -> bool {
        if object.pod_spec().is_none() {
            return false;
        }
        let labels = nacre_workload::object::labels(&object.value);
        let label = |key: &str| labels.and_then(|labels| labels.get(key)?.as_str());
        object.is_confidential()
            || self.config.selectors.iter().any(|selector| {
                selector.matches(
                    &object.resource.kind,
                    &object.resource.name,
                    &object.namespace,
                    label,
                )
            })
    }

    /// What can be seen without rendering again.
    fn workload(&self, object: &RenderedObject, findings: &mut Vec<Finding>) {
        let Some(template) = &object.template else {
            return;
        };
        let spec_field = template.spec_field();
        let platform =
            self.runtime_class(object, &format!("{spec_field}.runtimeClassName"), findings);
        let carrier = platform.map(|platform| match platform.data.carrier {
            nacre_platform::Carrier::AgentPolicy => Carrier::AgentPolicy,
            nacre_platform::Carrier::InitData => Carrier::InitData,
        });
        self.annotation(object, carrier, &template.metadata_field(), findings);
        let spec = object.pod_spec().unwrap_or(&Value::Null);
        for (image, field) in images(spec, &spec_field) {
            if !ImageReference::is_pinned(image) {
                let finding = Finding::error(
                    codes::UNPINNED_IMAGE,
                    format!("image {image} has no digest"),
                )
                .help("render again with a lock: nacre lock, then nacre generate")
                .current(image);
                findings.push(self.locate(finding, object, field));
            }
        }
    }

    fn runtime_class(
        &self,
        object: &RenderedObject,
        field: &str,
        findings: &mut Vec<Finding>,
    ) -> Option<&'static nacre_platform::Platform> {
        let class = object.runtime_class().unwrap_or_default();
        let platform = nacre_platform::for_runtime_class(class);
        let wanted = platform.map(nacre_platform::Platform::runtime_class_name);
        if wanted.as_deref() == Some(class) {
            return platform;
        }
        let plain =
            platform.map(|p| format!("{}-{}", nacre_platform::RUNTIME_CLASS_PREFIX, p.name));
        let is_placeholder =
            class == nacre_platform::RUNTIME_CLASS_PREFIX || plain.as_deref() == Some(class);
        let finding = if !object.is_confidential() {
            Finding::error(
                codes::POLICY_MISSING,
                format!(
                    "{} is selected, but was not made confidential",
                    object.identity()
                ),
            )
        } else if is_placeholder {
            let message = format!("{} still has the placeholder {class}", object.identity());
            Finding::error(codes::PLACEHOLDER_LEFT, message)
        } else {
            let message = format!(
                "{} has a runtime class of another version: {class}",
                object.identity()
            );
            Finding::error(codes::OUTDATED_RUNTIME_CLASS, message)
        };
        let mut finding = finding
            .help("run the function as the last stage of the pipeline, over hooks too")
            .current(class);
        if let Some(wanted) = wanted {
            finding = finding.proposed(wanted);
        }
        findings.push(self.locate(finding, object, field.to_owned()));
        None
    }

    fn annotation(
        &self,
        object: &RenderedObject,
        wanted: Option<Carrier>,
        metadata_field: &str,
        findings: &mut Vec<Finding>,
    ) {
        let field = |carrier: Carrier| {
            format!(
                "{metadata_field}.annotations[{:?}]",
                carrier.annotation_key()
            )
        };
        let finding = match object.policy() {
            None if !object.is_confidential() => return,
            None => self.locate(
                Finding::error(
                    codes::POLICY_MISSING,
                    format!("{} carries no policy", object.identity()),
                )
                .help("run the function as the last stage of the pipeline"),
                object,
                metadata_field.to_owned(),
            ),
            Some((carrier, Err(error))) => self.locate(
                Finding::error(
                    codes::POLICY_UNREADABLE,
                    format!(
                        "the policy of {} cannot be read: {error}",
                        object.identity()
                    ),
                )
                .help("render again; nothing else may write that annotation"),
                object,
                field(carrier),
            ),
            Some((carrier, Ok(_))) if wanted.is_some_and(|wanted| wanted != carrier) => self
                .locate(
                    Finding::error(
                        codes::WRONG_CARRIER,
                        format!(
                            "guests of {}'s platform do not read this annotation",
                            object.identity()
                        ),
                    )
                    .help("render again for the platform that the runtime class names"),
                    object,
                    field(carrier),
                ),
            Some((_, Ok(_))) => return,
        };
        findings.push(finding);
    }

    /// Puts a finding to a field, with its line.
    fn locate(&self, finding: Finding, object: &RenderedObject, field: String) -> Finding {
        let (source, at) = &object.place;
        let document = self
            .sources
            .get(*source)
            .and_then(|source| source.stream.documents().get(at.document));
        let path = field.parse::<Path>();
        let mut location = object.location.clone();
        if let (Some(document), Ok(path)) = (document, path) {
            let position = document.position(&at.base.join(&path));
            location.line = Some(position.line);
            location.column = Some(position.column);
        }
        finding
            .resource(object.resource.clone())
            .field(field)
            .at(location)
    }
}

/// What rendering again would change about a workload.
fn compare(object: &RenderedObject, rendered: &Value) -> Option<Finding> {
    if object.value == *rendered {
        return None;
    }
    let again = RenderedObject {
        value: rendered.clone(),
        ..object.clone()
    };
    let identity = object.identity();
    let (Some((_, Ok(old))), Some((_, Ok(new)))) = (object.policy(), again.policy()) else {
        return None;
    };
    let pod = diff::pods(object, &again);
    let changes: Vec<String> = pod
        .lines()
        .into_iter()
        .filter(|line| !line.starts_with("policy: "))
        .collect();
    if old.hash == new.hash {
        let finding = Finding::error(
            codes::NOT_RENDERED,
            format!("{identity} is not as rendering leaves it"),
        );
        return Some(about(finding.help(advice(&changes)), object));
    }
    if rules::version_in(&old.policy).is_none() {
        let finding = Finding::error(
            codes::FOREIGN_RULES,
            format!("the policy of {identity} was written by another version"),
        )
        .help("check it with the version that wrote it, or render again");
        return Some(about(finding, object));
    }
    let differences = if changes.is_empty() {
        data_lines(&old, &new)
    } else {
        changes
    };
    let finding = Finding::error(
        codes::STALE_POLICY,
        format!("the policy of {identity} is not the one that its pod gives"),
    )
    .help(advice(&differences))
    .current(old.hash.to_string())
    .proposed(new.hash.to_string());
    Some(about(finding, object))
}

fn advice(differences: &[String]) -> String {
    let mut text = "render again as the last stage of the pipeline".to_owned();
    if differences.is_empty() {
        return text;
    }
    text.push_str("; it would change: ");
    let some: Vec<&str> = differences
        .iter()
        .take(MOST_LINES)
        .map(String::as_str)
        .collect();
    text.push_str(&some.join("; "));
    if differences.len() > MOST_LINES {
        text.push_str(&format!("; and {} more", differences.len() - MOST_LINES));
    }
    text
}

/// Lines of the data of two policies that only one of them has.
fn data_lines(old: &Decoded, new: &Decoded) -> Vec<String> {
    let lines = |policy: &Decoded| -> Vec<String> {
        let data = rules::split(&policy.policy)
            .map(|(_, data)| data)
            .unwrap_or_default();
        data.lines().map(|line| line.trim().to_owned()).collect()
    };
    let (before, after) = (lines(old), lines(new));
    let gone = before.iter().filter(|line| !after.contains(line));
    let come = after.iter().filter(|line| !before.contains(line));
    let gone = gone.map(|line| format!("the policy has {}", shown(line)));
    let come = come.map(|line| format!("the pod gives {}", shown(line)));
    gone.take(MOST_LINES / 2)
        .chain(come.take(MOST_LINES / 2))
        .collect()
}

/// What the manifest says differently from the resources.
fn stale(
    manifest: &Manifest,
    workloads: &[(&RenderedObject, bool)],
    outcome: &Outcome,
    config: &Confidential,
) -> Vec<Finding> {
    let Some(fresh) = outcome
        .manifest
        .as_ref()
        .filter(|_| !has_errors(&outcome.findings))
    else {
        return unlisted(manifest, workloads);
    };
    let diff = diff::manifests(manifest, fresh);
    let findings = diff.groups.iter().map(|group| {
        let (message, severity) = match group.kind {
            ChangeKind::Added => (
                format!("the manifest lacks {}", group.subject),
                Severity::Error,
            ),
            // A part of a deployment can be checked by itself.
            ChangeKind::Removed => (
                format!(
                    "the manifest lists {}, which is not needed here",
                    group.subject
                ),
                if config.strict {
                    Severity::Error
                } else {
                    Severity::Warning
                },
            ),
            ChangeKind::Changed => (
                format!("the manifest says something else about {}", group.subject),
                Severity::Error,
            ),
        };
        let single = diff::Diff {
            groups: vec![group.clone()],
        };
        let mut help = "rebuild it with nacre manifest build, and set it again".to_owned();
        let lines = single.lines();
        if group.kind == ChangeKind::Changed && !lines.is_empty() {
            let some: Vec<&str> = lines.iter().take(MOST_LINES).map(String::as_str).collect();
            help = format!("{help}; it would change: {}", some.join("; "));
        }
        Finding::new(codes::STALE_MANIFEST, severity, message).help(help)
    });
    findings.collect()
}

/// Policies that the resources carry and the manifest does not list, for when rendering again failed.
fn unlisted(manifest: &Manifest, workloads: &[(&RenderedObject, bool)]) -> Vec<Finding> {
    let missing = workloads.iter().filter_map(|(object, _)| {
        let hash = object.policy_hash()?;
        (!manifest.policies.contains_key(&hash)).then(|| {
            let message = format!(
                "the manifest does not list the policy of {}",
                object.identity()
            );
            let finding = Finding::error(codes::STALE_MANIFEST, message)
                .help("rebuild it with nacre manifest build, and set it again")
                .current(hash.to_string());
            about(finding, object)
        })
    });
    missing.collect()
}

#[cfg(test)]
mod tests;
