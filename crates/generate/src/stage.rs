//! Stages 2 to 6 for one workload: inject, pin, runtime class, policy, annotate.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::{Code, Finding, Severity, codes::generate as codes, codes::workload};
use nacre_imagelock::{ImageLock, ImageReference, LookupError};
use nacre_manifest::{Identity, PolicyHash};
use nacre_platform::{EvidenceReach, EvidenceSource, ImageDelivery, Platform};
use nacre_policy::{Facts, Profile};
use nacre_workload::inject::{Argv, CoordinatorLink, Injection, MeshSettings};
use nacre_workload::mesh::{Peer, PeerRule};
use nacre_workload::names::{EGRESS_PEER, KATA_DEFAULT_VCPUS};
use nacre_workload::{checks, images, inject, object, sans, vcpus};
use serde_json::Value;

use crate::catalogue::Catalogue;
use crate::options::{Options, omission};
use crate::place::Place;
use crate::policy::claim_templates;
use crate::workload::Workload;

/// What every workload is made with.
pub(crate) struct Context<'c, 'a> {
    pub(crate) options: &'c Options<'a>,
    pub(crate) catalogue: &'c Catalogue<'a>,
    pub(crate) initializer_image: &'c str,
    pub(crate) mesh_image: &'c str,
    /// Namespaces of the Coordinators that are rendered.
    pub(crate) coordinators: &'c BTreeSet<&'c str>,
    /// Workloads behind each Service, by namespace and name; the Coordinator is not among them.
    pub(crate) behind: &'c BTreeMap<(String, String), BTreeSet<Identity>>,
}

/// A workload after all stages.
pub(crate) struct Finished<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) identity: Identity,
    pub(crate) value: Value,
    pub(crate) coordinator: bool,
    pub(crate) made: Option<Made>,
    pub(crate) findings: Vec<Finding>,
}

/// What an error keeps from being made.
pub(crate) struct Made {
    pub(crate) hash: PolicyHash,
    /// Where the options ask for it: beside the annotation it is most of what a workload takes.
    pub(crate) text: Option<String>,
    pub(crate) facts: Option<Box<Facts>>,
    pub(crate) profile: Profile,
    pub(crate) platform: &'static Platform,
    pub(crate) vcpus: u32,
    pub(crate) sans: Vec<String>,
    pub(crate) secret_id: Option<String>,
}

