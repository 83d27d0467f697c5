//! `kpt fn eval` and `kpt fn render`.

use std::collections::BTreeMap;

use crate::container::Image;
use crate::harness::{KPT, Place, carried};

const EVAL: [&str; 7] = [
    "fn",
    "eval",
    ".",
    "--exec",
    "nacre-krm-fn",
    "--fn-config",
    "confidential.yaml",
];

/// The package without a pipeline, for `fn eval`.
fn package() -> Place {
    let place = Place::with_example("shop/kpt");
    place.edit(
        "Kptfile",
        "    - exec: nacre-krm-fn\n      configPath: confidential.yaml\n",
        "",
    );
    place.edit("Kptfile", "  mutators:\n", "  mutators: []\n");
    place
}

#[test]
fn only_our_lines_differ_from_what_kpt_does_by_itself() {
    // kpt reformats whatever passes through a function; `cat` shows what is its own doing.
    let baseline = package();
    baseline
        .tool(KPT, &["fn", "eval", ".", "--exec", "cat"])
        .ok();
    let ours = package();
    ours.tool(KPT, &EVAL).ok();
    let (before, after) = (baseline.files("."), ours.files("."));
    for (file, text) in &before {
        let now = &after[file];
        let mut lines = now.lines();
        for line in text.lines().filter(|line| !replaced(line)) {
            assert!(
                lines.any(|found| found == line),
                "{file}: {line:?} is gone from\n{now}"
            );
        }
        let comments = |text: &str| text.lines().filter(|line| line.contains("# ")).count();
        assert!(comments(now) >= comments(text), "{file} lost a comment");
    }
    let new: Vec<&String> = after
        .keys()
        .filter(|file| !before.contains_key(*file))
        .collect();
    assert_eq!(new, ["nacre-manifest.yaml"]);
    assert_eq!(before["settings.yaml"], after["settings.yaml"]);
}

/// Lines whose value the function replaces.
fn replaced(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    line.starts_with("image:") || line.starts_with("runtimeClassName:")
}

#[test]
fn a_second_run_changes_nothing() {
    let place = Place::with_example("shop/kpt");
    let render = ["fn", "render", ".", "--allow-exec"];
    place.tool(KPT, &render).ok();
    let once = place.files(".");
    place.tool(KPT, &render).ok();
    assert_eq!(once, place.files("."));
}

#[test]
fn a_failure_leaves_the_package_and_is_in_the_results() {
    let place = package();
    place.edit("web.yaml", "shop/web:v1", "shop/web:v2");
    let before = place.files(".");
    let results = place.home("results");
    let flags = ["--results-dir", results.to_str().unwrap()];
    place.tool(KPT, &[&EVAL[..], &flags[..]].concat()).failed();
    assert_eq!(before, place.files("."));
    let results = std::fs::read_to_string(results.join("results.yaml")).unwrap();
    for word in [
        "severity: error",
        "shop/web:v2",
        "NCR03",
        "path: web.yaml",
        "name: web",
        "exitCode: 1",
    ] {
        assert!(results.contains(word), "no {word:?} in\n{results}");
    }
}

#[test]
fn the_configuration_may_be_words_on_the_command_line() {
    let place = package();
    std::fs::remove_file(place.path("confidential.yaml")).unwrap();
    let flags = [
        "fn",
        "eval",
        ".",
        "--exec",
        "nacre-krm-fn",
        "--output",
        "unwrap",
        "--",
    ];
    let words = [
        "platform=metal-qemu-snp",
        "namespace=shop",
        "disable-updates=true",
        "insecure-unbound-first-set=true",
    ];
    let done = place.tool(KPT, &[&flags[..], &words[..]].concat()).ok();
    assert_eq!(carried(&done).len(), 5, "{:?}", carried(&done).keys());
}

#[test]
fn eval_in_a_container_is_the_same_as_exec() {
    let exec = package();
    exec.tool(KPT, &EVAL).ok();
    let container = package();
    let image = Image::build("krm-fn");
    let flags = [
        "fn",
        "eval",
        ".",
        "--image",
        &image.name,
        "--fn-config",
        "confidential.yaml",
    ];
    container.tool(KPT, &flags).ok();
    let (exec, container): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (exec.files("."), container.files("."));
    assert_eq!(exec, container);
}

#[test]
fn the_documentation_is_what_kpt_shows() {
    let image = Image::build("krm-fn");
    let text = Place::new()
        .tool(KPT, &["fn", "doc", "--image", &image.name])
        .ok();
    assert!(
        text.contains("nacre-krm-fn") && text.contains("Confidential"),
        "{text}"
    );
}
