//! The fuzz targets are a workspace of their own, so that nobody needs libFuzzer to build the rest; what keeps
//! them alive is here.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::metadata::root;

#[test]
fn the_lock_file_is_up_to_date_and_has_the_versions_of_the_workspace() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .current_dir(root().join("fuzz"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "run `cargo update --workspace` in fuzz/: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let ours = locked("Cargo.lock");
    let names: BTreeSet<&str> = ours.iter().map(|(name, _)| name.as_str()).collect();
    let differing: Vec<_> = locked("fuzz/Cargo.lock")
        .into_iter()
        .filter(|package| names.contains(package.0.as_str()) && !ours.contains(package))
        .collect();
    assert!(
        differing.is_empty(),
        "other versions than in Cargo.lock, use `cargo update --precise`: {differing:?}"
    );
}

#[test]
fn every_target_has_inputs_to_begin_with() {
    let folder = root().join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder.join("fuzz_targets")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let declared = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&declared), "{name} is not in Cargo.toml");
        let inputs = fs::read_dir(folder.join("corpus").join(name));
        assert!(
            inputs.is_ok_and(|mut inputs| inputs.next().is_some()),
            "{name} has no corpus"
        );
        count += 1;
    }
    assert_ne!(count, 0);
}

/// Names and versions in a lock file.
fn locked(path: &str) -> BTreeSet<(String, String)> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let blocks = text.split("[[package]]").skip(1);
    blocks
        .map(|block| (value(block, "name"), value(block, "version")))
        .collect()
}

fn value(block: &str, key: &str) -> String {
    let start = format!("{key} = \"");
    let line = block.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap().trim_end_matches('"').to_owned()
}
