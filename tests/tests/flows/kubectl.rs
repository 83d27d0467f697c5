//! `kubectl kustomize` runs programs only as legacy exec plugins.

use crate::harness::{KUBECTL, Place};

fn kustomization() -> Place {
    let place = Place::with_example("shop/kustomize");
    place.edit(
        "confidential/confidential.yaml",
        "    config.kubernetes.io/function: |\n      exec:\n        path: nacre-krm-fn\n",
        "",
    );
    place
}

const BUILD: [&str; 3] = ["kustomize", "--enable-alpha-plugins", "confidential"];

#[test]
fn without_the_plugin_kubectl_fails() {
    let message = kustomization().tool(KUBECTL, &BUILD).failed();
    assert!(message.contains("unable to find plugin root"), "{message}");
}

#[test]
fn a_failure_reaches_the_user() {
    let place = kustomization();
    place
        .ours("nacre", &["install", "kustomize-plugin"], "")
        .ok();
    place.edit("base/web.yaml", "shop/web:v1", "shop/web:v2");
    let ended = place.tool(KUBECTL, &BUILD);
    assert_eq!(ended.stdout, "");
    let message = ended.failed();
    assert!(
        message.contains("NCR03") && message.contains("shop/web:v2"),
        "{message}"
    );
}

#[test]
fn a_copied_plugin_works_like_a_link() {
    let place = kustomization();
    place
        .ours("nacre", &["install", "kustomize-plugin", "--copy"], "")
        .ok();
    let linked = kustomization();
    linked
        .ours("nacre", &["install", "kustomize-plugin"], "")
        .ok();
    assert_eq!(
        place.tool(KUBECTL, &BUILD).ok(),
        linked.tool(KUBECTL, &BUILD).ok()
    );
}
