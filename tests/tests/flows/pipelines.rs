//! Pipelines that bring what was rendered to a cluster: pull requests, Flux and Argo CD, by the commands that they run.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use crate::container::Image;
use crate::harness::{DOCKER, KUSTOMIZE, Place, assert_is_file, carried, given, root};
use crate::packages::{by_name, yaml};

/// A clone of a repository with resources, rendered, on a branch beside `origin/main`.
fn repository() -> Place {
    let place = Place::with_example("jobs");
    place.write("nacre.yaml", &place.read("confidential.yaml"));
    let script =
        "mkdir resources && mv jobs.yaml coordinator.yml resources/ && rm confidential.yaml
        nacre generate -o rendered.yaml resources
        git init -q . && git config user.email a@example.org && git config user.name a
        git add -A && git commit -qm start && git update-ref refs/remotes/origin/main HEAD";
    run(&place, script);
    place
}

fn run(place: &Place, script: &str) -> String {
    let script = format!("set -euo pipefail\n{script}");
    place.run(Path::new("/bin/bash"), &["-c", &script], "").ok()
}

/// A step or a job of a pipeline.
struct Step {
    name: String,
    script: String,
    /// Whether it runs when another one has failed.
    always: bool,
}

/// The steps of GitHub's job that run `nacre`, in order.
fn github() -> Vec<Step> {
    let workflow = yaml(&root().join("packages/ci/github/pull-request.yml"));
    let steps = workflow["jobs"]["nacre"]["steps"].as_array().unwrap();
    let ours = steps.iter().filter_map(|step| {
        let script = step["run"].as_str()?;
        let condition = step["if"].as_str().unwrap_or_default();
        script.contains("nacre ").then(|| Step {
            name: step["name"].as_str().unwrap().to_owned(),
            script: script.to_owned(),
            always: condition.contains("!cancelled()"),
        })
    });
    ours.collect()
}

/// GitLab's jobs. They are of one stage, so that none waits for another.
fn gitlab() -> Vec<Step> {
    let file = yaml(&root().join("packages/ci/gitlab/nacre.gitlab-ci.yml"));
    let jobs = file.as_object().unwrap().iter();
    let jobs = jobs.filter(|(name, _)| !name.starts_with('.'));
    let jobs = jobs.map(|(name, job)| {
        assert_eq!((&job["stage"], &job["needs"]), (&Value::Null, &Value::Null));
        let lines = job["script"].as_array().unwrap();
        let lines: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
        Step {
            name: name.clone(),
            script: lines.join("\n"),
            always: true,
        }
    });
    jobs.collect()
}

/// Runs steps as a runner does; gives the names of those that failed.
fn run_steps(place: &Place, steps: &[Step]) -> Vec<String> {
    let mut failed = Vec::new();
    for step in steps {
        if failed.is_empty() || step.always {
            let script = format!("set -euo pipefail\n{}", step.script);
            let ended = place.run(Path::new("/bin/bash"), &["-c", &script], "");
            if ended.code != Some(0) {
                failed.push(step.name.clone());
            }
        }
    }
    failed
}

