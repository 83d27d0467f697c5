//! `packages/helm/helmfile.yaml` by the real helmfile, with Helm 3 and the post-renderer.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Ended, HELM3, Place, assert_is_file, carried, copy, given, root};
use crate::packages::yaml;

const HELMFILE: &str = "NACRE_TEST_HELMFILE";

/// A copy of what the helmfile names, at the same places to each other.
fn place() -> Place {
    let mut place = Place::new();
    for folder in ["packages/helm", "examples/shop/helm"] {
        copy(&root().join(folder), &place.path(folder));
    }
    symlink(given(HELM3), place.bin().join("helm")).unwrap();
    let example = place.path("examples/shop/helm");
    place
        .set("NACRE_CONFIG", example.join("confidential.yaml"))
        .set("NACRE_LOCK", example.join("nacre.lock.yaml"));
    place
}

/// Runs a command line beside the helmfile.
fn run(place: &Place, line: &str) -> Ended {
    let script = format!("cd packages/helm && {line}");
    place.run(Path::new("/bin/bash"), &["-c", &script], "")
}

fn helmfile(place: &Place) -> Ended {
    run(place, &format!("'{}' template", given(HELMFILE).display()))
}

fn releases() -> Vec<Value> {
    let file = yaml(&root().join("packages/helm/helmfile.yaml"));
    file["releases"].as_array().unwrap().clone()
}

fn words(value: &Value) -> Vec<&str> {
    let words = value.as_array().unwrap().iter();
    words.map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn helmfile_renders_what_helm_renders() {
    let place = place();
    let rendered = helmfile(&place).ok();
    let mut by_helm = String::new();
    for release in releases() {
        let text = |field: &str| release[field].as_str().unwrap().to_owned();
        let mut line = format!(
            "helm template {} {} --namespace {} --post-renderer nacre-post-renderer",
            text("name"),
            text("chart"),
            text("namespace")
        );
        for word in words(&release["postRendererArgs"]) {
            line.push_str(&format!(" --post-renderer-args {word}"));
        }
        if text("name") == "shop" {
            line.push_str(" --set coordinator.enabled=false");
        }
        by_helm.push_str(&run(&place, &line).ok());
    }
    let lines = |text: &str| -> Vec<String> {
        // Helmfile puts an empty line behind each release.
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    assert_eq!(lines(&rendered), lines(&by_helm));
    assert_eq!(carried(&rendered).len(), 5, "{:?}", carried(&rendered));
    let coordinators = rendered.matches("serviceName: coordinator").count();
    assert_eq!(coordinators, 1, "one release brings the Coordinator");
}

#[test]
fn the_manifests_of_the_releases_are_together_that_of_the_whole_chart() {
    let place = place();
    helmfile(&place).ok();
    let text = std::fs::read_to_string(root().join("packages/helm/helmfile.yaml")).unwrap();
    let merge = text
        .lines()
        .find_map(|line| line.strip_prefix("#   nacre "));
    run(&place, &format!("nacre {}", merge.unwrap())).ok();
    let manifest = place.read("packages/helm/manifest.json");
    let expected = root().join("examples/shop/helm/expected/manifest.json");
    assert_is_file(&expected, &manifest);
}

#[test]
fn a_release_that_is_refused_stops_helmfile_with_our_finding() {
    let place = place();
    place.edit("examples/shop/helm/values.yaml", "tag: v1", "tag: v2");
    let ended = helmfile(&place);
    assert!(!ended.stdout.contains("runtimeClassName: contrast-cc\n"));
    let message = ended.failed();
    for word in ["NCR03", "registry.example.org/shop/web:v2"] {
        assert!(message.contains(word), "no {word:?} in\n{message}");
    }
}
