//! Images from the Dockerfile, built and run by a real engine without a registry or a network.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};

use crate::harness::{DOCKER, Place, given, objects, root};

/// An image in the engine that `cargo xtask test` started.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) name: String,
}

impl Image {
    /// The image of a target of the Dockerfile; each is built once.
    pub(crate) fn build(target: &str) -> Image {
        let context = given("NACRE_TEST_IMAGES").join("context");
        Image::build_from(target, &root().join("Dockerfile"), &context)
    }

    /// The same from another file and folder.
    pub(crate) fn build_from(target: &str, file: &Path, context: &Path) -> Image {
        static BUILT: OnceLock<Mutex<BTreeMap<String, Image>>> = OnceLock::new();
        let mut built = BUILT.get_or_init(Mutex::default).lock().unwrap();
        let image = built.entry(target.to_owned()).or_insert_with(|| {
            let name = format!("nacre.test/{target}:v0");
            let mut place = Place::new();
            place.set("DOCKER_BUILDKIT", "0");
            let flags = [
                "build",
                "--quiet",
                "--network=none",
                "--target",
                target,
                "--tag",
                &name,
            ];
            let paths = ["--file", file.to_str().unwrap(), context.to_str().unwrap()];
            place.tool(DOCKER, &[&flags[..], &paths[..]].concat()).ok();
            Image { name }
        });
        image.clone()
    }

    /// An image of an OCI layout, named as in its index up to the last part: `mesh` for `…/mesh:v1`.
    /// Engines before Docker 25 read layouts only with an index of their own.
    pub(crate) fn load(layout: &Path, name: &str) -> Image {
        static LOADED: OnceLock<Mutex<BTreeMap<String, Image>>> = OnceLock::new();
        let json = |path: &Path| -> Value {
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        let blob = |digest: &Value| {
            let (algorithm, hex) = digest.as_str().unwrap().split_once(':').unwrap();
            format!("blobs/{algorithm}/{hex}")
        };
        let index = json(&layout.join("index.json"));
        let wanted = |entry: &&Value| {
            let reference = entry["annotations"]["org.opencontainers.image.ref.name"].as_str();
            reference.is_some_and(|reference| {
                name.starts_with(reference) || reference.contains(&format!("/{name}:"))
            })
        };
        let entry = index["manifests"].as_array().unwrap().iter().find(wanted);
        let entry = entry.unwrap_or_else(|| panic!("no {name} in {}", layout.display()));
        let reference = entry["annotations"]["org.opencontainers.image.ref.name"]
            .as_str()
            .unwrap();
        let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap();
        let image = loaded.entry(reference.to_owned()).or_insert_with(|| {
            let manifest = json(&layout.join(blob(&entry["digest"])));
            let layers = manifest["layers"].as_array().unwrap();
            let layers: Vec<String> = layers.iter().map(|layer| blob(&layer["digest"])).collect();
            let config = blob(&manifest["config"]["digest"]);
            let place = Place::new();
            let engine_index =
                json!([{ "Config": config, "RepoTags": [reference], "Layers": layers }]);
            place.write("manifest.json", &engine_index.to_string());
            let archive = place.path("image.tar");
            let mut pack = vec!["-cf", archive.to_str().unwrap(), "manifest.json"];
            pack.extend(["-C", layout.to_str().unwrap(), &config]);
            pack.extend(layers.iter().map(String::as_str));
            place.run(Path::new("/bin/tar"), &pack, "").ok();
            place
                .tool(DOCKER, &["load", "--input", archive.to_str().unwrap()])
                .ok();
            Image {
                name: reference.to_owned(),
            }
        });
        image.clone()
    }

    /// Runs the image as strictly as an engine can.
    fn run(&self, arguments: &[&str], stdin: &str) -> crate::harness::Ended {
        let flags = [
            "run",
            "--rm",
            "--interactive",
            "--network=none",
            "--read-only",
            "--cap-drop=ALL",
        ];
        let more = [
            "--security-opt=no-new-privileges",
            "--user=nobody",
            &self.name,
        ];
        let place = Place::new();
        place.run(
            &given(DOCKER),
            &[&flags[..], &more[..], arguments].concat(),
            stdin,
        )
    }
}

/// A ResourceList with nothing to change in it.
const LIST: &str = "\
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: settings} # as it is
    data:
      answer: '42'
";

#[test]
fn the_function_runs_without_network_rights_or_a_writable_file() {
    let done = Image::build("krm-fn").run(&[], LIST).ok();
    let (before, after) = (objects(LIST), objects(&done));
    assert_eq!(after[0], before[0]);
    assert!(
        done.contains("metadata: {name: settings} # as it is\n"),
        "{done}"
    );
}

#[test]
fn the_function_fails_with_a_list_when_it_is_given_nonsense() {
    let list = LIST.replace("items:", "functionConfig:\n  kind: Nonsense\nitems:");
    let ended = Image::build("krm-fn").run(&[], &list);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("results:"), "{}", ended.stdout);
    assert!(ended.stdout.contains("answer: '42'"), "{}", ended.stdout);
}