#[test]
fn the_pipelines_pass_on_what_is_committed_and_fail_on_what_is_not() {
    let github = (
        github(),
        [
            "rendered files are what would be generated",
            "complete and unchanged",
        ],
    );
    let gitlab = (gitlab(), ["nacre:check", "nacre:rendered"]);
    for (steps, failing) in [github, gitlab] {
        assert_eq!(steps.len(), 4);
        let mut place = repository();
        place
            .set("GITHUB_BASE_REF", "main")
            .set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main");
        assert_eq!(run_steps(&place, &steps), [""; 0]);
        assert!(place.read("nacre.sarif").contains("\"runs\""));
        run(&place, "rm nacre.sarif diff.md");

        // What the later ones find is there, although an earlier one failed.
        place.edit("rendered.yaml", "nightly", "hourly");
        let mut failed = run_steps(&place, &steps);
        failed.sort();
        let mut failing = failing.map(str::to_owned).to_vec();
        failing.sort();
        assert_eq!(failed, failing);
        let sarif: Value = serde_json::from_str(&place.read("nacre.sarif")).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        assert!(!results.is_empty(), "{sarif:#}");
        let diff = place.read("diff.md");
        assert!(diff.contains("hourly"), "{diff}");

        // The target branch has no rendering yet.
        run(
            &place,
            "git checkout -q . && git update-ref refs/remotes/origin/main \
             \"$(git commit-tree -m none \"$(git mktree < /dev/null)\")\"",
        );
        assert_eq!(run_steps(&place, &steps), [""; 0]);
        assert!(place.read("diff.md").starts_with("The first rendering"));

        // What cannot be compared is not called the first.
        run(
            &place,
            "git update-ref -d refs/remotes/origin/main && rm diff.md",
        );
        let diff = steps.iter().find(|step| step.script.contains("nacre diff"));
        assert_eq!(run_steps(&place, &steps), [diff.unwrap().name.as_str()]);
        run(&place, "test ! -e diff.md");
    }
}

#[test]
fn what_runs_after_a_failure_needs_its_file() {
    let workflow = yaml(&root().join("packages/ci/github/pull-request.yml"));
    let steps = workflow["jobs"]["nacre"]["steps"].as_array().unwrap();
    for (step, file) in [("run", "diff.md"), ("uses", "nacre.sarif")] {
        let found = steps.iter().find(|found| {
            let text = found[step].as_str().unwrap_or_default();
            text.starts_with("gh pr comment") || text.contains("upload-sarif")
        });
        let condition = found.unwrap()["if"].as_str().unwrap();
        assert!(condition.contains("!cancelled()"), "{condition}");
        let needs = format!("hashFiles('{file}') != ''");
        assert!(condition.contains(&needs), "{condition}");
    }
}

/// Takes one request and answers `201`; gives what was asked. A client that ends before its request fails the test.
fn one_request(server: TcpListener) -> String {
    let (mut stream, _) = server.accept().unwrap();
    let mut taken = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&taken).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                let found = name.eq_ignore_ascii_case("content-length");
                found.then(|| value.parse::<usize>().unwrap())
            });
            if body.len() >= length.unwrap_or_default() {
                stream
                    .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
                    .unwrap();
                return text;
            }
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "{text}");
        taken.extend_from_slice(&piece[..read]);
    }
}

#[test]
fn gitlab_gets_the_change_as_a_note_of_the_merge_request() {
    let diff = gitlab()
        .into_iter()
        .find(|job| job.name == "nacre:diff")
        .unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}/api/v4", server.local_addr().unwrap());
    let mut place = repository();
    place
        .set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")
        .set("CI_API_V4_URL", api)
        .set("CI_PROJECT_ID", "7")
        .set("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "7")
        .set("CI_MERGE_REQUEST_IID", "42")
        .set("NACRE_COMMENT_TOKEN", "not-a-token");
    place.edit("rendered.yaml", "nightly", "hourly");
    let (tell, asked) = mpsc::channel();
    std::thread::spawn(move || tell.send(one_request(server)));
    run(&place, &diff.script);
    let asked = asked.recv_timeout(Duration::from_secs(60)).unwrap();
    let first = "POST /api/v4/projects/7/merge_requests/42/notes HTTP/1.1\r\n";
    assert!(asked.starts_with(first), "{asked}");
    assert!(
        asked.contains("\r\nPRIVATE-TOKEN: not-a-token\r\n"),
        "{asked}"
    );
    let (_, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        body.starts_with("body=") && body.contains("hourly"),
        "{body}"
    );
}

#[test]
fn flux_gets_what_was_rendered_and_checked() {
    let workflow = yaml(&root().join("packages/flux/rendered-manifests.yaml"));
    let steps = workflow["jobs"]["render"]["steps"].as_array().unwrap();
    let render = steps.iter().find(|step| step["name"] == "render").unwrap();
    let place = Place::with_example("shop/kustomize");
    symlink(given(KUSTOMIZE), place.bin().join("kustomize")).unwrap();
    run(&place, render["run"].as_str().unwrap());
    assert!(carried(&place.read("out/rendered.yaml")).len() > 3);
}

