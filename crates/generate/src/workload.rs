//! Stage 1: which workloads are in scope, and what is known about each before it is changed.

use std::collections::BTreeMap;

use nacre_findings::{Finding, ResourceRef, codes::generate as codes};
use nacre_fnconfig::Confidential;
use nacre_krm::Path;
use nacre_manifest::Identity;
use nacre_platform::Platform;
use nacre_workload::annotations::Annotations;
use nacre_workload::containers;
use nacre_workload::kinds::TemplatePath;
use nacre_workload::names::RUNTIME_CLASS;
use nacre_workload::object::labels;
use nacre_workload::select::selected;
use nacre_workload::services::Service;
use serde_json::{Map, Value};

use crate::catalogue::{Candidate, effective};
use crate::place::{Locator, Place};
use crate::services::Services;

/// Annotations that differ between copies of one object: bookkeeping of orchestrators and of Helm.
const BOOKKEEPING: [&str; 5] = [
    "postrenderer.helm.sh/",
    "config.kubernetes.io/",
    "internal.config.kubernetes.io/",
    "config.k8s.io/id",
    "kustomize.config.k8s.io/id",
];

/// A selected workload.
pub(crate) struct Workload<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) resource: ResourceRef,
    pub(crate) identity: Identity,
    pub(crate) path: &'a TemplatePath,
    pub(crate) spec_field: String,
    pub(crate) object: Value,
    pub(crate) annotations: Annotations,
    /// `None` after an error.
    pub(crate) platform: Option<&'static Platform>,
    /// Names of the init containers of the input.
    pub(crate) init_containers: Vec<String>,
    pub(crate) findings: Vec<Finding>,
}

impl<'a> Workload<'a> {
    /// Reads a candidate; `None` when it is not in scope.
    pub(crate) fn select(candidate: &Candidate<'a>, config: &'a Confidential) -> Option<Self> {
        let spec_field = candidate.path.spec_field();
        let class_field = format!("{spec_field}.runtimeClassName");
        let class = class_field
            .parse::<Path>()
            .ok()
            .and_then(|path| candidate.place.text(&path));
        let namespace = effective(candidate.namespace.as_deref(), config);
        let mut read: Option<Value> = None;
        selected(class.as_deref(), || {
            if config.selectors.is_empty() {
                return false;
            }
            let object = candidate.place.value(&Path::root()).unwrap_or_default();
            let found = matches(candidate, namespace, &object, config);
            read = Some(object);
            found
        })?;
        let object = read.or_else(|| candidate.place.value(&Path::root()))?;
        let (annotations, mut findings) = Annotations::read(&object, candidate.path);
        let spec = candidate.path.pod_spec(&object);
        findings.extend(containers::shape(spec, &spec_field));
        let platform = match platform(class.as_deref(), config) {
            Ok((platform, kept)) => {
                findings.extend(kept.map(|finding| finding.field(class_field)));
                Some(platform)
            }
            Err(finding) => {
                findings.push(finding.field(class_field));
                None
            }
        };
        if candidate.name.is_empty() {
            findings.push(
                Finding::error(codes::NAME_MISSING, "the workload has no name")
                    .help("give it metadata.name")
                    .field("metadata"),
            );
        }
        let init_containers = spec.map(init_container_names).unwrap_or_default();
        let workload = Self {
            resource: ResourceRef {
                api_version: candidate.api_version.clone(),
                kind: candidate.kind.clone(),
                namespace: candidate.namespace.clone(),
                name: candidate.name.clone(),
            },
            identity: Identity::new(namespace, &candidate.kind, &candidate.name),
            place: candidate.place.clone(),
            path: candidate.path,
            spec_field,
            object,
            annotations,
            platform,
            init_containers,
            findings: Vec::new(),
        };
        let locator = workload.locator();
        let findings = findings
            .into_iter()
            .map(|f| locator.locate(f, None))
            .collect();
        Some(Self {
            findings,
            ..workload
        })
    }

    /// Whether something stands in the way of going on with it.
    pub(crate) fn is_broken(&self) -> bool {
        nacre_findings::has_errors(&self.findings)
    }

    pub(crate) fn locator(&self) -> Locator<'_, 'a> {
        Locator {
            place: &self.place,
            resource: self.resource.clone(),
            spec_field: &self.spec_field,
            init_containers: self.init_containers.clone(),
        }
    }

    fn pod_labels(&self) -> Option<&Map<String, Value>> {
        self.path.template(&self.object).and_then(labels)
    }

    /// The Services that lead to it.
    pub(crate) fn services<'s>(&self, services: &'s Services) -> Vec<&'s Service> {
        services
            .index
            .selecting(&self.identity.namespace, self.pod_labels())
    }
}

