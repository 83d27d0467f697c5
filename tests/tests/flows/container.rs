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

#[test]
fn images_hold_a_numeric_user_and_two_files() {
    for target in ["krm-fn", "post-renderer", "cli"] {
        let image = Image::build(target);
        let place = Place::new();
        let user = place
            .tool(
                DOCKER,
                &["inspect", "--format", "{{.Config.User}}", &image.name],
            )
            .ok();
        assert_eq!(user.trim_end(), "65534:65534", "{target}");
        let layers = ["inspect", "--format", "{{len .RootFS.Layers}}", &image.name];
        assert_eq!(place.tool(DOCKER, &layers).ok().trim_end(), "2", "{target}");
    }
}
