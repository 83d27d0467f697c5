//! Stage 5: what a workload's policy is made from, and the policy in its annotation.

use std::cell::RefCell;
use std::collections::BTreeSet;

use nacre_findings::{Finding, codes::generate as codes};
use nacre_imagelock::Entry;
use nacre_manifest::Identity;
use nacre_platform::{ImageDelivery, Platform};
use nacre_policy::{Carried, Carrier, Facts, Injected, Target, WorkloadInput};
use nacre_workload::names::{CERTS_VOLUME, INITIALIZER, RENEWER, SERVICE_MESH};
use nacre_workload::{checks, object};
use serde_json::Value;

use crate::budget;
use crate::resolve::{AUTOMOUNT, Found};
use crate::stage::{Context, Made};
use crate::workload::Workload;

impl Context<'_, '_> {
    /// Makes the policy and writes it into the pod template. `written` are the containers that were
    /// injected.
    pub(crate) fn policy(
        &self,
        workload: &mut Workload<'_>,
        platform: &'static Platform,
        written: &[&str],
        findings: &mut Vec<Finding>,
    ) -> Option<Made> {
        let config = self.options.config;
        let template = workload.path.template(&workload.object)?;
        let spec = template.get("spec")?;
        let target = match target(config.policy.target.as_deref(), platform) {
            Ok(target) => target,
            Err(finding) => {
                findings.push(finding);
                return None;
            }
        };
        let vcpus = self.vcpus(template, workload, platform, findings)?;
        let names = self.sans(workload, findings)?;

        let (identity, catalogue) = (&workload.identity, self.catalogue);
        let ambiguous: RefCell<BTreeSet<String>> = RefCell::default();
        let entries = |image: &str| -> Option<&Entry> { self.options.lock.lookup(image).ok() };
        let config_maps = |name: &str| -> Option<&Value> {
            match catalogue.config_maps.find(&identity.namespace, name) {
                Found::Nothing => None,
                Found::One(index) => catalogue.config_maps.value(index),
                Found::Several(index, _) => {
                    ambiguous.borrow_mut().insert(name.to_owned());
                    catalogue.config_maps.value(index)
                }
            }
        };
        let secret_keys = |name: &str| catalogue.secrets.secret_keys(&identity.namespace, name);
        let claims = claim_templates(&workload.object);
        let automount = self.automount(spec, identity, findings);
        let ours = |name: &'static str| written.contains(&name).then_some(name);
        let evidence = &platform.data.evidence;
        let own = [&evidence.device, &evidence.path].into_iter();
        let sources: Vec<&str> = own
            .filter_map(|source| source.as_deref())
            .chain(checks::WAYS_OUT)
            .collect();
        let powers = checks::powers(spec);
        let who = (
            workload.resource.api_version.as_str(),
            workload.resource.kind.as_str(),
            workload.resource.name.as_str(),
        );
        let null = Value::Null;
        let metadata = template.get("metadata").unwrap_or(&null);
        let mut input = WorkloadInput::new(who, metadata, spec, target);
        input.namespace = Some(&identity.namespace);
        input.pod_spec_path = &workload.spec_field;
        input.volume_claim_templates = &claims;
        input.indexed = indexed(&identity.kind, &workload.object);
        input.automount = automount;
        input.images = &entries;
        input.config_maps = &config_maps;
        input.secret_keys = &secret_keys;
        input.services = catalogue.services.of(&identity.namespace);
        input.profile = config.policy.profile;
        input.strict = config.strict;
        input.allow_secret_env = &config.policy.allow_secret_env;
        input.injected = Injected {
            initializer: ours(INITIALIZER),
            renewer: ours(RENEWER),
            mesh: ours(SERVICE_MESH),
            coordinator: workload.annotations.coordinator,
            report_sources: &sources,
            report_capabilities: &powers,
            guest_memory_volumes: &[CERTS_VOLUME],
        };
        let mut facts = None;
        let policy = if self.options.policy_facts {
            let (policy, kept) = Facts::record(&input, nacre_policy::generate);
            facts = Some(Box::new(kept));
            policy
        } else {
            nacre_policy::generate(&input)
        };
        let policy = match policy {
            Ok(policy) => policy,
            Err(errors) => {
                findings.extend(errors);
                return None;
            }
        };
        if self.options.self_check
            && let Err(finding) = nacre_policy::self_check(&policy, &input)
        {
            findings.push(finding);
            return None;
        }
        let profile = config.policy.profile;
        let carried = policy.carrier(carrier(platform.data.carrier));
        findings.extend(policy.findings);
        for name in ambiguous.into_inner() {
            findings.push(
                Finding::error(
                    codes::AMBIGUOUS_REFERENCE,
                    format!("there are two different ConfigMaps named {name}"),
                )
                .help("keep one of them")
                .field(workload.spec_field.clone()),
            );
        }
        let template = workload.path.template_mut(&mut workload.object)?;
        annotate(template, &carried);
        findings.extend(budget::check(template).map(|f| f.field(workload.spec_field.clone())));
        Some(Made {
            hash: carried.hash,
            text: self.options.policy_texts.then_some(policy.text),
            facts,
            profile,
            platform,
            vcpus,
            sans: names,
            secret_id: workload
                .annotations
                .workload_secret_id
                .as_ref()
                .map(|id| id.value.clone()),
        })
    }