#[test]
fn flux_applies_what_the_workflow_pushes() {
    let text = fs::read_to_string(root().join("packages/flux/sync.yaml")).unwrap();
    let objects = by_name(&text);
    let source = &objects["\"OCIRepository\" \"shop\""];
    let sync = &objects["\"Kustomization\" \"shop\""];
    let reference = &sync["spec"]["sourceRef"];
    assert_eq!(reference["kind"], source["kind"]);
    assert_eq!(reference["name"], source["metadata"]["name"]);
    assert_eq!(
        sync["metadata"]["namespace"],
        source["metadata"]["namespace"]
    );
    // Policies pin the namespace, and what Flux changes else after they were made.
    let spec = sync["spec"].as_object().unwrap();
    for field in [
        "targetNamespace",
        "patches",
        "images",
        "postBuild",
        "namePrefix",
    ] {
        assert!(!spec.contains_key(field), "{field}");
    }
    let workflow = yaml(&root().join("packages/flux/rendered-manifests.yaml"));
    let steps = workflow["jobs"]["render"]["steps"].as_array().unwrap();
    let script = |name: &str| {
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        step["run"].as_str().unwrap()
    };
    // What lies in the folder that is pushed is at the root of the artifact.
    assert!(script("push").contains(" --path=out "));
    assert!(script("render").contains(" > out/rendered.yaml\n"));
    assert_eq!(spec["path"], "./");
    let pushed = script("push").replace("$GITHUB_REPOSITORY", "example/shop");
    let pulled = source["spec"]["url"]
        .as_str()
        .unwrap()
        .replace("oci://", "");
    let tag = source["spec"]["ref"]["tag"].as_str().unwrap();
    assert!(
        pushed.contains(&format!(
            "oci://ghcr.io/{}:{tag}\"",
            pulled.trim_start_matches("ghcr.io/")
        )),
        "{pushed}"
    );
}

/// Renders the example as the plugin does, on this machine, and gives its manifest.
fn manifest_of_the_plugin(place: &mut Place) -> String {
    let plugin = yaml(&root().join("packages/argocd/plugin.yaml"));
    let command = plugin["spec"]["generate"]["command"].as_array().unwrap();
    let words: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[0], "/kustomize");
    let manifest = place.home("manifest.json");
    place.set("NACRE_MANIFEST_OUT", &manifest);
    symlink(given(KUSTOMIZE), place.bin().join("kustomize")).unwrap();
    let script = format!("cd confidential && kustomize {}", words[1..].join(" "));
    run(place, &script);
    fs::read_to_string(manifest).unwrap()
}

/// Where the source names no namespace, Argo CD applies to that of the application, and that is what policies pin.
#[test]
fn argo_cds_namespace_is_that_of_objects_without_one() {
    let rendered_for = |namespace: &str| {
        let mut place = Place::with_example("shop/kustomize");
        let script = "sed -i '/^ *namespace: shop$/d' base/*.yaml confidential/confidential.yaml \
            confidential/kustomization.yaml
            ! grep -rn 'namespace: shop' base confidential";
        run(&place, script);
        place.set("ARGOCD_APP_NAMESPACE", namespace);
        manifest_of_the_plugin(&mut place)
    };
    let expected = root().join("examples/shop/kustomize/expected/manifest.json");
    assert_is_file(&expected, &rendered_for("shop"));
    // It is the variable that did it.
    let elsewhere: Value = serde_json::from_str(&rendered_for("elsewhere")).unwrap();
    let policies = elsewhere["Policies"].as_object().unwrap();
    assert_eq!(policies.len(), 5);
    for policy in policies.values() {
        assert_eq!(policy["Identity"]["Namespace"], "elsewhere", "{policy}");
    }
}