impl Context<'_, '_> {
    /// The Coordinator: owners instead of initializer and mesh.
    pub(crate) fn coordinator<'a>(&self, mut workload: Workload<'a>) -> Finished<'a> {
        let mut findings = Vec::new();
        if !workload.is_broken() {
            let config = self.options.config;
            let digests: Vec<_> = match config.insecure_unbound_first_set {
                true => Vec::new(),
                false => config
                    .workload_owners
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            };
            if digests.is_empty() && !config.insecure_unbound_first_set {
                findings.push(
                    Finding::error(
                        codes::COORDINATOR_UNBOUND,
                        "nobody is named who may set this Coordinator's first manifest",
                    )
                    .help(
                        "give workloadOwners in the configuration (`nacre init` makes keys), or accept \
                         it with insecureUnboundFirstSet: true",
                    )
                    .field(workload.spec_field.clone()),
                );
            }
            let (path, field) = (workload.path, &workload.spec_field);
            if let Some(spec) = path.pod_spec_mut(&mut workload.object) {
                let bound = inject::bind_owners(spec, field, config.update_threshold, &digests);
                findings.extend(bound.err().map(|finding| *finding));
                if !nacre_findings::has_errors(&findings) {
                    let agent = from_agent(workload.platform);
                    let bound = inject::bind_evidence(spec, field, agent);
                    findings.extend(bound.err().map(|finding| *finding));
                }
            }
        }
        self.finish(workload, findings, &[])
    }

    /// Everybody else.
    pub(crate) fn workload<'a>(
        &self,
        mut workload: Workload<'a>,
        link: &CoordinatorLink,
    ) -> Finished<'a> {
        if workload.is_broken() {
            return self.finish(workload, Vec::new(), &[]);
        }
        let mut findings = Vec::new();
        let config = self.options.config;
        let initializer = !config.skip_initializer && !workload.annotations.skip_initializer;
        let mut settings = None;
        if workload.annotations.wants_mesh() && !config.skip_service_mesh {
            match inject::mesh_settings(&workload.annotations, config.trust_domain.as_str()) {
                Ok(mut mesh) => {
                    self.default_peers(&workload.identity, &mut mesh);
                    findings.extend(self.any_peer(&workload, &mesh));
                    settings = Some(mesh);
                }
                Err(errors) => findings.extend(errors),
            }
        }
        let claims = claim_templates(&workload.object);
        let injection = Injection {
            initializer_image: initializer.then_some(self.initializer_image),
            mesh: settings.as_ref().map(|mesh| (self.mesh_image, mesh)),
            coordinator: link,
            renew_seconds: self.renewal(&workload, initializer, settings.as_ref(), &mut findings),
            attestation_agent: from_agent(workload.platform),
            claim_templates: &claims,
        };
        let written = injection.written();
        let (path, field) = (workload.path, workload.spec_field.clone());
        if let Some(spec) = path.pod_spec_mut(&mut workload.object) {
            findings.extend(injection.apply(spec, &field));
            if let Some(mesh) = &settings {
                let strict = config.strict;
                findings.extend(checks::mesh_pod(spec, &field, mesh, &written, strict));
            }
        }
        if initializer {
            findings.extend(self.elsewhere(&workload, link));
        }
        self.start_gate(&mut workload, settings.is_some(), &mut findings);
        self.finish(workload, findings, &written)
    }

    /// Seconds between renewals, and what keeps a renewer from its work.
    fn renewal(
        &self,
        workload: &Workload<'_>,
        initializer: bool,
        mesh: Option<&MeshSettings>,
        findings: &mut Vec<Finding>,
    ) -> u32 {
        let asked = workload.annotations.renew_seconds.as_ref();
        let seconds = asked.map_or(self.options.config.renew_seconds, |asked| asked.value);
        if seconds == 0 {
            return 0;
        }
        let field = asked.map_or(&workload.spec_field, |asked| &asked.field);
        if !initializer {
            findings.extend(asked.map(|asked| {
                Finding::warning(
                    workload::RENEWAL_WITHOUT_INITIALIZER,
                    "nothing renews the certificates: the initializer is skipped",
                )
                .help("do not skip the initializer, or remove nacre.dev/renew-seconds")
                .field(asked.field.clone())
            }));
            return 0;
        }
        if mesh.is_some_and(|mesh| mesh.strict_egress) {
            findings.push(
                Finding::error(
                    workload::RENEWAL_BLOCKED,
                    "strict egress keeps the renewer from the Coordinator",
                )
                .help(
                    "remove nacre.dev/servicemesh-strict-egress, or set nacre.dev/renew-seconds: \"0\"",
                )
                .field(field.clone()),
            );
        }
        seconds
    }

    /// An egress entry to a Service of the rendered set expects the workloads behind it, unless the
    /// user says whom to expect (SECURITY-DESIGN 18: SPIFFE ids, never hashes of the same set).
    fn default_peers(&self, identity: &Identity, mesh: &mut MeshSettings) {
        let Some((_, egress)) = &mesh.egress else {
            return;
        };
        for entry in &egress.entries {
            if mesh.egress_peer.rule(&entry.name).is_some() {
                continue;
            }
            let service = self
                .catalogue
                .services
                .index
                .by_host(&entry.host, &identity.namespace);
            let behind =
                service.and_then(|s| self.behind.get(&(s.namespace.clone(), s.name.clone())));
            if let Some(behind) = behind.filter(|behind| !behind.is_empty()) {
                let peers = behind.iter().map(|id| Peer::Identity(id.to_string()));
                let rule = PeerRule::new(&entry.name, peers.collect());
                mesh.egress_peer.rules.push(rule);
            }
        }
    }

    /// Egress entries for which nobody says who must answer.
    fn any_peer(&self, workload: &Workload<'_>, mesh: &MeshSettings) -> Vec<Finding> {
        let severity = match self.options.config.strict {
            true => Severity::Warning,
            false => Severity::Info,
        };
        let (Some((_, egress)), Some(annotation)) = (&mesh.egress, &workload.annotations.egress)
        else {
            return Vec::new();
        };
        let open = egress.entries.iter();
        open.filter(|entry| mesh.egress_peer.rule(&entry.name).is_none())
            .map(|entry| {
                let message = format!(
                    "egress {:?} to {:?}: any member of the mesh may answer",
                    entry.name, entry.host
                );
                Finding::new(workload::EGRESS_ANY_PEER, severity, message)
                    .help(format!(
                        "say who must in nacre.dev/{}, \"{name}=<namespace>/<Kind>/<name>\", or \"{name}=*\"",
                        EGRESS_PEER,
                        name = entry.name
                    ))
                    .field(annotation.field.clone())
            })
            .collect()
    }

    /// A name without a namespace is looked up in the workload's own.
    fn elsewhere(&self, workload: &Workload<'_>, link: &CoordinatorLink) -> Option<Finding> {
        let own = workload.identity.namespace.as_str();
        let there = self.coordinators.iter().next()?;
        let reached = link.host.contains(['.', ':']) || self.coordinators.contains(own);
        (!reached).then(|| {
            Finding::warning(
                codes::COORDINATOR_ELSEWHERE,
                format!(
                    "the name {:?} is looked up in namespace {own}, the Coordinator is in {there}",
                    link.host
                ),
            )
            .help(format!(
                "set coordinator.host: {}.{there} in the configuration",
                link.host
            ))
            .field("metadata.namespace")
        })
    }

    /// SECURITY-DESIGN 23.
    fn start_gate(&self, workload: &mut Workload<'_>, mesh: bool, findings: &mut Vec<Finding>) {
        let config = self.options.config;
        let asked = workload.annotations.start_gate.as_ref();
        let wanted = asked.map_or(config.start_gate, |gate| gate.value);
        if !mesh {
            if let Some(gate) = asked.filter(|gate| gate.value) {
                findings.push(
                    Finding::warning(
                        workload::GATE_WITHOUT_MESH,
                        "the start gate has no mesh to wait for",
                    )
                    .help("nothing is wrapped; add a mesh annotation")
                    .field(gate.field.clone()),
                );
            }
            return;
        }
        let field = workload.spec_field.clone();
        let guest_drops = workload.platform.is_some_and(|p| p.data.guest_default_deny);
        if wanted {
            let lock = self.options.lock;
            let argv = |image: &str| {
                let entry = lock.lookup(image).ok()?;
                Some(Argv {
                    entrypoint: &entry.config.entrypoint,
                    cmd: &entry.config.cmd,
                })
            };
            if let Some(spec) = workload.path.pod_spec_mut(&mut workload.object) {
                findings.extend(inject::wrap_in_gate(spec, &field, &argv));
            }
        } else if !guest_drops {
            let severity = omission(config);
            let finding = Finding::new(
                workload::START_GATE_MISSING,
                severity,
                "the app can be reached before the mesh protects it",
            );
            findings.push(
                finding
                    .help(
                        "set startGate: true in the configuration, or annotate the pod template with \
                         nacre.dev/start-gate: \"true\"",
                    )
                    .field(field),
            );
        }
    }

    /// Pin, runtime class, policy, annotate. `written` are the containers that were injected.
    fn finish<'a>(
        &self,
        mut workload: Workload<'a>,
        mut findings: Vec<Finding>,
        written: &[&str],
    ) -> Finished<'a> {
        let mut made = None;
        if let (false, Some(platform)) = (workload.is_broken(), workload.platform) {
            self.pin(&mut workload, &mut findings);
            self.runtime_class(&mut workload, platform, &mut findings);
            if !nacre_findings::has_errors(&findings) {
                made = self.policy(&mut workload, platform, written, &mut findings);
            }
        }
        let locator = workload.locator();
        let spec = workload.path.pod_spec(&workload.object);
        let located = findings.into_iter().map(|f| locator.locate(f, spec));
        let located: Vec<_> = located.collect();
        workload.findings.extend(located);
        Finished {
            coordinator: workload.annotations.coordinator,
            place: workload.place,
            identity: workload.identity,
            value: workload.object,
            made,
            findings: workload.findings,
        }
    }

    fn pin(&self, workload: &mut Workload<'_>, findings: &mut Vec<Finding>) {
        let lock = self.options.lock;
        if let Some(spec) = workload.path.pod_spec_mut(&mut workload.object) {
            findings.extend(images::pin(spec, &workload.spec_field, |image| {
                pinned(lock, image)
            }));
        }
    }

    fn runtime_class(
        &self,
        workload: &mut Workload<'_>,
        platform: &'static Platform,
        findings: &mut Vec<Finding>,
    ) {
        if platform.data.evidence.reach == EvidenceReach::Injected {
            findings.push(
                Finding::error(
                    codes::PLATFORM_UNSUPPORTED,
                    format!(
                        "{} hands reports only to containers that get a device",
                        platform.name
                    ),
                )
                .help("use another platform")
                .field(format!("{}.runtimeClassName", workload.spec_field)),
            );
        }
        let field = &workload.spec_field;
        if let Some(spec) = workload.path.pod_spec_mut(&mut workload.object) {
            findings.extend(checks::pull_secrets(spec, field, delivery_help(platform)));
            if let Some(spec) = spec.as_object_mut() {
                let name = Value::from(platform.runtime_class_name());
                spec.insert("runtimeClassName".to_owned(), name);
            }
        }
    }

    pub(crate) fn vcpus(
        &self,
        template: &Value,
        workload: &Workload<'_>,
        platform: &Platform,
        findings: &mut Vec<Finding>,
    ) -> Option<u32> {
        let vm = &platform.data.vm;
        let annotated = object::annotations(template)
            .and_then(|map| map.get(KATA_DEFAULT_VCPUS)?.as_str()?.parse().ok());
        let base = annotated.unwrap_or(vm.default_vcpus);
        if !vm.static_sizing {
            return Some(base);
        }
        match vcpus::vcpus(template.get("spec")?, &workload.spec_field, base) {
            Ok(count) => Some(count),
            Err(finding) => {
                findings.push(*finding);
                None
            }
        }
    }

    pub(crate) fn sans(
        &self,
        workload: &Workload<'_>,
        findings: &mut Vec<Finding>,
    ) -> Option<Vec<String>> {
        let config = self.options.config;
        let services = workload.services(&self.catalogue.services);
        let names = sans::Names {
            workload: &workload.identity.name,
            services: &services,
            annotation: workload.annotations.sans.as_ref(),
            configured: config
                .sans
                .get(&workload.identity)
                .map_or(&[], Vec::as_slice),
            trust_domain: config.trust_domain.as_str(),
        };
        names
            .collect()
            .map_err(|errors| findings.extend(errors))
            .ok()
    }
}