    /// What the pod's ServiceAccount says about its token, if it is rendered.
    fn automount(
        &self,
        spec: &Value,
        identity: &Identity,
        findings: &mut Vec<Finding>,
    ) -> Option<bool> {
        let accounts = &self.catalogue.service_accounts;
        let name = nacre_policy::service_account(spec);
        let index = match accounts.find(&identity.namespace, name) {
            Found::Nothing => return None,
            Found::One(index) => index,
            Found::Several(index, _) => {
                if spec.get(AUTOMOUNT).is_none() {
                    findings.push(
                        Finding::error(
                            codes::AMBIGUOUS_REFERENCE,
                            format!("there are two different ServiceAccounts named {name}"),
                        )
                        .help("keep one of them, or set automountServiceAccountToken in the pod"),
                    );
                }
                index
            }
        };
        let said = accounts.value(index)?.get(AUTOMOUNT);
        Some(said.and_then(Value::as_bool).unwrap_or(true))
    }
}

/// Whether the pods are those of an Indexed Job, also of one that a CronJob makes.
fn indexed(kind: &str, object: &Value) -> bool {
    let job = match kind {
        "Job" => object.get("spec"),
        "CronJob" => object.pointer("/spec/jobTemplate/spec"),
        _ => None,
    };
    let mode = job.and_then(|job| job.get("completionMode"));
    mode.and_then(Value::as_str) == Some("Indexed")
}

fn carrier(carrier: nacre_platform::Carrier) -> Carrier {
    match carrier {
        nacre_platform::Carrier::AgentPolicy => Carrier::AgentPolicy,
        nacre_platform::Carrier::InitData => Carrier::InitData,
    }
}

fn target(name: Option<&str>, platform: &Platform) -> Result<&'static Target, Finding> {
    let delivery = match platform.data.image_delivery {
        ImageDelivery::GuestPull => nacre_policy::target::ImageDelivery::GuestPull,
        ImageDelivery::Tardev => nacre_policy::target::ImageDelivery::Tardev,
    };
    let Some(name) = name else {
        return Ok(Target::default_for(delivery));
    };
    let found = Target::find(name).filter(|target| target.image_delivery == delivery);
    found.ok_or_else(|| {
        let fitting = nacre_policy::target::TARGETS
            .iter()
            .filter(|t| t.image_delivery == delivery);
        let names: Vec<_> = fitting.map(|t| t.name).collect();
        Finding::error(
            codes::TARGET_UNKNOWN,
            format!(
                "policy.target {name:?} is not known for platform {}",
                platform.name
            ),
        )
        .help(format!("use {}", names.join(" or ")))
    })
}

/// Names of a StatefulSet's claims.
pub(crate) fn claim_templates(object: &Value) -> Vec<String> {
    let templates = object
        .get("spec")
        .and_then(|spec| spec.get("volumeClaimTemplates"))
        .and_then(Value::as_array);
    let name = |template: &Value| Some(template.get("metadata")?.get("name")?.as_str()?.to_owned());
    templates.into_iter().flatten().filter_map(name).collect()
}

/// Writes the policy into the pod template; one that another carrier left is taken away.
fn annotate(template: &mut Value, carried: &Carried) {
    for other in [Carrier::AgentPolicy, Carrier::InitData] {
        if other.annotation_key() != carried.annotation_key {
            object::remove_annotation(template, other.annotation_key());
        }
    }
    object::set_annotation(template, carried.annotation_key, &carried.annotation_value);
}
