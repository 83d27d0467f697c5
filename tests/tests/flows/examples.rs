//! Every example renders to what is checked in beside it.

use std::path::Path;

use crate::harness::{HELM3, HELM4, KPT, KUSTOMIZE, Place, assert_is_file, root};

fn expected(example: &str, file: &str) -> std::path::PathBuf {
    root()
        .join("examples")
        .join(example)
        .join("expected")
        .join(file)
}

fn assert_rendered(example: &str, rendered: &str, manifest: &Path) {
    assert_is_file(&expected(example, "rendered.yaml"), rendered);
    let manifest = std::fs::read_to_string(manifest).unwrap();
    assert_is_file(&expected(example, "manifest.json"), &manifest);
}

/// An example of plain files, by the command of its README.
fn plain(example: &str, file: &str) {
    let place = Place::with_example(example);
    let readme =
        std::fs::read_to_string(root().join("examples").join(example).join("README.md")).unwrap();
    let command = readme
        .lines()
        .find_map(|line| line.strip_prefix("nacre "))
        .unwrap();
    assert!(command.contains(file), "{command}");
    let words: Vec<&str> = command.split_whitespace().collect();
    place.ours("nacre", &words, "").ok();
    assert_rendered(
        example,
        &place.read("rendered.yaml"),
        &place.path("manifest.json"),
    );
    // What was rendered is ready to be applied.
    place
        .ours(
            "nacre",
            &[
                "check",
                "--config",
                "confidential.yaml",
                "--lock",
                "nacre.lock.yaml",
                "rendered.yaml",
            ],
            "",
        )
        .ok();
}

#[test]
fn stateful() {
    plain("stateful", "counter.yaml");
}

#[test]
fn jobs() {
    plain("jobs", "jobs.yaml");
}

#[test]
fn go_client() {
    plain("go-client", "client.yaml");
}

#[test]
fn shop_as_a_kustomization() {
    let mut place = Place::with_example("shop/kustomize");
    let manifest = place.home("manifest.json");
    place.set("NACRE_MANIFEST_OUT", &manifest);
    let flags = [
        "build",
        "--enable-alpha-plugins",
        "--enable-exec",
        "confidential",
    ];
    let rendered = place.tool(KUSTOMIZE, &flags).ok();
    assert_rendered("shop/kustomize", &rendered, &manifest);
}

#[test]
fn shop_as_a_chart() {
    for helm in [HELM3, HELM4] {
        let mut place = Place::with_example("shop/helm");
        crate::helm::prepare(&mut place, helm);
        let rendered = place.tool(helm, &crate::helm::TEMPLATE).ok();
        let file = if helm == HELM3 {
            "rendered-helm3.yaml"
        } else {
            "rendered-helm4.yaml"
        };
        assert_is_file(&expected("shop/helm", file), &rendered);
        assert_is_file(
            &expected("shop/helm", "manifest.json"),
            &place.read("manifest.json"),
        );
    }
}

#[test]
fn shop_as_a_package() {
    let mut place = Place::with_example("shop/kpt");
    let manifest = place.home("manifest.json");
    place.set("NACRE_MANIFEST_OUT", &manifest);
    let flags = ["fn", "render", ".", "--allow-exec", "--output", "unwrap"];
    let rendered = place.tool(KPT, &flags).ok();
    assert_rendered("shop/kpt", &rendered, &manifest);
}
