//! The stages in their order.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::{Finding, Severity, codes::generate as codes, has_errors};
use nacre_fnconfig::Confidential;
use nacre_manifest::Identity;
use nacre_platform::AnnotationQuirk;
use nacre_workload::names::{INITIALIZER, INITIALIZER_IMAGE, SERVICE_MESH_IMAGE};

use crate::catalogue::{self, Candidate, Catalogue, DEFAULT_NAMESPACE};
use crate::options::{GeneratedPolicy, Mode, Options, Outcome, Source, omission};
use crate::place::Text;
use crate::stage::{Context, Finished};
use crate::workload::{Workload, duplicates};
use crate::{coordinator, forgotten, manifest, parallel};

/// What the Coordinator of the workspace is called in findings.
const WORKSPACE_COORDINATOR: &str = "coordinator.yml";

/// Makes the selected workloads of the sources confidential.
pub fn generate(sources: &[Source], options: &Options<'_>) -> Outcome {
    let mut findings = Vec::new();
    let kinds = catalogue::kinds(options.config, &mut findings);
    let texts: Vec<_> = sources
        .iter()
        .map(|source| Text {
            file: source.file.as_deref(),
            stream: &source.stream,
        })
        .collect();
    let mut catalogue = Catalogue::new(&texts, &kinds, options.config);
    findings.append(&mut catalogue.findings);
    let mut workloads = select(&catalogue.candidates, options, Some(&mut findings));
    if workloads.is_empty() {
        findings.push(nothing_selected(options.config));
        return Outcome {
            findings,
            ..Outcome::default()
        };
    }
    duplicates(&mut workloads);
    let (mut coordinators, workloads): (Vec<_>, Vec<_>) = workloads
        .into_iter()
        .partition(|workload| workload.annotations.coordinator);

    // The Coordinator comes first: its hash goes into everybody's initializer.
    let mut apart = None;
    if let (true, Some(stream)) = (coordinators.is_empty(), options.workspace_coordinator) {
        let text = Text {
            file: Some(WORKSPACE_COORDINATOR),
            stream,
        };
        let mut catalogue = Catalogue::new(&[text], &kinds, options.config);
        // It is not part of the input: beyond the last source.
        for candidate in &mut catalogue.candidates {
            candidate.place.source = sources.len();
        }
        coordinators = select(&catalogue.candidates, options, None);
        coordinators.retain(|workload| workload.annotations.coordinator);
        apart = Some(catalogue);
    }
    findings.extend(namespace_absent(&coordinators, &workloads, options));
    let coordinators: Vec<_> = {
        let run = Run::new(
            options,
            apart.as_ref().unwrap_or(&catalogue),
            &[],
            BTreeSet::new(),
        );
        let context = run.context();
        coordinators
            .into_iter()
            .map(|c| context.coordinator(c))
            .collect()
    };
    let needed = workloads
        .iter()
        .any(|workload| has_initializer(workload, options.config));
    let link = coordinator::link(&coordinators, options, needed, &mut findings);

    let there = coordinators
        .iter()
        .map(|c| c.identity.namespace.as_str())
        .collect();
    let run = Run::new(options, &catalogue, &workloads, there);
    let context = run.context();
    let mut finished = parallel::map(workloads, options.threads, |w| context.workload(w, &link));
    finished.extend(coordinators);
    finished
        .sort_by(|a, b| (a.place.source, &a.place.object).cmp(&(b.place.source, &b.place.object)));
    collect(sources.len(), options, &catalogue, finished, findings)
}

/// The manifest, and everything in the form of the result.
fn collect(
    sources: usize,
    options: &Options<'_>,
    catalogue: &Catalogue<'_>,
    mut finished: Vec<Finished<'_>>,
    mut findings: Vec<Finding>,
) -> Outcome {
    for workload in &mut finished {
        findings.append(&mut workload.findings);
    }
    quirks(&finished, &mut findings);
    let manifest = manifest::build(&finished, options, &mut findings);
    if has_errors(&findings) {
        return Outcome {
            findings,
            ..Outcome::default()
        };
    }
    let mut outcome = Outcome {
        findings,
        ..Outcome::default()
    };
    for workload in finished {
        if workload.place.source >= sources {
            continue;
        }
        if let Some(made) = workload.made {
            outcome.policies.push(GeneratedPolicy {
                source: workload.place.source,
                object: workload.place.object.clone(),
                identity: workload.identity,
                hash: made.hash,
                text: made.text,
                facts: made.facts,
                profile: made.profile,
                platform: made.platform,
                vcpus: made.vcpus,
                coordinator: workload.coordinator,
            });
        }
        outcome
            .edits
            .push((workload.place.source, workload.place.object, workload.value));
    }
    if options.manifest_item {
        let old = catalogue.manifest.as_ref();
        match (manifest::item(&manifest, options.config, old), old) {
            (Some(value), Some(place)) => {
                outcome
                    .edits
                    .push((place.source, place.object.clone(), value));
            }
            (Some(value), None) => outcome.added.push(value),
            (None, _) => {}
        }
    }
    outcome.manifest = Some(manifest);
    outcome
}

