//! The data file and look-ups in it.

use std::sync::LazyLock;

use strsim::osa_distance;

use crate::RUNTIME_CLASS_PREFIX;
use crate::types::Platform;

const FILE: &str = include_str!("platforms.json");

/// The file is part of the program; a test proves that it parses.
static PLATFORMS: LazyLock<Vec<Platform>> =
    LazyLock::new(|| serde_json::from_str(FILE).unwrap_or_default());

/// Every platform, in the order of the data file.
pub fn platforms() -> &'static [Platform] {
    &PLATFORMS
}

/// The platform with this name, in any case.
pub fn find(name: &str) -> Result<&'static Platform, UnknownPlatform> {
    let same = |platform: &&Platform| platform.name.eq_ignore_ascii_case(name);
    platforms()
        .iter()
        .find(same)
        .ok_or_else(|| UnknownPlatform {
            name: name.to_owned(),
            known: platforms()
                .iter()
                .map(|platform| platform.name.as_str())
                .collect(),
            suggestion: suggestion(name),
        })
}

/// The platform that a runtime class names: `contrast-cc-<platform>`, possibly with a version behind
/// it. `None` for the bare placeholder and for every other class.
pub fn for_runtime_class(class: &str) -> Option<&'static Platform> {
    let rest = class
        .strip_prefix(RUNTIME_CLASS_PREFIX)?
        .strip_prefix('-')?;
    platforms().iter().find(|platform| {
        rest.strip_prefix(platform.name.as_str())
            .is_some_and(|version| {
                version.is_empty()
                    || version.strip_prefix('-').is_some_and(|hash| {
                        hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
                    })
            })
    })
}

/// A platform that is not in the data file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown platform {name:?}; known are {}", known.join(", "))]
pub struct UnknownPlatform {
    /// What was asked for.
    pub name: String,
    /// The names there are.
    pub known: Vec<&'static str>,
    /// The closest of them, if one is close.
    pub suggestion: Option<&'static str>,
}

/// The platform that shares most parts with the name, if it shares at least one, fewest differing
/// letters first.
fn suggestion(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let best = platforms()
        .iter()
        .map(|platform| (osa_distance(&name, &platform.name), platform.name.as_str()))
        .min()?;
    (best.0 * 2 <= name.len().max(1)).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_data_file_parses() {
        let parsed: Vec<Platform> = serde_json::from_str(FILE).unwrap();
        let names: Vec<&str> = parsed
            .iter()
            .map(|platform| platform.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "aks-clh-snp",
                "metal-qemu-snp",
                "k3s-qemu-snp",
                "kata-qemu-snp"
            ]
        );
        assert_eq!(platforms(), parsed);
    }

    /// A guest without it starts and never gets a certificate: it has to be found where attestation is explained.
    #[test]
    fn what_a_source_of_evidence_needs_is_documented() {
        let page = include_str!("../../../docs/attestation.md");
        let mut needed = 0;
        for platform in platforms() {
            let evidence = &platform.data.evidence;
            let facts = [&evidence.kernel_parameter, &evidence.url];
            for fact in facts.into_iter().flatten() {
                needed += 1;
                assert!(page.contains(&format!("`{fact}`")), "{fact}");
            }
        }
        assert!(needed >= 2, "the agent's parameter and address");
    }

    #[test]
    fn every_fact_has_a_source() {
        for platform in platforms() {
            let data = serde_json::to_value(&platform.data).unwrap();
            let facts: BTreeSet<String> = data.as_object().unwrap().keys().cloned().collect();
            let sources: BTreeSet<String> = platform
                .sources
                .iter()
                .map(|(fact, _)| fact.to_owned())
                .collect();
            assert_eq!(facts, sources, "{}", platform.name);
            assert!(
                platform
                    .sources
                    .iter()
                    .all(|(_, source)| !source.is_empty())
            );
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_misspellings_get_a_proposal() {
        assert_eq!(find("AKS-CLH-SNP").unwrap().name, "aks-clh-snp");
        assert_eq!(
            find("metal-qmu-snp").unwrap_err().suggestion,
            Some("metal-qemu-snp")
        );
        assert_eq!(
            find("K3S-QEMU-SPN").unwrap_err().suggestion,
            Some("k3s-qemu-snp")
        );
        assert_eq!(find("sgx").unwrap_err().suggestion, None);
    }

    #[test]
    fn runtime_class_names_are_pinned() {
        // A change here renames runtime classes in clusters: release notes must say so.
        let names: Vec<String> = platforms()
            .iter()
            .map(Platform::runtime_class_name)
            .collect();
        assert_eq!(names, PINNED);
    }

    const PINNED: [&str; 4] = [
        "contrast-cc-aks-clh-snp-4471c912",
        "contrast-cc-metal-qemu-snp-323f0eaf",
        "contrast-cc-k3s-qemu-snp-e731a1b3",
        "contrast-cc-kata-qemu-snp-a292e2cf",
    ];

    #[test]
    fn a_runtime_class_leads_back_to_its_platform() {
        for platform in platforms() {
            let versioned = platform.runtime_class_name();
            assert_eq!(for_runtime_class(&versioned), Some(platform));
            let plain = format!("contrast-cc-{}", platform.name);
            assert_eq!(for_runtime_class(&plain), Some(platform));
        }
        assert_eq!(for_runtime_class("contrast-cc"), None);
        assert_eq!(for_runtime_class("contrast-cc-aks-clh-snp-extra"), None);
        assert_eq!(for_runtime_class("kata-cc-isolation"), None);
    }
}
