//! `nacre lock`, against a registry on loopback and a layout.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use nacre_imagelock::Digest;
use serde_json::json;

use crate::common::{Done, TestEnvironment};

/// `puller:s3cret`
const AUTHORIZATION: &str = "Basic cHVsbGVyOnMzY3JldA==";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

type Files = BTreeMap<String, Vec<u8>>;

/// Blobs and the manifest's digest of an image without layers.
fn image(command: &str) -> (Files, Digest) {
    let config = json!({ "os": "linux", "architecture": "amd64",
        "config": { "User": "7:7", "Cmd": [command] }, "rootfs": { "diff_ids": [] } });
    let config = config.to_string().into_bytes();
    let manifest = json!({ "schemaVersion": 2, "layers": [], "config": {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": Digest::of(&config).to_string(), "size": config.len() } });
    let manifest = manifest.to_string().into_bytes();
    let digest = Digest::of(&manifest);
    let files = [config, manifest].map(|bytes| (Digest::of(&bytes).to_string(), bytes));
    (files.into(), digest)
}

/// A registry that wants a password and serves what is under the last part of the path.
struct Registry {
    host: String,
    files: Arc<Mutex<Files>>,
}

impl Registry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let files = Arc::new(Mutex::new(Files::new()));
        let served = files.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<_> = lines
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let path = head
                    .first()
                    .and_then(|line| line.split(' ').nth(1))
                    .unwrap_or("");
                let known = head.iter().any(|line| line.ends_with(AUTHORIZATION));
                let file = served
                    .lock()
                    .unwrap()
                    .get(path.rsplit('/').next().unwrap())
                    .cloned();
                let (status, header, body) = match (known, file) {
                    (false, _) => (401, "www-authenticate: Basic realm=x\r\n", Vec::new()),
                    (true, Some(body)) => (200, "", body),
                    (true, None) => (404, "", Vec::new()),
                };
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body);
            }
        });
        Self { host, files }
    }

    fn tag(&self, tag: &str, (files, digest): &(Files, Digest)) {
        let mut served = self.files.lock().unwrap();
        served.extend(files.clone());
        served.insert(tag.to_owned(), files[&digest.to_string()].clone());
    }
}

fn pod(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  runtimeClassName: contrast-cc\n  \
         containers:\n  - name: {name}\n    image: {image}\n"
    )
}

/// The program with a credential helper on its path.
fn lock(environment: &TestEnvironment, host: &str, more: &[&str]) -> Done {
    let helper = environment.path("bin/docker-credential-test");
    if !helper.exists() {
        let answer = "#!/bin/sh\nread server\n\
            test \"$server\" = '@HOST@' || exit 1\n\
            echo '{\"Username\":\"puller\",\"Secret\":\"s3cret\"}'\n";
        environment.write("bin/docker-credential-test", answer.replace("@HOST@", host));
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        let config = json!({ "credHelpers": { host: "test" } });
        environment.write("home/.docker/config.json", config.to_string());
    }
    let common = [
        "lock",
        "app.yml",
        "--skip-initializer",
        "--insecure-registry",
        host,
    ];
    let path = format!("{}:/usr/bin:/bin", environment.path("bin").display());
    let mut command = environment.nacre(&[&common, more].concat());
    command.env("PATH", path).output().unwrap().into()
}

