//! The SBOMs against what the programs say of themselves.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::harness::{given, program};

/// Image and programs in it.
const IMAGES: [(&str, &[&str]); 6] = [
    ("krm-fn", &["nacre-krm-fn"]),
    ("post-renderer", &["nacre-post-renderer"]),
    ("cli", &["nacre"]),
    ("coordinator", &["nacre-coordinator"]),
    ("initializer", &["nacre-initializer", "nacre-gate"]),
    ("mesh", &["nacre-mesh"]),
];

/// Name, version and licence of each part of an image.
fn parts(image: &str) -> Vec<(String, String, String)> {
    let file = given("NACRE_TEST_IMAGES").join(format!("sbom/{image}.cdx.json"));
    let document: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let parts = document["components"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let part = |part: &Value| {
        let licence = &part["licenses"][0]["expression"];
        (text(&part["name"]), text(&part["version"]), text(licence))
    };
    parts.iter().map(part).collect()
}

/// What stands behind each `start` in a program, up to `end`.
fn said(program: &str, start: &str, end: char) -> BTreeSet<String> {
    let parts = program.split(start).skip(1);
    parts
        .map(|rest| rest.split(end).next().unwrap().to_owned())
        .collect()
}

#[test]
fn what_a_program_is_linked_with_is_in_the_sbom_of_its_image() {
    for (image, programs) in IMAGES {
        let parts = parts(image);
        let version = |name: &str| {
            let part = parts.iter().find(|(known, _, _)| known == name);
            let (_, version, licence) = part.unwrap_or_else(|| panic!("{image}: no {name}"));
            assert!(!licence.is_empty(), "{image}: {name}");
            version.clone()
        };
        for name in programs {
            let bytes = fs::read(program(name)).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let rust = said(&text, "rustc version ", ' ');
            assert_eq!(rust, BTreeSet::from([version("rust-std")]), "{name}");
            // Of the C library's objects and of the start files: their compiler.
            let compilers = said(&text, "GCC: (Debian ", ')');
            assert!(
                compilers.contains(&version("libgcc")),
                "{name}: {compilers:?}"
            );
            let crates = said(&text, "/rust/deps/", '/');
            assert!(!crates.is_empty(), "{name} names no part of Rust's library");
            for part in crates {
                let (part, of) = part.rsplit_once('-').unwrap();
                let listed = parts
                    .iter()
                    .any(|(name, version, _)| name == part && version == of);
                assert!(listed, "{image}: no {part} {of}");
            }
            version("glibc");
        }
    }
}