/// The candidates in scope; what was forgotten of the others goes to `findings`.
fn select<'a>(
    candidates: &[Candidate<'a>],
    options: &Options<'a>,
    findings: Option<&mut Vec<Finding>>,
) -> Vec<Workload<'a>> {
    let wants_others = findings.is_some();
    let candidates: Vec<_> = candidates.iter().collect();
    let looked_at = parallel::map(candidates, options.threads, |candidate| {
        let workload = Workload::select(candidate, options.config);
        let others = match &workload {
            None if wants_others => forgotten::find(candidate, options.config),
            _ => Vec::new(),
        };
        (workload, others)
    });
    let (workloads, others): (Vec<_>, Vec<_>) = looked_at.into_iter().unzip();
    if let Some(findings) = findings {
        findings.extend(others.into_iter().flatten());
    }
    workloads.into_iter().flatten().collect()
}

/// What a context borrows.
struct Run<'c, 'a> {
    options: &'c Options<'a>,
    catalogue: &'c Catalogue<'a>,
    initializer_image: &'c str,
    mesh_image: &'c str,
    coordinators: BTreeSet<&'c str>,
    behind: BTreeMap<(String, String), BTreeSet<Identity>>,
}

impl<'c, 'a> Run<'c, 'a> {
    fn new(
        options: &'c Options<'a>,
        catalogue: &'c Catalogue<'a>,
        workloads: &[Workload<'_>],
        coordinators: BTreeSet<&'c str>,
    ) -> Self {
        let images = &options.config.images;
        let mut behind: BTreeMap<(String, String), BTreeSet<Identity>> = BTreeMap::new();
        for workload in workloads {
            for service in workload.services(&catalogue.services) {
                let key = (service.namespace.clone(), service.name.clone());
                behind
                    .entry(key)
                    .or_default()
                    .insert(workload.identity.clone());
            }
        }
        Self {
            options,
            catalogue,
            initializer_image: images.initializer.as_deref().unwrap_or(INITIALIZER_IMAGE),
            mesh_image: images.service_mesh.as_deref().unwrap_or(SERVICE_MESH_IMAGE),
            coordinators,
            behind,
        }
    }

    fn context(&self) -> Context<'_, 'a> {
        Context {
            options: self.options,
            catalogue: self.catalogue,
            initializer_image: self.initializer_image,
            mesh_image: self.mesh_image,
            coordinators: &self.coordinators,
            behind: &self.behind,
        }
    }
}

fn has_initializer(workload: &Workload<'_>, config: &Confidential) -> bool {
    let skipped = config.skip_initializer || workload.annotations.skip_initializer;
    !skipped
        || workload
            .init_containers
            .iter()
            .any(|name| name == INITIALIZER)
}

/// One finding for all workloads whose namespace nobody gave.
fn namespace_absent(
    coordinators: &[Workload<'_>],
    workloads: &[Workload<'_>],
    options: &Options<'_>,
) -> Option<Finding> {
    if options.config.namespace.is_some() {
        return None;
    }
    let absent = || {
        let all = coordinators.iter().chain(workloads);
        all.filter(|workload| workload.resource.namespace.is_none())
    };
    let first = absent().min_by_key(|w| &w.identity)?;
    let severity = match options.config.strict || options.mode == Mode::Helm {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let others = match absent().count() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let message = match severity {
        Severity::Error => format!("the namespace of {}{others} is not known", first.resource),
        _ => format!(
            "the namespace of {}{others} is not given: {DEFAULT_NAMESPACE} is assumed",
            first.resource
        ),
    };
    let finding = Finding::new(codes::NAMESPACE_ABSENT, severity, message)
        .help("policies pin it: give --namespace, NACRE_NAMESPACE or `namespace` in the configuration")
        .field("metadata.namespace");
    Some(first.locator().locate(finding, None))
}

fn nothing_selected(config: &Confidential) -> Finding {
    let severity = omission(config);
    Finding::new(codes::NOTHING_SELECTED, severity, "no workload asks to be confidential: nothing was changed")
        .help("write runtimeClassName: contrast-cc into the pod specification, or add selectors to the configuration")
}

/// Guests of a platform may need prepared nodes; said once.
fn quirks(finished: &[Finished<'_>], findings: &mut Vec<Finding>) {
    let platforms: BTreeMap<&str, _> = finished
        .iter()
        .filter_map(|f| f.made.as_ref())
        .map(|made| (made.platform.name.as_str(), made.platform))
        .collect();
    for platform in platforms.values() {
        for quirk in &platform.data.annotation_quirks {
            if *quirk == AnnotationQuirk::ContainerdConfigOfK3s {
                findings.push(
                    Finding::info(
                        codes::PLATFORM_QUIRK,
                        format!("{}: k3s passes Kata's annotations on only if its containerd template lists them", platform.name),
                    )
                    .help("add io.katacontainers.* to pod_annotations of the runtime handler in k3s's containerd template"),
                );
            }
        }
    }
}
