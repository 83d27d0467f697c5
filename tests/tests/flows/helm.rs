//! Helm 3 runs a program, Helm 4 a plugin.

use std::fs;

use crate::harness::{HELM3, HELM4, Place, carried, object};

/// The same line for both.
pub(crate) const TEMPLATE: [&str; 7] = [
    "template",
    "shop",
    ".",
    "--namespace",
    "shop",
    "--post-renderer",
    "nacre-post-renderer",
];

/// Tells the post-renderer what Helm does not, and for Helm 4 places the plugin.
pub(crate) fn prepare(place: &mut Place, helm: &str) {
    let config = place.path("confidential.yaml");
    let lock = place.path("nacre.lock.yaml");
    place
        .set("NACRE_CONFIG", config)
        .set("NACRE_LOCK", lock)
        .set("NACRE_NAMESPACE", "shop");
    if helm == HELM4 {
        let plugins = place.home("plugins");
        place.set("HELM_PLUGINS", plugins);
        place.ours("nacre", &["install", "helm-plugin"], "").ok();
    }
}

fn chart(helm: &str) -> Place {
    let mut place = Place::with_example("shop/helm");
    prepare(&mut place, helm);
    place
}

#[test]
fn the_manifest_is_written_where_the_caller_is() {
    for helm in [HELM3, HELM4] {
        let place = chart(helm);
        place.tool(helm, &TEMPLATE).ok();
        let manifest = place.read("manifest.json");
        assert!(manifest.contains("\"Policies\""), "{helm}: {manifest}");
    }
}

#[test]
fn helm_3_is_warned_about_hooks_it_hides() {
    let mut place = chart(HELM3);
    let report = place.home("report.txt");
    place.set("NACRE_REPORT", &report);
    let done = place.tool(HELM3, &TEMPLATE).ok();
    // Helm 3 shows a post-renderer's messages only when it fails: the report is where they are.
    let report = fs::read_to_string(report).unwrap();
    assert!(report.contains("hook"), "{report}");
    assert!(
        done.contains("smoke-test"),
        "the chart has a hook, which Helm adds by itself"
    );
}

#[test]
fn helm_4_shows_hooks_to_the_plugin() {
    let mut place = chart(HELM4);
    place.edit(
        "templates/smoke-test.yaml",
        "      restartPolicy",
        "      runtimeClassName: contrast-cc\n      restartPolicy",
    );
    let report = place.home("report.txt");
    place.set("NACRE_REPORT", &report);
    let done = place.tool(HELM4, &TEMPLATE).ok();
    assert!(
        carried(&done).contains_key("Job/smoke-test"),
        "{:?}",
        carried(&done).keys()
    );
    let job = object(&done, "Job", "smoke-test");
    assert_ne!(
        job["spec"]["template"]["spec"]["runtimeClassName"],
        "contrast-cc"
    );
}

#[test]
fn a_failure_stops_helm_and_can_be_read() {
    for helm in [HELM3, HELM4] {
        let mut place = chart(helm);
        let report = place.home("report.txt");
        place.set("NACRE_REPORT", &report);
        place.edit("values.yaml", "tag: v1", "tag: v2");
        let ended = place.tool(helm, &TEMPLATE);
        assert_eq!(ended.stdout, "", "{helm}");
        let message = ended.failed();
        let report = fs::read_to_string(&report).unwrap();
        assert!(
            report.contains("registry.example.org/shop/web:v2"),
            "{helm}: {report}"
        );
        assert!(report.contains("NCR03"), "{helm}: {report}");
        if helm == HELM3 {
            assert!(message.contains("NCR03"), "{message}");
        }
        assert!(!place.path("manifest.json").exists(), "{helm}");
    }
}

#[test]
fn without_a_namespace_nothing_is_rendered() {
    let mut place = chart(HELM3);
    place.set("NACRE_NAMESPACE", "");
    for template in ["web", "shopper", "services", "coordinator", "settings"] {
        let file = format!("templates/{template}.yaml");
        place.edit(&file, "namespace:", "# namespace:");
    }
    let message = place.tool(HELM3, &TEMPLATE).failed();
    assert!(
        message.contains("NACRE_NAMESPACE") || message.contains("--namespace"),
        "{message}"
    );
}
