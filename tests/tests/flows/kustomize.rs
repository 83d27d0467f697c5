//! `kustomize build` with the function as an exec transformer.

use crate::harness::{KUSTOMIZE, Place, carried, object, objects};

const BUILD: [&str; 4] = [
    "build",
    "--enable-alpha-plugins",
    "--enable-exec",
    "confidential",
];

#[test]
fn names_may_change_in_the_same_kustomization() {
    let place = Place::with_example("shop/kustomize");
    let file = "confidential/kustomization.yaml";
    let text = place.read(file);
    place.write(file, &format!("{text}namePrefix: blue-\nnameSuffix: -v2\n"));
    let done = place.tool(KUSTOMIZE, &BUILD).ok();
    let names: Vec<String> = carried(&done).into_keys().collect();
    assert!(
        names.contains(&"Deployment/blue-web-v2".to_owned()),
        "{names:?}"
    );
    // kustomize renames what the pod refers to after the function: the policy holds the value.
    let web = object(&done, "Deployment", "blue-web-v2");
    let containers = web["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let variables = containers[0]["env"].as_array().unwrap();
    let title = variables
        .iter()
        .find(|variable| variable["name"] == "TITLE")
        .unwrap();
    let name = title["valueFrom"]["configMapKeyRef"]["name"]
        .as_str()
        .unwrap();
    assert!(name.starts_with("blue-shop-settings-v2-"), "{name}");
    assert!(
        objects(&done)
            .iter()
            .any(|object| object["metadata"]["name"] == name),
        "{name}"
    );
}

#[test]
fn the_title_of_a_generated_config_map_is_part_of_the_policy() {
    let title = |text: &str| {
        let place = Place::with_example("shop/kustomize");
        place.edit("base/kustomization.yaml", "The shell shop", text);
        carried(&place.tool(KUSTOMIZE, &BUILD).ok())
    };
    let (one, other) = (title("The shell shop"), title("Another shop"));
    assert_ne!(one["Deployment/web"], other["Deployment/web"]);
    assert_eq!(one["Deployment/catalog"], other["Deployment/catalog"]);
}

#[test]
fn what_was_rendered_is_not_changed_by_a_second_run() {
    let place = Place::with_example("shop/kustomize");
    let rendered = place.tool(KUSTOMIZE, &BUILD).ok();
    place.write("confidential/rendered.yaml", &rendered);
    let text = "resources: [rendered.yaml, nacre.lock.yaml]\ntransformers: [confidential.yaml]\n";
    place.write("confidential/kustomization.yaml", text);
    assert_eq!(place.tool(KUSTOMIZE, &BUILD).ok(), rendered);
}

#[test]
fn a_failure_stops_kustomize_with_the_reason() {
    let place = Place::with_example("shop/kustomize");
    place.edit("base/web.yaml", "shop/web:v1", "shop/web:v2");
    let ended = place.tool(KUSTOMIZE, &BUILD);
    assert_eq!(ended.stdout, "");
    let message = ended.failed();
    assert!(
        message.contains("NCR03") && message.contains("shop/web:v2"),
        "{message}"
    );
}

#[test]
fn a_forgotten_flag_is_found_by_check() {
    // kustomize skips the function without a word when --enable-exec is missing.
    let place = Place::with_example("shop/kustomize");
    let skipped = place
        .tool(
            KUSTOMIZE,
            &["build", "--enable-alpha-plugins", "confidential"],
        )
        .ok();
    assert!(carried(&skipped).is_empty());
    place.write("rendered.yaml", &skipped);
    let ended = place.ours("nacre", &["check", "rendered.yaml"], "");
    assert_ne!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stderr.contains("contrast-cc"), "{}", ended.stderr);
}
