//! Which Coordinator the workloads trust.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::{Finding, codes::generate as codes};
use nacre_manifest::{Manifest, ReferenceValues, SnpReference};
use nacre_platform::Platform;
use nacre_workload::inject::CoordinatorLink;

use crate::options::Options;
use crate::stage::Finished;

/// Reference values by platform name for these numbers of vCPUs, hand edits of the previous manifest
/// taken over.
pub(crate) fn reference_values(
    sizes: &BTreeMap<&'static str, (&'static Platform, BTreeSet<u32>)>,
    options: &Options<'_>,
) -> Vec<SnpReference> {
    let overrides = options.config.reference_overrides();
    let sets = sizes
        .values()
        .flat_map(|(platform, vcpus)| platform.reference_values(vcpus, &overrides));
    let mut manifest = Manifest {
        reference_values: ReferenceValues {
            snp: sets.collect(),
        },
        ..Manifest::default()
    };
    if let Some(previous) = options.previous {
        manifest.carry_from(previous, &BTreeSet::new());
    }
    manifest.reference_values.snp
}

/// Platforms and numbers of vCPUs of some workloads.
pub(crate) fn sizes<'f>(
    finished: impl Iterator<Item = &'f Finished<'f>>,
) -> BTreeMap<&'static str, (&'static Platform, BTreeSet<u32>)> {
    let mut sizes: BTreeMap<&'static str, (&'static Platform, BTreeSet<u32>)> = BTreeMap::new();
    for made in finished.filter_map(|f| f.made.as_ref()) {
        let (_, vcpus) = sizes
            .entry(made.platform.name.as_str())
            .or_insert((made.platform, BTreeSet::new()));
        vcpus.insert(made.vcpus);
    }
    sizes
}

/// Reference values of a Coordinator that is deployed apart: given, or those of the configured
/// platform for a guest without CPU limits.
pub(crate) fn apart(options: &Options<'_>) -> Vec<SnpReference> {
    let coordinator = &options.config.coordinator;
    if let Some(reference) = &coordinator.reference {
        return reference.snp.clone();
    }
    let platform = options.config.platform.as_deref();
    let Some(platform) = platform.and_then(|name| nacre_platform::find(name).ok()) else {
        return Vec::new();
    };
    let vcpus = BTreeSet::from([platform.data.vm.default_vcpus]);
    reference_values(
        &BTreeMap::from([(platform.name.as_str(), (platform, vcpus))]),
        options,
    )
}

/// What initializers are told. `needed` is false when there is none to be told.
pub(crate) fn link(
    coordinators: &[Finished<'_>],
    options: &Options<'_>,
    needed: bool,
    findings: &mut Vec<Finding>,
) -> CoordinatorLink {
    let config = options.config;
    let mut hashes: Vec<String> = coordinators
        .iter()
        .filter_map(|c| Some(c.made.as_ref()?.hash.to_string()))
        .collect();
    let mut sets = reference_values(&sizes(coordinators.iter()), options);
    if coordinators.is_empty() && !config.coordinator.policy_hashes.is_empty() {
        hashes = config
            .coordinator
            .policy_hashes
            .iter()
            .map(ToString::to_string)
            .collect();
        sets = apart(options);
    }
    if coordinators.is_empty()
        && hashes.is_empty()
        && !config.allow_unattested_coordinator
        && needed
    {
        findings.push(
            Finding::error(
                codes::COORDINATOR_MISSING,
                "the workloads do not know which Coordinator to trust: none is rendered",
            )
            .help(
                "run `nacre coordinator-resources` and render its output along with the workloads, \
                 or name coordinator.policyHashes in the configuration",
            ),
        );
    }
    hashes.sort_unstable();
    hashes.dedup();
    CoordinatorLink {
        host: config.coordinator.host.clone(),
        reference: (!hashes.is_empty()).then(|| canonical(sets)),
        policy_hashes: hashes,
        allow_unattested: config.allow_unattested_coordinator,
    }
}

/// The reference values as a manifest has them, on one line.
fn canonical(snp: Vec<SnpReference>) -> String {
    let manifest = Manifest {
        reference_values: ReferenceValues { snp },
        ..Manifest::default()
    };
    let value = manifest.to_value();
    value
        .get("ReferenceValues")
        .map(ToString::to_string)
        .unwrap_or_default()
}
