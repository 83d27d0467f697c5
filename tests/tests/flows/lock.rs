//! The locks of the examples are those of the images that `cargo xtask images --examples` builds.

use std::process::Command;

use crate::harness::{HELM4, KUSTOMIZE, Place, assert_is_file, given, root};

/// The compiler whose programs the checked-in digests are of; another gives other programs.
const GO: &str = "go1.26.8";

/// Example, folder of the lock in it, and what is locked: files, or what a tool renders.
const EXAMPLES: [(&str, &str, &[&str]); 6] = [
    ("go-client", "", &["client.yaml", "coordinator.yml"]),
    ("jobs", "", &["jobs.yaml", "coordinator.yml"]),
    ("stateful", "", &["counter.yaml", "coordinator.yml"]),
    ("shop/kpt", "", &["."]),
    (
        "shop/kustomize",
        "confidential/",
        &[KUSTOMIZE, "build", "base"],
    ),
    (
        "shop/helm",
        "",
        &[HELM4, "template", "shop", ".", "--namespace", "shop"],
    ),
];

fn lock(example: &str, folder: &str, what: &[&str]) -> (Place, String) {
    let place = Place::with_example(example);
    std::fs::remove_file(place.path(&format!("{folder}nacre.lock.yaml"))).unwrap();
    let rendered = match what {
        [tool, arguments @ ..] if tool.starts_with("NACRE_TEST_") => {
            place.tool(tool, arguments).ok()
        }
        _ => String::new(),
    };
    let layout = given("NACRE_TEST_IMAGES").join("examples/layout");
    let config = format!("{folder}confidential.yaml");
    let flags = [
        "lock",
        "--offline",
        "--layout",
        layout.to_str().unwrap(),
        "--config",
        &config,
    ];
    let paths = if rendered.is_empty() {
        what
    } else {
        &["-"][..]
    };
    let arguments = [&flags[..], &["--lock", "fresh.yaml"], paths].concat();
    place.ours("nacre", &arguments, &rendered).ok();
    let text = place.read("fresh.yaml");
    (place, text)
}

#[test]
fn locks_are_those_of_the_images() {
    let go = Command::new("go").arg("version").output().unwrap();
    let same_compiler = String::from_utf8(go.stdout).unwrap().contains(GO);
    for (example, folder, what) in EXAMPLES {
        let (_, found) = lock(example, folder, what);
        let file = root()
            .join("examples")
            .join(example)
            .join(folder)
            .join("nacre.lock.yaml");
        if same_compiler {
            assert_is_file(&file, &found);
        } else {
            let expected = std::fs::read_to_string(&file).unwrap();
            assert_eq!(
                without_digests(&expected),
                without_digests(&found),
                "{example}"
            );
        }
    }
}

/// A lock without what depends on the bytes of a program.
fn without_digests(lock: &str) -> String {
    let depends = |line: &&str| line.contains("sha256:") || line.contains("sizeBytes:");
    lock.lines()
        .filter(|line| !depends(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_fresh_lock_is_up_to_date_and_an_image_too_few_is_not() {
    let (place, text) = lock("jobs", "", &["jobs.yaml", "coordinator.yml"]);
    let layout = given("NACRE_TEST_IMAGES").join("examples/layout");
    let flags = [
        "lock",
        "--check",
        "--offline",
        "--layout",
        layout.to_str().unwrap(),
    ];
    let more = [
        "--config",
        "confidential.yaml",
        "--lock",
        "fresh.yaml",
        "jobs.yaml",
        "coordinator.yml",
    ];
    let arguments = [&flags[..], &more[..]].concat();
    place.ours("nacre", &arguments, "").ok();
    // The last entry is the report's.
    let last = text.rfind("  - reference:").unwrap();
    place.write("fresh.yaml", &text[..last]);
    let ended = place.ours("nacre", &arguments, "");
    assert_eq!(ended.code, Some(5), "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(place.read("fresh.yaml"), text[..last], "--check wrote");
}
