//! The policies of all examples as text, what they weigh, and what every engine makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nacre_policy::carrier::Carrier;
use nacre_policy::evaluate::Session;
use nacre_policy::request;
use nacre_policy::rules::{self, RULES};
use serde_json::{Value, json};

use crate::common::mesh;
use crate::engines::{Answer, ENGINES};

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

/// Half of what the peer needs for a pod with as many containers: 17.9 kB with one, 18.4 kB with
/// three, 20.5 kB with twenty. Injected containers count.
fn half(containers: usize) -> usize {
    let steps = [(1, 17_900), (3, 18_400), (20, 20_500)];
    let above = steps.iter().position(|(n, _)| containers <= *n).unwrap();
    let (to, most) = steps[above];
    let (from, least) = steps[above.saturating_sub(1)];
    let share = if to == from {
        0
    } else {
        (most - least) * (containers - from) / (to - from)
    };
    (least + share) / 2
}

#[test]
fn policies_of_the_examples_stay_small() {
    assert_eq!([1, 2, 3, 20].map(half), [8_950, 9_075, 9_200, 10_250]);
    for example in examples() {
        let containers = ["app", "init", "side"]
            .map(|kind| {
                example
                    .text
                    .matches(&format!("\"kind\": \"{kind}\""))
                    .count()
            })
            .iter()
            .sum();
        let reference = example.text.find("NACRE_COORDINATOR_REFERENCE");
        let allowance = if reference.is_some() { ALLOWANCE } else { 0 };
        println!(
            "{}: {containers} containers, {} bytes",
            example.name, example.weight
        );
        assert!(
            example.weight <= half(containers) + allowance,
            "{}: {} bytes with {containers} containers",
            example.name,
            example.weight
        );
    }
}

/// Part of what the reference values in the initializer's environment weigh: the peer's figures are of pods
/// without them, and its policy for these would hold them too. Only the largest pods need any of it.
const ALLOWANCE: usize = 120;

#[test]
fn every_engine_gives_the_same_answers() {
    // The requests of another pod, so that each check has something to say.
    let mut requests: Vec<(&str, Value)> = mesh()
        .with(request::life)
        .into_iter()
        .filter(|r| r.message != "CopyFileRequest")
        .map(|r| (r.message, r.input))
        .collect();
    requests.push(("AllowRequestsFailingPolicy", json!({})));
    requests.push(("SetPolicyRequest", json!({"policy": ""})));
    let mut seen = Vec::new();
    for example in examples() {
        // The same pod by another route has the same policy.
        if seen.contains(&example.text) {
            continue;
        }
        let mut session = Session::load(&example.text).unwrap();
        let expected: Vec<Answer> = requests
            .iter()
            .map(|(message, input)| {
                let decision = session.probe(message, input).unwrap();
                (decision.allowed, decision.prints.join(" "))
            })
            .collect();
        assert!(
            expected
                .iter()
                .any(|(_, printed)| printed.contains("nacre1 . "))
        );
        assert!(expected.iter().any(|(allowed, _)| *allowed));
        for (engine, answers) in ENGINES {
            assert_eq!(
                answers(&example.text, &requests),
                expected,
                "{engine}: {}",
                example.name
            );
        }
        seen.push(example.text);
    }
}
