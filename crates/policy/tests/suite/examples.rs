//! The policies of all examples as text, and what they weigh. What every engine makes of them is tested with the
//! requests of their own pods, which `nacre simulate` makes: `cli/tests/cli/hostile.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nacre_policy::carrier::Carrier;
use nacre_policy::rules::{self, RULES};

use crate::golden::{documented, grouped};

/// A policy of an example: its name, its text, and the length of its annotation.
struct Example {
    name: String,
    text: String,
    weight: usize,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rendered streams below `examples/`, by a short name.
fn streams() -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut folders = vec![root().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if file.starts_with("rendered") && file.ends_with(".yaml") {
                let folder = folder.parent().unwrap();
                let place = folder.strip_prefix(root().join("examples")).unwrap();
                let place = place.to_str().unwrap().replace('/', "-");
                let flavour = file
                    .trim_start_matches("rendered")
                    .trim_end_matches(".yaml");
                out.insert(
                    format!("{place}{flavour}"),
                    fs::read_to_string(path).unwrap(),
                );
            }
        }
    }
    out
}

fn examples() -> Vec<Example> {
    let mut out = Vec::new();
    for (stream, text) in streams() {
        for document in text.split("\n---") {
            let value = |key: &str| {
                let line = document
                    .lines()
                    .find_map(|l| l.trim_start().strip_prefix(key));
                line.map(|value| value.trim().trim_matches('"').to_owned())
            };
            let Some(annotation) = value("io.katacontainers.config.hypervisor.cc_init_data:")
            else {
                continue;
            };
            let decoded = Carrier::InitData.unpack(&annotation).unwrap();
            out.push(Example {
                name: format!("{stream}-{}", value("name:").unwrap()),
                text: decoded.policy,
                weight: annotation.len(),
            });
        }
    }
    assert!(
        out.len() >= 10,
        "only {} policies in the examples",
        out.len()
    );
    out
}

#[test]
fn policies_of_the_examples_are_as_reviewed() {
    let bless = std::env::var_os("NACRE_BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/examples");
    let mut files = Vec::new();
    for example in examples() {
        let (head, _) = rules::split(&example.text).unwrap();
        assert_eq!(
            rules::is_known(head),
            Some(rules::VERSION),
            "{}",
            example.name
        );
        let file = format!("{}.rego", example.name);
        let path = folder.join(&file);
        let data = &example.text[RULES.len()..];
        if bless {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, data).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            data == expected,
            "{file}: run with NACRE_BLESS=1 and review the difference"
        );
        files.push(file);
    }
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(files.contains(&file), "{file} is of no example");
    }
}

/// Bytes of the annotation that Kata's genpolicy writes for the same pods (`docs/policies.md`, "Size and time",
/// says which and how), by the end of an example's name.
const PEER: [(&str, usize); 9] = [
    ("-catalog", 19_056),
    ("-coordinator", 18_200),
    ("-counter", 18_796),
    ("-orders", 19_044),
    ("-prepare", 18_744),
    ("-report", 18_760),
    ("-shopper", 19_184),
    ("-teller", 18_904),
    ("-web", 19_244),
];

#[test]
fn policies_of_the_examples_have_at_most_half_of_the_peers_bytes() {
    let examples = examples();
    for example in &examples {
        let (_, peer) = PEER
            .iter()
            .find(|(end, _)| example.name.ends_with(end))
            .unwrap_or_else(|| panic!("{}: the peer was not measured", example.name));
        println!("{}: {} of {peer} bytes", example.name, example.weight);
        assert!(
            example.weight * 2 <= *peer,
            "{}: {} bytes, the peer has {peer}",
            example.name,
            example.weight
        );
    }
    // And the documentation says what was measured here.
    let (web, others): (Vec<&Example>, Vec<&Example>) = examples
        .iter()
        .partition(|example| example.name.ends_with("-web"));
    let sizes = |of: &[&Example]| {
        let least = of.iter().map(|example| example.weight).min().unwrap();
        let most = of.iter().map(|example| example.weight).max().unwrap();
        (grouped(least), grouped(most))
    };
    let (least, most) = sizes(&web);
    assert_eq!(least, most);
    documented("| of the shop's `web`", &format!("{most} bytes"));
    let (least, most) = sizes(&others);
    documented(
        "| of the other pods of the examples ",
        &format!("{least} to {most} bytes"),
    );
}
