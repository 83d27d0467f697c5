//! Who may depend on whom.

use std::collections::BTreeSet;
use std::process::Command;

use crate::metadata::{GRAPH, built_for, features_of, linked_by, said};

/// The one table of allowed arrows, as in ARCHITECTURE.md: package, what it may link.
const MAY_USE: &[(&str, &[&str])] = &[
    ("nacre-findings", &[]),
    ("nacre-api", &[]),
    ("nacre-identity", &[]),
    ("nacre-krm", &[]),
    ("nacre-manifest", &[]),
    ("nacre-imagelock", &[]),
    ("nacre-meshconfig", &[]),
    ("nacre-platform", &["nacre-manifest"]),
    ("nacre-fnconfig", &["nacre-imagelock", "nacre-manifest"]),
    (
        "nacre-policy",
        &["nacre-findings", "nacre-imagelock", "nacre-manifest"],
    ),
    (
        "nacre-workload",
        &["nacre-findings", "nacre-krm", "nacre-meshconfig"],
    ),
    ("nacre-generate", PURE),
    ("nacre-framing", CORE),
    ("nacre-review", CORE),
    ("nacre-registry", &["nacre-imagelock"]),
    ("nacre-krm-fn", &["nacre-framing"]),
    ("nacre-post-renderer", &["nacre-framing"]),
    ("nacre-mesh", &["nacre-identity", "nacre-meshconfig"]),
    ("nacre-attest", &["nacre-findings", "nacre-manifest"]),
    ("nacre-atls", &["nacre-attest"]),
    ("nacre-pki", &["nacre-manifest"]),
    ("nacre-store", &[]),
    ("nacre-history", &["nacre-manifest"]),
    (
        "nacre-coordinator",
        &[
            "nacre-api",
            "nacre-atls",
            "nacre-attest",
            "nacre-collateral",
            "nacre-history",
            "nacre-manifest",
            "nacre-pki",
            "nacre-store",
        ],
    ),
    ("nacre-gate", &[]),
    (
        "nacre-initializer",
        &[
            "nacre-api",
            "nacre-atls",
            "nacre-attest",
            "nacre-collateral",
            "nacre-manifest",
            "nacre-pki",
        ],
    ),
    ("nacre-collateral", &["nacre-attest", "nacre-manifest"]),
    ("nacre-sim", &["nacre-attest", "nacre-manifest"]),
    ("nacre-client", CLIENT),
];

/// What verifies and sets: it reads policies and compares manifests, and so is made of much.
const CLIENT: &[&str] = &[
    "nacre-api",
    "nacre-atls",
    "nacre-attest",
    "nacre-findings",
    "nacre-fnconfig",
    "nacre-generate",
    "nacre-history",
    "nacre-imagelock",
    "nacre-krm",
    "nacre-manifest",
    "nacre-meshconfig",
    "nacre-pki",
    "nacre-platform",
    "nacre-policy",
    "nacre-review",
    "nacre-workload",
];

/// What the transformation is made of.
const PURE: &[&str] = &[
    "nacre-findings",
    "nacre-fnconfig",
    "nacre-imagelock",
    "nacre-krm",
    "nacre-manifest",
    "nacre-meshconfig",
    "nacre-platform",
    "nacre-policy",
    "nacre-workload",
];

/// The transformation and what it is made of.
const CORE: &[&str] = &[
    "nacre-findings",
    "nacre-fnconfig",
    "nacre-generate",
    "nacre-imagelock",
    "nacre-krm",
    "nacre-manifest",
    "nacre-meshconfig",
    "nacre-platform",
    "nacre-policy",
    "nacre-workload",
];

/// Packages that may use everything but what is for simulation.
const PROGRAMS: &[&str] = &["nacre-cli"];

/// Packages that no program is made of.
const TOOLING: &[&str] = &["nacre-test-support", "nacre-tests", "nacre-xtask"];

/// What stands in for hardware; a program that links it could be told to trust it.
const SIMULATION: &str = "nacre-sim";

