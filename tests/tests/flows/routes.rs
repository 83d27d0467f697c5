//! Every route gives the same policies and the same manifest for the same application.

use std::collections::BTreeMap;
use std::fs;

use crate::container::Image;
use crate::harness::{HELM3, HELM4, KPT, KUBECTL, KUBECTL_1_32, KUSTOMIZE, Place, carried};

/// What a route gives: the carrier of each workload's policy, and the manifest as a file.
type Given = (BTreeMap<String, String>, String);

/// The reference: `kustomize build | nacre generate -`.
pub(crate) fn piped() -> Given {
    let place = without_transformer();
    let rendered = place.tool(KUSTOMIZE, &["build", "confidential"]).ok();
    let arguments = ["generate", "--config", "confidential/confidential.yaml"];
    let lock = ["--lock", "confidential/nacre.lock.yaml", "-"];
    let done = place
        .ours("nacre", &[&arguments[..], &lock[..]].concat(), &rendered)
        .ok();
    (carried(&done), place.read("manifest.json"))
}

fn without_transformer() -> Place {
    let place = Place::with_example("shop/kustomize");
    place.edit(
        "confidential/kustomization.yaml",
        "transformers:\n  - confidential.yaml\n",
        "",
    );
    place
}

fn assert_same(found: Given) {
    let expected = piped();
    assert_eq!(expected.0.len(), 5, "{:?}", expected.0.keys());
    assert_eq!(found.0, expected.0);
    assert_eq!(found.1, expected.1);
}

/// Asks a program that runs on this machine to leave the manifest beside its output.
fn with_manifest(place: &mut Place) -> std::path::PathBuf {
    let file = place.home("manifest.json");
    place.set("NACRE_MANIFEST_OUT", &file);
    file
}

#[test]
fn kustomize_exec_gives_the_same() {
    let mut place = Place::with_example("shop/kustomize");
    let manifest = with_manifest(&mut place);
    let flags = [
        "build",
        "--enable-alpha-plugins",
        "--enable-exec",
        "confidential",
    ];
    let done = place.tool(KUSTOMIZE, &flags).ok();
    assert_same((carried(&done), fs::read_to_string(manifest).unwrap()));
}

#[test]
fn kustomize_container_gives_the_same() {
    let place = Place::with_example("shop/kustomize");
    let image = Image::build("krm-fn");
    place.edit(
        "confidential/confidential.yaml",
        "exec:\n        path: nacre-krm-fn",
        &format!("container:\n        image: {}", image.name),
    );
    place.edit(
        "confidential/confidential.yaml",
        "spec:\n  platform",
        "spec:\n  manifest:\n    emitConfigMap: true\n  platform",
    );
    let done = place
        .tool(
            KUSTOMIZE,
            &["build", "--enable-alpha-plugins", "confidential"],
        )
        .ok();
    let manifest = crate::harness::object(&done, "ConfigMap", "nacre-manifest");
    let manifest = manifest["data"]["manifest.json"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_same((carried(&done), manifest));
}

#[test]
fn kubectl_kustomize_gives_the_same() {
    for kubectl in [KUBECTL, KUBECTL_1_32] {
        let mut place = Place::with_example("shop/kustomize");
        let manifest = with_manifest(&mut place);
        place.edit(
            "confidential/confidential.yaml",
            "    config.kubernetes.io/function: |\n      exec:\n        path: nacre-krm-fn\n",
            "",
        );
        place
            .ours("nacre", &["install", "kustomize-plugin"], "")
            .ok();
        let done = place
            .tool(
                kubectl,
                &["kustomize", "--enable-alpha-plugins", "confidential"],
            )
            .ok();
        assert_same((carried(&done), fs::read_to_string(manifest).unwrap()));
    }
}

#[test]
fn kpt_render_gives_the_same() {
    let mut place = Place::with_example("shop/kpt");
    let manifest = with_manifest(&mut place);
    let done = place
        .tool(
            KPT,
            &["fn", "render", ".", "--allow-exec", "--output", "unwrap"],
        )
        .ok();
    assert_same((carried(&done), fs::read_to_string(manifest).unwrap()));
}

#[test]
fn kpt_render_in_a_container_gives_the_same() {
    let place = Place::with_example("shop/kpt");
    let image = Image::build("krm-fn");
    place.edit(
        "Kptfile",
        "- exec: nacre-krm-fn",
        &format!("- image: {}", image.name),
    );
    place.tool(KPT, &["fn", "render", "."]).ok();
    let files = place.files(".");
    let carried = files.iter().filter(|(name, _)| name.ends_with(".yaml"));
    let carried = carried.flat_map(|(_, text)| carried_of(text)).collect();
    let manifest =
        crate::harness::object(&files["nacre-manifest.yaml"], "ConfigMap", "nacre-manifest");
    assert_same((
        carried,
        manifest["data"]["manifest.json"]
            .as_str()
            .unwrap()
            .to_owned(),
    ));
}

#[test]
fn kpt_eval_gives_the_same() {
    let mut place = Place::with_example("shop/kpt");
    let manifest = with_manifest(&mut place);
    place.edit(
        "Kptfile",
        "    - exec: nacre-krm-fn\n      configPath: confidential.yaml\n",
        "",
    );
    place.edit("Kptfile", "  mutators:\n", "  mutators: []\n");
    let flags = [
        "fn",
        "eval",
        ".",
        "--exec",
        "nacre-krm-fn",
        "--fn-config",
        "confidential.yaml",
    ];
    let done = place
        .tool(KPT, &[&flags[..], &["--output", "unwrap"]].concat())
        .ok();
    assert_same((carried(&done), fs::read_to_string(manifest).unwrap()));
}

#[test]
fn helm_gives_the_same() {
    for helm in [HELM3, HELM4] {
        let mut place = Place::with_example("shop/helm");
        let manifest = with_manifest(&mut place);
        crate::helm::prepare(&mut place, helm);
        let done = place.tool(helm, &crate::helm::TEMPLATE).ok();
        assert_same((carried(&done), fs::read_to_string(manifest).unwrap()));
    }
}

#[test]
fn files_give_the_same() {
    let place = without_transformer();
    let rendered = place.tool(KUSTOMIZE, &["build", "confidential"]).ok();
    place.write("resources/all.yml", &rendered);
    let arguments = ["generate", "--config", "confidential/confidential.yaml"];
    let lock = ["--lock", "confidential/nacre.lock.yaml", "resources/"];
    place
        .ours("nacre", &[&arguments[..], &lock[..]].concat(), "")
        .ok();
    assert_same((
        carried(&place.read("resources/all.yml")),
        place.read("manifest.json"),
    ));
}

#[test]
fn the_standalone_form_gives_the_same() {
    let mut place = without_transformer();
    let manifest = with_manifest(&mut place);
    let rendered = place.tool(KUSTOMIZE, &["build", "confidential"]).ok();
    place.set("NACRE_LOCK", "confidential/nacre.lock.yaml");
    let done = place
        .ours(
            "nacre-krm-fn",
            &["confidential/confidential.yaml", "-"],
            &rendered,
        )
        .ok();
    assert_same((carried(&done), fs::read_to_string(manifest).unwrap()));
}

fn carried_of(text: &str) -> BTreeMap<String, String> {
    carried(text)
}
