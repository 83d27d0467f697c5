//! Licences of everything that is linked or runs while building.

use crate::metadata::GRAPH;

const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// File-level copyleft, linked unchanged: package and licence.
const EXCEPTIONS: &[(&str, &str)] = &[("option-ext", "MPL-2.0")];

#[test]
fn every_licence_is_on_the_list() {
    let members: Vec<&str> = GRAPH
        .members()
        .map(|package| package.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for (package, way) in GRAPH.below(&members).values() {
        let Some(licence) = &package.license else {
            wrong.push(format!(
                "{} {} names no licence:{way}",
                package.name, package.version
            ));
            continue;
        };
        let exception = EXCEPTIONS
            .iter()
            .any(|(name, allowed)| *name == package.name && allowed == licence);
        if !exception && !satisfied(licence) {
            wrong.push(format!(
                "{} {} is {licence}:{way}",
                package.name, package.version
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Packages of which a program links several versions, until those above them agree.
const SEVERAL_VERSIONS: &[&str] = &[
    "base64",
    "getrandom",
    "num-bigint",
    "syn",
    "synstructure",
    "untrusted",
    "winnow",
];

#[test]
fn programs_link_one_version_of_each_package() {
    let mut wrong = Vec::new();
    let mut needed = std::collections::BTreeSet::new();
    for program in crate::layers::programs() {
        let mut versions: std::collections::BTreeMap<String, Vec<String>> = Default::default();
        for (name, version) in crate::metadata::versions_built_for(program, "normal") {
            versions.entry(name).or_default().push(version);
        }
        for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
            match SEVERAL_VERSIONS.iter().find(|known| *known == name) {
                Some(known) => {
                    needed.insert(*known);
                }
                None => wrong.push(format!("{program} links {name} {versions:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let stale: Vec<_> = SEVERAL_VERSIONS
        .iter()
        .filter(|name| !needed.contains(*name))
        .collect();
    assert!(stale.is_empty(), "take off the list: {stale:?}");
}

/// Whether an SPDX expression can be met with allowed licences only. Old manifests write `/` for `OR`.
fn satisfied(expression: &str) -> bool {
    let text = expression.replace('/', " OR ");
    let words = text
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace(" WITH LLVM-exception", "+WITH+LLVM-exception");
    let words: Vec<String> = words
        .split_whitespace()
        .map(|word| word.replace('+', " "))
        .collect();
    let mut rest = words.as_slice();
    let met = any(&mut rest);
    met && rest.is_empty()
}

fn any(rest: &mut &[String]) -> bool {
    let mut met = all(rest);
    while take(rest, "OR") {
        met |= all(rest);
    }
    met
}

fn all(rest: &mut &[String]) -> bool {
    let mut met = one(rest);
    while take(rest, "AND") {
        met &= one(rest);
    }
    met
}

fn one(rest: &mut &[String]) -> bool {
    if take(rest, "(") {
        let met = any(rest);
        return take(rest, ")") && met;
    }
    let Some((licence, after)) = rest.split_first() else {
        return false;
    };
    *rest = after;
    ALLOWED.contains(&licence.as_str())
}

fn take(rest: &mut &[String], word: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if first == word => {
            *rest = after;
            true
        }
        _ => false,
    }
}

#[test]
fn expressions_are_read_as_spdx_reads_them() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(MIT OR GPL-3.0) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(satisfied(good), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "",
        "MIT GPL-3.0",
        "(MIT",
    ] {
        assert!(!satisfied(bad), "{bad}");
    }
}
