//! Charts and the catalogue's entry as others use them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nacre_krm::Stream;
use serde_json::Value;

use crate::harness::{HELM3, HELM4, Place, carried, given, objects, root};

/// The objects of a text by kind and name; the order of documents is Helm's.
pub(crate) fn by_name(text: &str) -> BTreeMap<String, Value> {
    objects(text)
        .into_iter()
        .map(|object| {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            (name, object)
        })
        .collect()
}

/// The first document of a file.
pub(crate) fn yaml(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap();
    let stream = Stream::parse(&text).unwrap();
    stream.documents()[0]
        .value(&nacre_krm::Path::root())
        .unwrap()
}

fn chart() -> PathBuf {
    root().join("packages/helm/coordinator")
}

/// A place with the configuration and lock of `deploy/`.
fn workspace() -> Place {
    let place = Place::new();
    for name in ["nacre.yaml", "nacre.lock.yaml"] {
        place.write(
            name,
            &fs::read_to_string(root().join("deploy").join(name)).unwrap(),
        );
    }
    place
}

#[test]
fn the_chart_is_what_the_command_prints() {
    let place = workspace();
    let chart = chart();
    for replicas in ["1", "3"] {
        let ours = [
            "coordinator-resources",
            "--unrendered",
            "--port-forwarder",
            "-n",
            "nacre",
        ];
        let printed = place.ours(
            "nacre",
            &[&ours[..], &["--replicas", replicas]].concat(),
            "",
        );
        let printed = by_name(&printed.ok());
        let set = format!("replicas={replicas},portForwarder.enabled=true");
        for helm in [HELM3, HELM4] {
            let template = [
                "template",
                "nacre",
                chart.to_str().unwrap(),
                "--namespace",
                "nacre",
            ];
            let done = place.tool(helm, &[&template[..], &["--set", &set]].concat());
            assert_eq!(by_name(&done.ok()), printed, "{helm}, {replicas} replicas");
        }
    }
    // A value that the chart does not know is refused.
    let template = [
        "template",
        "nacre",
        chart.to_str().unwrap(),
        "--set",
        "replica=3",
    ];
    let message = place.tool(HELM4, &template).failed();
    assert!(message.contains("replica"), "{message}");
}

#[test]
fn the_chart_with_the_plugin_gives_the_policy_of_the_command() {
    let mut place = workspace();
    let printed = place
        .ours("nacre", &["coordinator-resources", "-n", "nacre"], "")
        .ok();
    let archive = given("NACRE_TEST_PACKAGES").join(concat!(
        "nacre-post-renderer-",
        env!("CARGO_PKG_VERSION"),
        ".tgz"
    ));
    let (config, lock) = (place.path("nacre.yaml"), place.path("nacre.lock.yaml"));
    // No HELM_PLUGINS: Helm 4 unpacks an archive into its data folder and does not ask that variable, but
    // looks for plugins where it says.
    place
        .set("NACRE_CONFIG", config)
        .set("NACRE_LOCK", lock)
        .set("NACRE_NAMESPACE", "nacre");
    let install = [
        "plugin",
        "install",
        "--verify=false",
        archive.to_str().unwrap(),
    ];
    place.tool(HELM4, &install).ok();
    let packaged = given("NACRE_TEST_PACKAGES").join(concat!(
        "nacre-coordinator-",
        env!("CARGO_PKG_VERSION"),
        ".tgz"
    ));
    let template = [
        "template",
        "nacre",
        packaged.to_str().unwrap(),
        "--namespace",
        "nacre",
    ];
    let flags = ["--post-renderer", "nacre-post-renderer"];
    let rendered = place.tool(HELM4, &[&template[..], &flags].concat()).ok();
    assert_eq!(carried(&rendered), carried(&printed));
    assert_eq!(carried(&rendered).len(), 1);
}

#[test]
fn the_catalogue_names_what_exists() {
    let metadata = yaml(&root().join("packages/kpt/metadata.yaml"));
    let definition = yaml(&root().join("packages/kpt/definition.yaml"));
    let version = &definition["spec"]["versions"][0];
    let image = version["runtime"]["container"]["image"].as_str().unwrap();
    assert!(
        image.starts_with(metadata["image"].as_str().unwrap()),
        "{image}"
    );
    assert!(
        image.ends_with(concat!(":v", env!("CARGO_PKG_VERSION"))),
        "{image}"
    );
    assert_eq!(version["runtime"]["container"]["requireNetwork"], false);
    for path in version["examples"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&version["usage"]])
    {
        assert!(root().join(path.as_str().unwrap()).exists(), "{path}");
    }
}