#[test]
fn the_post_renderer_runs_in_its_image() {
    let stream =
        "# a comment\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: a, namespace: b}\n";
    assert_eq!(Image::build("post-renderer").run(&[], stream).ok(), stream);
}

#[test]
fn the_command_runs_in_its_image() {
    let version = Image::build("cli").run(&["--version"], "").ok();
    assert_eq!(
        version.lines().next(),
        Some(concat!("nacre ", env!("CARGO_PKG_VERSION")))
    );
    assert!(version.contains("\nplatforms  contrast-cc-"), "{version}");
}

/// Every target of the Dockerfile: its user, and how many files are in it.
const TARGETS: &[(&str, &str, usize)] = &[
    ("krm-fn", "65534:65534", 2),
    ("post-renderer", "65534:65534", 2),
    ("cli", "65534:65534", 2),
    ("coordinator", "0:0", 2),
    ("initializer", "0:0", 3),
    ("mesh", "0:0", 2),
];

/// What an engine knows of an image.
fn inspected(image: &Image) -> Value {
    let text = Place::new().tool(DOCKER, &["inspect", &image.name]).ok();
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

#[test]
fn images_hold_a_numeric_user_and_what_the_layouts_hold() {
    let layout = given("NACRE_TEST_IMAGES").join("layout");
    for (target, user, files) in TARGETS {
        let (built, loaded) = (
            inspected(&Image::build(target)),
            inspected(&Image::load(&layout, target)),
        );
        assert_eq!(built["Config"]["User"], *user, "{target}");
        // What a policy pins of an image, and what people read of it.
        for field in ["User", "Env", "Entrypoint", "WorkingDir", "Labels"] {
            let field = format!("/Config/{field}");
            let (built, loaded) = (built.pointer(&field), loaded.pointer(&field));
            assert!(
                built.is_some_and(|value| !value.is_null()),
                "{target}{field}"
            );
            assert_eq!(built, loaded, "{target}{field}");
        }
        let layers = built["RootFS"]["Layers"].as_array().unwrap();
        assert_eq!(layers.len(), *files, "{target}");
    }
}

/// Runs an image that was loaded from the layout with a place to write and nothing else.
fn run_loaded(name: &str, variables: &[&str]) -> crate::harness::Ended {
    let layout = given("NACRE_TEST_IMAGES").join("layout");
    let image = Image::load(&layout, name);
    let flags = [
        "run",
        "--rm",
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--tmpfs=/state",
    ];
    let variables = variables.iter().flat_map(|variable| ["--env", variable]);
    let arguments: Vec<&str> = flags.into_iter().chain(variables).collect();
    Place::new().run(
        &given(DOCKER),
        &[&arguments[..], &[&image.name]].concat(),
        "",
    )
}

/// The programs as they are shipped, which no simulation replaces: they get as far as the hardware.
#[test]
fn shipped_images_start_and_miss_only_the_hardware() {
    let coordinator = ["NACRE_HISTORY=directory:/state"];
    let initializer = [
        "NACRE_TLS_DIR=/state",
        "COORDINATOR_HOST=127.0.0.1",
        "NACRE_ALLOW_UNATTESTED_COORDINATOR=true",
    ];
    for (name, variables, missing) in [
        (
            "coordinator",
            &coordinator[..],
            "/dev/sev-guest is not there",
        ),
        (
            "initializer",
            &initializer[..],
            "/dev/sev-guest is not there",
        ),
        ("mesh", &[][..], "no certificates in /tls-config"),
    ] {
        let ended = run_loaded(name, variables);
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(missing), "{name}: {}", ended.stderr);
    }
}