/// Programs of the folder `simulation/`: those of production with the simulated root. Nothing else may link
/// [`SIMULATION`], and nothing at all may link these.
const SIMULATORS: &[&str] = &[
    "nacre-sim-cli",
    "nacre-sim-coordinator",
    "nacre-sim-initializer",
    "nacre-sim-platform",
];

#[test]
fn every_package_uses_only_what_it_may() {
    let mut wrong = Vec::new();
    for package in GRAPH.members() {
        let name = package.name.as_str();
        let used = GRAPH.ours_linked_by(package);
        if TOOLING.contains(&name) || SIMULATORS.contains(&name) {
            continue;
        }
        if PROGRAMS.contains(&name) {
            for other in [SIMULATION].iter().chain(TOOLING) {
                assert!(!used.contains(other), "{name} links {other}");
            }
            continue;
        }
        let allowed = MAY_USE.iter().find(|(package, _)| *package == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} has no line in MAY_USE"));
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        wrong.extend(
            used.difference(&allowed)
                .map(|other| format!("{name} must not use {other}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_names_no_package_that_is_gone() {
    let members: BTreeSet<&str> = GRAPH
        .members()
        .map(|package| package.name.as_str())
        .collect();
    for (name, allowed) in MAY_USE {
        for name in std::iter::once(name).chain(*allowed) {
            assert!(members.contains(name), "{name} is no package");
        }
    }
}

#[test]
fn the_table_has_no_circle() {
    // Each line may only name packages of lines that can be emptied before it.
    let mut settled = BTreeSet::new();
    let mut open: Vec<_> = MAY_USE.to_vec();
    while !open.is_empty() {
        let before = open.len();
        open.retain(|(name, uses)| {
            let ready = uses.iter().all(|other| settled.contains(other));
            if ready {
                settled.insert(*name);
            }
            !ready
        });
        assert!(open.len() < before, "a circle among {open:?}");
    }
}

#[test]
fn simulation_is_in_no_program() {
    for package in GRAPH.members().filter(|package| package.name != SIMULATION) {
        let name = package.name.as_str();
        if TOOLING.contains(&name) {
            continue;
        }
        let linked = GRAPH.ours_linked_by(package);
        for simulator in SIMULATORS {
            assert!(!linked.contains(simulator), "{name} links {simulator}");
        }
        if !SIMULATORS.contains(&name) {
            assert!(!linked.contains(SIMULATION), "{name} links {SIMULATION}");
        }
    }
}

#[test]
fn simulators_are_told_apart_by_name_and_place() {
    for package in GRAPH.members() {
        let name = package.name.as_str();
        let there = package.manifest_path.contains("/simulation/");
        assert_eq!(there, SIMULATORS.contains(&name), "{name}");
        if there {
            assert!(name.starts_with("nacre-sim-"), "{name}");
            let description = package.description.as_deref().unwrap_or_default();
            assert!(
                description.starts_with("SIMULATION: "),
                "{name}: {description}"
            );
        }
    }
}

#[test]
fn no_program_is_built_with_another_root() {
    let danger = |program: &str| {
        let features = features_of(program);
        assert!(!features.is_empty(), "{program}");
        features
            .into_iter()
            .find(|feature| feature.contains("/danger"))
    };
    for program in [
        "nacre-cli",
        "nacre-coordinator",
        "nacre-gate",
        "nacre-initializer",
        "nacre-krm-fn",
        "nacre-mesh",
        "nacre-post-renderer",
    ] {
        assert_eq!(danger(program), None, "{program}");
    }
    // It is seen where it is.
    assert_eq!(
        danger("nacre-sim-coordinator").as_deref(),
        Some("nacre-attest/danger-other-roots")
    );
}

#[test]
fn tests_of_a_package_do_not_reach_upwards_without_a_reason() {
    // Evidence is tested against the simulated issuer; configuration samples are YAML.
    let allowed = [
        ("nacre-atls", "nacre-sim"),
        // whole flows over real connections need guests
        ("nacre-coordinator", "nacre-sim"),
        // the bench sets policies as they are generated
        ("nacre-coordinator", "nacre-policy"),
        ("nacre-attest", "nacre-sim"),
        ("nacre-client", "nacre-sim"),
        ("nacre-collateral", "nacre-sim"),
        ("nacre-fnconfig", "nacre-krm"),
        ("nacre-history", "nacre-findings"),
        ("nacre-initializer", "nacre-sim"),
    ];
    for package in GRAPH
        .members()
        .filter(|package| !TOOLING.contains(&package.name.as_str()))
    {
        let name = package.name.as_str();
        let line = MAY_USE
            .iter()
            .find(|(package, _)| *package == name)
            .map_or(&[][..], |line| line.1);
        for other in GRAPH.ours_for_tests_of(package) {
            let known = line.contains(&other)
                || allowed.contains(&(name, other))
                || TOOLING.contains(&other);
            assert!(
                known || PROGRAMS.contains(&name),
                "tests of {name} use {other}"
            );
        }
    }
}

#[test]
fn the_function_is_offline_synchronous_and_without_c() {
    // An async runtime, TLS, HTTP or C code would each widen what a pure function can do.
    let banned = [
        "aws-lc-rs",
        "aws-lc-sys",
        "cc",
        "cmake",
        "h2",
        "http",
        "hyper",
        "k8s-openapi",
        "kube",
        "mio",
        "openssl-sys",
        "quinn",
        "reqwest",
        "ring",
        "rustls",
        "socket2",
        "tokio",
        "tonic",
        "ureq",
        "zstd-sys",
    ];
    for program in ["nacre-krm-fn", "nacre-post-renderer"] {
        let linked = built_for(program, "normal");
        assert!(
            linked.len() > 10,
            "{program} is made of {linked:?}: is that all?"
        );
        for name in banned {
            assert!(
                !linked.contains(name),
                "{program} links {name}: cargo tree -p {program} -i {name}"
            );
        }
        let built = built_for(program, "normal,build");
        assert!(
            !built.contains("cc") && !built.contains("cmake"),
            "{program} compiles C code"
        );
    }
}

/// Packages that become programs of images.
pub(crate) fn programs() -> impl Iterator<Item = &'static str> {
    const ALL: &[&str] = &[
        "nacre-cli",
        "nacre-coordinator",
        "nacre-gate",
        "nacre-initializer",
        "nacre-krm-fn",
        "nacre-mesh",
        "nacre-post-renderer",
    ];
    let is_member = |name: &&str| GRAPH.members().any(|package| package.name == *name);
    ALL.iter().copied().filter(is_member)
}

#[test]
fn banned_packages_are_in_no_program() {
    let banned = [
        ("libyml", "unsound, see RUSTSEC-2025-0067"),
        ("native-tls", "one TLS library: rustls"),
        ("openssl-sys", "not static, another crypto library"),
        ("ring", "one crypto library: aws-lc; see below for the mesh"),
        ("rsa", "timing side channel, RUSTSEC-2023-0071"),
        ("serde_yaml", "unmaintained; crates/krm reads YAML"),
        ("serde_yml", "unsound, see RUSTSEC-2025-0068"),
    ];
    for program in programs() {
        let linked = built_for(program, "normal");
        for (name, reason) in banned {
            if (program, name) == ("nacre-mesh", "ring") {
                continue;
            }
            assert!(!linked.contains(name), "{program} links {name}: {reason}");
        }
    }
}

/// aws-lc has no AES-GCM for processors with VAES and without AVX-512. Handshakes, keys and certificates are its
/// business all the same.
#[test]
fn ring_is_for_the_records_of_the_mesh_only() {
    assert_eq!(
        linked_by("nacre-mesh", "ring"),
        BTreeSet::from(["nacre-mesh".to_owned()])
    );
    let found = said(
        Command::new("git")
            .args(["grep", "--files-with-matches", r"\<ring::", "--"])
            .args(["*.rs", ":!tests"]),
    );
    assert_eq!(found, "mesh/src/records.rs\n");
}
