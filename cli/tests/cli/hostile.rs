//! What a hostile host could ask of the pods of the examples: their rendered files as they are checked
//! in, their locks, the requests that `nacre simulate` makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nacre_policy::evaluate::Session;
use nacre_policy::mutate::{self, Kind};
use serde_json::Value;

use crate::common::TestEnvironment;

#[path = "../../../crates/policy/tests/shared/engines.rs"]
mod engines;

/// Of the changes of single members, one in so many; attacks with a name are all made. `nacre simulate
/// --mutate` tries the rest too, which takes too long for every run.
const ONE_IN: usize = 8;

/// The same for the comparison of engines, four of which run beside ours.
const ENGINES_ONE_IN: usize = 60;

/// Rendered files below `examples/`, each with the folder of its configuration and lock.
fn rendered() -> Vec<(PathBuf, PathBuf)> {
    let mut out = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
            } else if file.starts_with("rendered") {
                let example = folder.parent().unwrap();
                let inner = example.join("confidential");
                let settings = if inner.is_dir() {
                    inner
                } else {
                    example.to_path_buf()
                };
                out.push((path, settings));
            }
        }
    }
    out.sort();
    out
}

/// Denied and harmless changes; what passes without a reason.
#[derive(Default)]
struct Count {
    denied: usize,
    harmless: usize,
    passed: Vec<String>,
}

fn attack(policy: &str, life: &Value) -> Count {
    let mut session = Session::load(policy).unwrap();
    let mut count = Count::default();
    let mut single = 0;
    for item in life.as_array().unwrap() {
        let message = item["request"]["kind"].as_str().unwrap();
        let request = &item["request"]["request"];
        for mutation in mutate::all(message, request) {
            if mutation.kind != Kind::Attack {
                single += 1;
                if single % ONE_IN != 0 {
                    continue;
                }
            }
            let decision = session.probe(message, &mutation.input);
            match decision.is_ok_and(|decision| decision.allowed) {
                false => count.denied += 1,
                true if mutate::harmless(message, &mutation).is_some() => count.harmless += 1,
                true => count
                    .passed
                    .push(format!("{}: {}", item["description"], mutation.title)),
            }
        }
        let decision = session.request(message, request).unwrap();
        assert!(
            decision.allowed,
            "{}: {:?}",
            item["description"], decision.prints
        );
    }
    count
}

#[test]
fn hostile_requests_for_the_pods_of_the_examples_are_denied() {
    let mut counts = BTreeMap::new();
    let files = rendered();
    assert!(files.len() >= 7, "{files:?}");
    for (file, settings) in files {
        let environment = TestEnvironment::empty();
        for name in ["confidential.yaml", "nacre.lock.yaml"] {
            environment.write(name, fs::read(settings.join(name)).unwrap());
        }
        let beside = file.with_file_name("manifest.json");
        environment.write("manifest.json", fs::read(beside).unwrap());
        environment.write("rendered.yaml", fs::read(&file).unwrap());
        let show = ["policy", "show", "--output", "json", "rendered.yaml"];
        let shown = environment.run(&show).success().stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        for workload in shown["workloads"].as_array().unwrap() {
            let name = workload["workload"].as_str().unwrap().to_owned();
            let hash = workload["policyHash"].as_str().unwrap().to_owned();
            // The same pod by another route has the same policy.
            if counts.contains_key(&hash) {
                continue;
            }
            let policy = environment.policy("--text", &name);
            let life = [
                "--workload",
                &name,
                "--fixtures",
                "life.json",
                "rendered.yaml",
            ];
            let config = ["--config", "confidential.yaml", "--lock", "nacre.lock.yaml"];
            let simulate = [&["simulate"][..], &config, &life].concat();
            let done = environment.run(&simulate).success();
            assert!(!done.stderr.contains("NCR0801"), "{name}: {}", done.stderr);
            let life: Value = serde_json::from_str(&environment.read("life.json")).unwrap();
            let count = attack(&policy, &life);
            let own = life.as_array().unwrap().iter().map(|item| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let request = &item["request"];
                (
                    text(&item["description"]),
                    text(&request["kind"]),
                    request["request"].clone(),
                )
            });
            let own: Vec<_> = own.collect();
            engines::all_agree(&policy, &own, ENGINES_ONE_IN);
            println!(
                "{name}: {} denied, {} harmless",
                count.denied, count.harmless
            );
            assert!(count.passed.is_empty(), "{name}: {:#?}", count.passed);
            assert!(count.denied >= 300, "{name}: only {}", count.denied);
            counts.insert(hash, count);
        }
    }
    assert!(counts.len() >= 9, "only {} pods", counts.len());
    let denied: usize = counts.values().map(|count| count.denied).sum();
    println!("{} pods, {denied} hostile requests denied", counts.len());
}