#[test]
fn argo_cds_application_names_the_plugin() {
    let plugin = yaml(&root().join("packages/argocd/plugin.yaml"));
    let application = yaml(&root().join("packages/argocd/application.yaml"));
    // Argo CD joins them where the plugin has a version.
    let name = format!(
        "{}-{}",
        plugin["metadata"]["name"].as_str().unwrap(),
        plugin["spec"]["version"].as_str().unwrap()
    );
    assert_eq!(
        application["spec"]["source"]["plugin"]["name"],
        name.as_str()
    );
}

#[test]
fn argo_cd_renders_with_its_own_user_and_a_read_only_root() {
    let plugin = yaml(&root().join("packages/argocd/plugin.yaml"));
    let command = plugin["spec"]["generate"]["command"].as_array().unwrap();
    let command: Vec<&str> = command.iter().map(|word| word.as_str().unwrap()).collect();
    let patch = yaml(&root().join("packages/argocd/repo-server.yaml"));
    let container = &patch["spec"]["template"]["spec"]["containers"][0];
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    let user = security["runAsUser"].to_string();

    let context = given("NACRE_TEST_PACKAGES").join("argocd/context");
    let file = root().join("packages/argocd/Dockerfile");
    let image = Image::build_from("argocd", &file, &context);
    let place = Place::with_example("shop/kustomize");
    // The application's folder is a copy that Argo CD hands to the plugin.
    let app = place.path("confidential");
    let mount = format!("type=bind,src={},dst=/app", place.app().display());
    let flags = [
        "run",
        "--rm",
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--tmpfs=/tmp",
        "--workdir=/app/confidential",
        "--env=ARGOCD_APP_NAME=shop",
        "--env=ARGOCD_APP_NAMESPACE=shop",
    ];
    let user = format!("--user={user}");
    let entrypoint = format!("--entrypoint={}", command[0]);
    let more = [user.as_str(), "--mount", &mount, &entrypoint, &image.name];
    open_to_everybody(&place.app());
    let rendered = place
        .tool(DOCKER, &[&flags[..], &more[..], &command[1..]].concat())
        .ok();
    let here = place.tool(
        KUSTOMIZE,
        &[
            "build",
            "--enable-alpha-plugins",
            "--enable-exec",
            app.to_str().unwrap(),
        ],
    );
    assert_eq!(rendered, here.ok());
    assert_is_file(
        &root().join("examples/shop/kustomize/expected/rendered.yaml"),
        &rendered,
    );
}

#[test]
fn argo_cds_plugin_is_pinned_and_says_what_it_is_made_of() {
    let folder = given("NACRE_TEST_PACKAGES").join("argocd");
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let digest = json("layout/index.json")["manifests"][0]["digest"].clone();
    let patch = yaml(&folder.join("repo-server.yaml"));
    let image = patch["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    let (reference, pinned) = image.unwrap().split_once('@').unwrap();
    assert_eq!(pinned, digest);
    let source = yaml(&root().join("packages/argocd/repo-server.yaml"));
    let source = &source["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(reference, source);

    let document = json("sbom/argocd.cdx.json");
    let parts = document["components"].as_array().unwrap();
    let names = |kind: &str| -> Vec<&str> {
        let parts = parts.iter().filter(|part| {
            let purl = part["purl"].as_str().unwrap();
            purl.starts_with(&format!("pkg:{kind}/"))
        });
        parts.map(|part| part["name"].as_str().unwrap()).collect()
    };
    assert!(names("cargo").contains(&"nacre-policy"));
    for module in ["std", "sigs.k8s.io/kustomize/api", "github.com/spf13/cobra"] {
        assert!(names("golang").contains(&module), "{module}");
    }
    let licences = fs::read_to_string(folder.join("sbom/argocd.licences.txt")).unwrap();
    assert_eq!(licences.lines().count(), parts.len());
    assert!(
        licences.contains("sigs.k8s.io/kustomize/api v0"),
        "{licences}"
    );
}

/// The engine's user is not ours.
fn open_to_everybody(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut path = Some(folder);
    // The temporary folder above it is for its owner only.
    for _ in 0..2 {
        let Some(here) = path else { break };
        fs::set_permissions(here, fs::Permissions::from_mode(0o755)).unwrap();
        path = here.parent();
    }
}