/// Whether containers of the platform get reports from CoCo's attestation agent.
fn from_agent(platform: Option<&Platform>) -> bool {
    platform.is_some_and(|platform| platform.data.evidence.source == EvidenceSource::CocoAa)
}

/// The reference with the digest of the lock, if it is not what stands there already.
fn pinned(lock: &ImageLock, image: &str) -> Result<Option<String>, Finding> {
    let refused = |error: LookupError| {
        Finding::error(Code::new(error.code()), error.to_string()).help(error.help())
    };
    let entry = lock.lookup(image).map_err(refused)?;
    let reference = ImageReference::parse(image).map_err(|error| refused(error.into()))?;
    Ok((reference.digest() != Some(&entry.digest)).then(|| reference.pinned(&entry.digest)))
}

/// How guests of a platform get credentials for private images.
fn delivery_help(platform: &Platform) -> &'static str {
    match platform.data.image_delivery {
        ImageDelivery::GuestPull => {
            "the guest pulls images itself: configure credentials in the guest's own image puller, \
             or mirror private images to a registry that the guest can read without"
        }
        ImageDelivery::Tardev => {
            "the host fetches the layers and the guest checks their dm-verity roots, so the \
             credentials are the node's; keep imagePullSecrets for the kubelet"
        }
    }
}
