//! `nacre check`, `nacre diff` and `nacre manifest` through the binary, on resources that `nacre generate`
//! wrote.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test: what goes wrong here must stop it"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nacre_imagelock::{Digest, Entry, ImageLock, ImageReference, UserDatabase};
use nacre_workload::names::{COORDINATOR_IMAGE, INITIALIZER_IMAGE};
use serde_json::{Value, json};

/// A directory with configuration, lock and resources, rendered.
struct Workspace {
    folder: tempfile::TempDir,
}

/// What a run gave.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Workspace {
    /// Resources as a person writes them, owners in the configuration.
    fn new() -> Self {
        let pem = include_str!("../../../crates/manifest/testdata/rsa2048.pub");
        Self::with(json!({ "seedshareOwners": [{ "pem": pem }] }))
    }

    /// The same with these owners.
    fn with(owners: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = json!({
            "apiVersion": "nacre.dev/v1alpha1",
            "kind": "Confidential",
            "metadata": { "name": "confidential" },
            "spec": { "platform": "metal-qemu-snp", "namespace": "shop", "disableUpdates": true,
                      "insecureUnboundFirstSet": true },
        });
        let spec = config["spec"].as_object_mut().unwrap();
        spec.extend(owners.as_object().unwrap().clone());
        let mut lock = ImageLock::default();
        for image in [
            INITIALIZER_IMAGE,
            COORDINATOR_IMAGE,
            "registry.example.org/app:v1",
        ] {
            let reference = ImageReference::parse(image).unwrap();
            let mut entry = Entry::new(reference, Digest::of(image.as_bytes()));
            entry.config.entrypoint = vec!["/program".to_owned()];
            entry.config.user = "0:0".to_owned();
            entry.users = Some(UserDatabase::default());
            entry.resolved_user = entry.default_user();
            lock.insert(entry);
        }
        let workspace = Self { folder };
        workspace.write("nacre.yaml", &config.to_string());
        workspace.write("nacre.lock.yaml", &lock.to_value().to_string());
        workspace.write(
            "resources/coordinator.yml",
            &pod_owner("StatefulSet", "coordinator", COORDINATOR_IMAGE),
        );
        workspace.write(
            "resources/web.yml",
            &pod_owner("Deployment", "web", "registry.example.org/app:v1"),
        );
        workspace
    }

    /// The same, after `nacre generate`.
    fn rendered() -> Self {
        let workspace = Self::new();
        let run = workspace.run(&["generate", "resources"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        workspace
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{from} in {text}");
        self.write(name, &text.replace(from, to));
    }

    fn run(&self, args: &[&str]) -> Run {
        run(self.folder.path(), args, "")
    }

    fn run_with(&self, args: &[&str], stdin: &str) -> Run {
        run(self.folder.path(), args, stdin)
    }
}

fn run(folder: &Path, args: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nacre"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn pod_owner(kind: &str, name: &str, image: &str) -> String {
    let annotations = match name {
        "coordinator" => "\n      annotations: {contrast.edgeless.systems/pod-role: coordinator}",
        _ => "",
    };
    format!(
        "apiVersion: apps/v1
kind: {kind}
metadata:
  name: {name}
spec:
  template:
    metadata:
      labels: {{app: {name}}}{annotations}
    spec:
      runtimeClassName: contrast-cc
      enableServiceLinks: false
      automountServiceAccountToken: false
      containers:
        - name: app
          image: {image}
          env:
            - {{name: LOG_LEVEL, value: info}}
"
    )
}

#[test]
fn check_passes_on_what_generate_wrote() {
    let workspace = Workspace::rendered();
    let run = workspace.run(&["check", "resources"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout, "2 confidential workloads checked\n");
    let all = workspace.read("resources/coordinator.yml")
        + "---\n"
        + &workspace.read("resources/web.yml");
    let piped = workspace.run_with(&["check", "-", "--manifest", "manifest.json"], &all);
    assert_eq!(piped.code, Some(0), "{piped:?}");
}

#[test]
fn owners_of_key_files_need_not_be_there_to_check() {
    let workspace = Workspace::with(json!({}));
    assert_eq!(workspace.run(&["generate", "resources"]).code, Some(0));
    let built = workspace.run(&["manifest", "build", "resources"]);
    assert_eq!(built.stdout, workspace.read("manifest.json"));

    fs::remove_file(workspace.folder.path().join("seedshare-owner.pem")).unwrap();
    let check = workspace.run(&["check", "resources"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let built = workspace.run(&[
        "manifest",
        "build",
        "resources",
        "--previous",
        "manifest.json",
    ]);
    assert_eq!(built.stdout, workspace.read("manifest.json"));
}

#[test]
fn check_fails_on_what_was_never_rendered() {
    let workspace = Workspace::new();
    let run = workspace.run(&["check", "resources"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr
            .contains("error[NCR0802]: shop/Deployment/web still has the placeholder")
    );
    assert!(
        run.stderr.contains("resources/web.yml:10"),
        "{}",
        run.stderr
    );
}

#[test]
fn check_names_what_changed_after_rendering() {
    let workspace = Workspace::rendered();
    workspace.replace("resources/web.yml", "value: info", "value: debug");
    let run = workspace.run(&["check", "resources", "--output", "json"]);
    assert_eq!(run.code, Some(1));
    let result: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(result["passed"], false);
    assert_eq!(result["workloads"], 2);
    let codes: Vec<&str> = result["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["NCR0801", "NCR0805"]);
    assert!(
        run.stderr.contains(r#""LOG_LEVEL": "=debug""#),
        "{}",
        run.stderr
    );
}

#[test]
fn check_fails_on_a_stale_manifest() {
    let workspace = Workspace::rendered();
    workspace.replace(
        "manifest.json",
        "\"CoordinatorReplicas\": 1",
        "\"CoordinatorReplicas\": 3",
    );
    let run = workspace.run(&["check", "resources"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("CoordinatorReplicas: 3 → 1"),
        "{}",
        run.stderr
    );
    workspace.replace("manifest.json", "{", "");
    let broken = workspace.run(&["check", "resources"]);
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("NCR0601") && broken.stderr.contains("manifest.json"));
}

#[test]
fn diff_shows_meaning_in_three_forms() {
    let before = Workspace::rendered();
    let after = Workspace::new();
    after.replace("resources/web.yml", "value: info", "value: debug");
    assert_eq!(after.run(&["generate", "resources"]).code, Some(0));
    let old = before.folder.path().join("resources");
    let old = old.to_str().unwrap();

    let text = after.run(&["diff", old, "resources"]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert_eq!(
        text.stdout,
        "~ shop/Deployment/web\n    container app: env LOG_LEVEL: info → debug\n"
    );
    let markdown = after.run(&["diff", "--markdown", old, "resources"]);
    assert!(
        markdown
            .stdout
            .contains("### `shop/Deployment/web` changed")
    );
    assert!(
        markdown
            .stdout
            .contains("|  | container app: env LOG\\_LEVEL | `info` | `debug` |")
    );
    let json = after.run(&["diff", "--output", "json", old, "resources"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["groups"][0]["changes"][0]["new"], "debug");

    let check = after.run(&["diff", "--check", old, "resources"]);
    assert_eq!(check.code, Some(5));
    let same = after.run(&["diff", "--check", "resources", "resources"]);
    assert_eq!((same.code, same.stdout.as_str()), (Some(0), ""));
}

#[test]
fn diff_compares_manifests() {
    let workspace = Workspace::rendered();
    let text = workspace.read("manifest.json");
    workspace.write(
        "new.json",
        &text.replace("\"PeerRecovery\": false", "\"PeerRecovery\": true"),
    );
    let run = workspace.run(&["diff", "manifest.json", "new.json"]);
    assert_eq!(run.stdout, "~ deployment\n  ! PeerRecovery: false → true\n");
    let piped = workspace.run_with(&["diff", "manifest.json", "-"], &text);
    assert_eq!((piped.code, piped.stdout.as_str()), (Some(0), ""));

    workspace.write("bad.json", &text.replace("PeerRecovery", "PeerRecover"));
    let bad = workspace.run(&["diff", "manifest.json", "bad.json"]);
    assert_eq!(bad.code, Some(1));
    assert!(
        bad.stderr.contains("NCR0605") && bad.stderr.contains("PeerRecover"),
        "{}",
        bad.stderr
    );

    let mixed = workspace.run(&["diff", "manifest.json", "resources"]);
    assert_eq!(mixed.code, Some(1));
    assert!(mixed.stderr.contains("NCR0807"), "{}", mixed.stderr);
    let both = workspace.run(&["diff", "-", "-"]);
    assert_eq!(both.code, Some(2));
}

#[test]
fn manifest_build_gives_the_bytes_that_generate_wrote() {
    let workspace = Workspace::rendered();
    let run = workspace.run(&["manifest", "build", "resources"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout, workspace.read("manifest.json"));
    let file = workspace.run(&["manifest", "build", "resources", "-o", "again.json"]);
    assert_eq!(file.code, Some(0));
    assert_eq!(
        workspace.read("again.json"),
        workspace.read("manifest.json")
    );

    workspace.replace("resources/web.yml", "value: info", "value: debug");
    let stale = workspace.run(&["manifest", "build", "resources"]);
    assert_eq!((stale.code, stale.stdout.as_str()), (Some(1), ""));
    assert!(stale.stderr.contains("NCR0801"), "{}", stale.stderr);
}

#[test]
fn manifest_extract_gives_the_bytes_in_the_config_map() {
    let workspace = Workspace::rendered();
    let manifest = workspace.read("manifest.json");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "prod-nacre-manifest" },
        "data": { "manifest.json": manifest },
    });
    let run = workspace.run_with(&["manifest", "extract", "-"], &map.to_string());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout, manifest);
    let none = workspace.run(&["manifest", "extract", "resources"]);
    assert_eq!(none.code, Some(1));
    assert!(none.stderr.contains("NCR0807"));
}

#[test]
fn manifest_merge_unites_parts_and_refuses_contradictions() {
    let workspace = Workspace::rendered();
    let whole: Value = serde_json::from_str(&workspace.read("manifest.json")).unwrap();
    let part = |keep_coordinator: bool| {
        let mut part = whole.clone();
        let policies = part["Policies"].as_object_mut().unwrap();
        policies.retain(|_, entry| (entry["Role"] == "coordinator") == keep_coordinator);
        part
    };
    workspace.write("a.json", &part(true).to_string());
    workspace.write("b.json", &part(false).to_string());
    let run = workspace.run(&["manifest", "merge", "a.json", "b.json"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(run.stdout, workspace.read("manifest.json"));

    let mut other = part(false);
    other["InsecureUnboundFirstSet"] = json!(false);
    workspace.write("c.json", &other.to_string());
    let conflict = workspace.run(&["manifest", "merge", "a.json", "c.json"]);
    assert_eq!((conflict.code, conflict.stdout.as_str()), (Some(1), ""));
    assert!(conflict.stderr.contains("NCR0607"), "{}", conflict.stderr);
    assert!(
        conflict
            .stderr
            .contains("a.json and c.json must say the same")
    );
}