#[test]
fn a_lock_is_written_checked_and_updated() {
    let registry = Registry::start();
    let (one, two) = (image("one"), image("two"));
    registry.tag("1", &one);
    let environment = TestEnvironment::empty();
    let name = format!("{}/app:1", registry.host);
    environment.write("app.yml", pod("app", &name));
    let run = |more: &[&str]| lock(&environment, &registry.host, more);

    let done = run(&["--check"]);
    assert_eq!(done.code, Some(5), "{}", done.shown());
    assert!(
        done.stderr
            .contains(&format!("{name} is not in nacre.lock.yaml")),
        "{}",
        done.shown()
    );
    assert!(!environment.exists("nacre.lock.yaml"));

    let done = run(&[]).success();
    assert_eq!(
        done.stdout,
        format!("added {name}\nwrote nacre.lock.yaml: 1 image\n")
    );
    assert!(!done.stderr.contains("s3cret"));
    let written = environment.read("nacre.lock.yaml");
    assert!(written.contains(&one.1.to_string()), "{written}");
    assert!(!written.contains("s3cret"));
    run(&["--check"]).success();

    // The tag moves: the lock holds until told otherwise.
    registry.tag("1", &two);
    let done = run(&[]).success();
    assert_eq!(done.stdout, "unchanged nacre.lock.yaml: 1 image\n");
    assert_eq!(environment.read("nacre.lock.yaml"), written);
    let done = run(&["--check"]).refused(5, "NCR0309");
    let moved = format!("{name} is {} now, nacre.lock.yaml has {}", two.1, one.1);
    assert!(done.stderr.contains(&moved), "{}", done.shown());
    assert!(done.stderr.contains("app.yml:9"), "{}", done.shown());
    run(&["--check", "--offline"]).success();
    assert_eq!(environment.read("nacre.lock.yaml"), written);

    let done = run(&["--update", &name]).success();
    assert!(
        done.stdout
            .contains(&format!("updated {name}: {} -> {}", one.1, two.1)),
        "{}",
        done.shown()
    );
    run(&["--check"]).success();
    let updated = environment.read("nacre.lock.yaml");

    // What is not used any more goes, and a new image comes.
    registry.tag("2", &one);
    environment.write("app.yml", pod("app", &format!("{}/app:2", registry.host)));
    let done = run(&["--check", "--offline"]).refused(5, "NCR0309");
    assert!(
        done.stderr.contains("is no longer used"),
        "{}",
        done.shown()
    );
    let done = run(&["--output", "json"]).success();
    let result: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let states: Vec<_> = result["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| &i["state"])
        .collect();
    assert_eq!(states, ["removed", "added"]);
    assert_ne!(environment.read("nacre.lock.yaml"), updated);
}

#[test]
fn nothing_is_written_when_an_image_fails() {
    let registry = Registry::start();
    registry.tag("1", &image("one"));
    let environment = TestEnvironment::empty();
    let resources = [
        pod("good", &format!("{}/app:1", registry.host)),
        pod("bad", &format!("{}/app:9", registry.host)),
    ];
    environment.write("app.yml", resources.join("---\n"));
    let done = lock(&environment, &registry.host, &[]).refused(1, "NCR0311");
    assert!(done.stderr.contains("app.yml:19"), "{}", done.shown());
    assert!(!environment.exists("nacre.lock.yaml"));

    let done = lock(
        &environment,
        &registry.host,
        &["--offline", "--cache-dir", "fresh"],
    );
    let done = done.refused(1, "NCR0317");
    assert!(done.stderr.contains("--layout"), "{}", done.shown());

    // Without the helper there are no credentials, and the message says where was looked.
    environment.write("auth.json", "{}");
    let done = lock(
        &environment,
        &registry.host,
        &["--auth-file", "auth.json", "--cache-dir", "c"],
    );
    let done = done.refused(1, "NCR0310");
    assert!(done.stderr.contains("auth.json"), "{}", done.shown());

    environment.write("app.yml", pod("bad", "Not/An Image"));
    let done = lock(&environment, &registry.host, &[]).refused(1, "NCR0302");
    assert!(done.stderr.contains("app.yml:9"), "{}", done.shown());
}

#[test]
fn a_layout_is_enough_and_a_damaged_lock_is_mended() {
    let environment = TestEnvironment::empty();
    let (files, digest) = image("one");
    for (name, bytes) in &files {
        environment.write(&format!("layout/blobs/{}", name.replace(':', "/")), bytes);
    }
    let size = files[&digest.to_string()].len();
    let index = json!({ "schemaVersion": 2, "manifests": [
        { "mediaType": MANIFEST, "digest": digest.to_string(), "size": size }] });
    environment.write("layout/index.json", index.to_string());
    environment.write("app.yml", pod("app", "shop.example/app:1"));
    let run = |more: &[&str]| {
        let common = ["lock", "app.yml", "--skip-initializer", "--offline"];
        environment.run(&[&common, more].concat())
    };
    run(&["--layout", "layout"]).refused(1, "NCR0317");
    let layout = ["--layout", "shop.example/app:1=layout"];
    run(&layout).success();
    let written = environment.read("nacre.lock.yaml");

    environment.write("nacre.lock.yaml", written.replace("one", "two"));
    let done = run(&["--check"]);
    assert_eq!(done.code, Some(5), "{}", done.shown());
    assert!(done.stderr.contains("NCR0307"), "{}", done.shown());
    let done = run(&layout).success();
    assert!(
        done.stderr
            .contains("was changed after `nacre lock` wrote it"),
        "{}",
        done.shown()
    );
    assert_eq!(environment.read("nacre.lock.yaml"), written);
}

#[test]
fn a_wrong_command_line_is_status_2() {
    let environment = TestEnvironment::empty();
    environment.write("app.yml", pod("app", "app:1"));
    for arguments in [
        &["lock"][..],
        &["lock", "app.yml", "--platform", "amd64"],
        &["lock", "app.yml", "--mirror", "docker.io"],
        &["lock", "app.yml", "--layout", "Not An Image=x"],
        &[
            "lock",
            "app.yml",
            "--skip-initializer",
            "--update",
            "other:1",
        ],
    ] {
        let done = environment.run(arguments);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (Some(2), ""),
            "{}",
            done.shown()
        );
    }
    assert!(!environment.exists("nacre.lock.yaml"));
}
