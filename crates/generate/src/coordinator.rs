//! Which Coordinator the workloads trust.

use std::collections::{BTreeMap, BTreeSet};

use nacre_findings::{Finding, codes::generate as codes};
use nacre_manifest::{Manifest, ReferenceValues, SnpReference};
use nacre_platform::Platform;
use nacre_workload::inject::CoordinatorLink;
use serde_json::Value;

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

/// The reference values as a manifest has them, on one line, without what reads the same when it is
/// left out: they stand in the environment of every initializer, and so in every policy.
fn canonical(snp: Vec<SnpReference>) -> String {
    let manifest = Manifest {
        reference_values: ReferenceValues { snp },
        ..Manifest::default()
    };
    let mut value = manifest.to_value();
    let Some(value) = value.get_mut("ReferenceValues") else {
        return String::new();
    };
    let sets = value.get_mut("snp").and_then(Value::as_array_mut);
    for (set, meant) in sets
        .into_iter()
        .flatten()
        .zip(&manifest.reference_values.snp)
    {
        let mut members = Vec::new();
        members_of(set, "", &mut members);
        for (parent, key) in members {
            let mut shorter = set.clone();
            let holder = shorter.pointer_mut(&parent).and_then(Value::as_object_mut);
            let gone = holder.and_then(|holder| holder.remove(&key));
            if gone.is_some()
                && serde_json::from_value(shorter.clone()).is_ok_and(|s: SnpReference| s == *meant)
            {
                *set = shorter;
            }
        }
    }
    value.to_string()
}

/// Members of objects in objects, whole objects before what they hold: pointer of the parent, key.
fn members_of(value: &Value, at: &str, out: &mut Vec<(String, String)>) {
    for (key, member) in value.as_object().into_iter().flatten() {
        out.push((at.to_owned(), key.clone()));
        members_of(member, &format!("{at}/{key}"), out);
    }
}

#[cfg(test)]
mod tests {
    use nacre_manifest::Product;

    use super::*;

    #[test]
    fn reference_values_are_short_and_read_the_same() {
        let mut filled = SnpReference::new("metal-qemu-snp", Product::Turin, 2);
        filled.trusted_measurement = Some("5a".repeat(48).parse().unwrap());
        filled.host_data_binding = nacre_manifest::HostDataBinding::Enforced;
        filled.minimum_tcb.snp = Some(27);
        filled.guest_policy.smt = false;
        filled.guest_policy.abi_minor = 31;
        filled.vmpl = 1;
        for (set, members) in [
            (SnpReference::new("metal-qemu-snp", Product::Milan, 1), 5),
            (filled, 8),
        ] {
            let text = canonical(vec![set.clone()]);
            let read: ReferenceValues = serde_json::from_str(&text).unwrap();
            assert_eq!(read.snp, [set]);
            let value: Value = serde_json::from_str(&text).unwrap();
            let found = value["snp"][0].as_object().unwrap();
            assert_eq!(found.len(), members, "{text}");
            // Nothing that is false or null is left but what no reader would fill in.
            assert!(
                !text.contains("false") || text.contains("\"SMT\":false"),
                "{text}"
            );
            assert!(!text.contains("null"), "{text}");
        }
    }
}