fn matches(
    candidate: &Candidate<'_>,
    namespace: &str,
    object: &Value,
    config: &Confidential,
) -> bool {
    let template = candidate.path.template(object).and_then(labels);
    let label = |key: &str| {
        [labels(object), template]
            .into_iter()
            .flatten()
            .find_map(|labels| labels.get(key)?.as_str())
    };
    config
        .selectors
        .iter()
        .any(|selector| selector.matches(&candidate.kind, &candidate.name, namespace, label))
}

fn init_container_names(spec: &Value) -> Vec<String> {
    let init = spec.get("initContainers").and_then(Value::as_array);
    let name = |c: &Value| {
        c.get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    init.into_iter().flatten().map(name).collect()
}

/// The platform of a runtime class: the one it names, else the configured one.
fn platform(
    class: Option<&str>,
    config: &Confidential,
) -> Result<(&'static Platform, Option<Finding>), Finding> {
    let class = class.unwrap_or(RUNTIME_CLASS);
    let in_scope = class.strip_prefix(RUNTIME_CLASS);
    if let Some(platform) = nacre_platform::for_runtime_class(class) {
        let versioned = class.len() > RUNTIME_CLASS.len() + 1 + platform.name.len();
        let configured = config.platform.as_deref();
        let other = configured.filter(|name| !name.eq_ignore_ascii_case(&platform.name));
        let finding = other.filter(|_| versioned).map(|configured| {
            Finding::warning(
                codes::PLATFORM_KEPT,
                format!(
                    "the workload stays on {}, the configured platform is {configured}",
                    platform.name
                ),
            )
            .help(format!(
                "to move it, write runtimeClassName: {RUNTIME_CLASS}"
            ))
            .current(class)
        });
        return Ok((platform, finding));
    }
    if let Some(suffix) = in_scope.filter(|suffix| !suffix.is_empty()) {
        let error = nacre_platform::find(suffix.trim_start_matches('-'));
        let help = match error {
            Err(unknown) => unknown_platform_help(&unknown),
            Ok(platform) => format!("write {RUNTIME_CLASS}-{}", platform.name),
        };
        return Err(Finding::error(
            codes::PLATFORM_UNKNOWN,
            format!("the runtime class {class} names no known platform"),
        )
        .current(class)
        .help(help));
    }
    let Some(name) = config.platform.as_deref() else {
        return Err(
            Finding::error(codes::PLATFORM_MISSING, "no platform is given")
                .current(class)
                .help(format!(
                    "set `platform` in the configuration, use --reference-values, or write \
                 {RUNTIME_CLASS}-<platform> as runtime class; platforms: {}",
                    known_platforms()
                )),
        );
    };
    match nacre_platform::find(name) {
        Ok(platform) => Ok((platform, None)),
        Err(unknown) => {
            let finding = Finding::error(codes::PLATFORM_UNKNOWN, unknown.to_string());
            // The message lists them all.
            Err(match unknown.suggestion {
                Some(_) => finding.help(unknown_platform_help(&unknown)),
                None => finding,
            })
        }
    }
}

fn unknown_platform_help(unknown: &nacre_platform::UnknownPlatform) -> String {
    match unknown.suggestion {
        Some(name) => format!("did you mean {name}?"),
        None => format!("platforms: {}", known_platforms()),
    }
}

fn known_platforms() -> String {
    let names = nacre_platform::platforms().iter().map(|p| p.name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// One object may come several times only when the copies are the same.
pub(crate) fn duplicates(workloads: &mut [Workload<'_>]) {
    let mut first: BTreeMap<Identity, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for (index, workload) in workloads.iter().enumerate() {
        match first.get(&workload.identity) {
            None => {
                first.insert(workload.identity.clone(), index);
            }
            Some(earlier) => {
                let Some(other) = workloads.get(*earlier) else {
                    continue;
                };
                if without_bookkeeping(&other.object) != without_bookkeeping(&workload.object) {
                    let place = other.place.locate("");
                    found.push((index, place));
                }
            }
        }
    }
    for (index, place) in found {
        let Some(workload) = workloads.get_mut(index) else {
            continue;
        };
        let finding = Finding::error(
            codes::DUPLICATE_WORKLOAD,
            format!(
                "{} is given twice with different content",
                workload.identity
            ),
        )
        .help(format!("the other one is at {place}: remove or rename one"))
        .field("metadata.name");
        let finding = workload.locator().locate(finding, None);
        workload.findings.push(finding);
    }
}

fn without_bookkeeping(object: &Value) -> Value {
    let mut object = object.clone();
    let annotations = object
        .get_mut("metadata")
        .and_then(|m| m.get_mut("annotations"))
        .and_then(Value::as_object_mut);
    let mut emptied = false;
    if let Some(annotations) = annotations {
        annotations.retain(|key, _| !BOOKKEEPING.iter().any(|prefix| key.starts_with(prefix)));
        emptied = annotations.is_empty();
    }
    if emptied && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("annotations");
    }
    object
}
