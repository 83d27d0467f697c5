//! Charts, plugins and pipelines as others use them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nacre_krm::Stream;
use serde_json::Value;

use crate::container::Image;
use crate::harness::{
    DOCKER, HELM3, HELM4, KUSTOMIZE, Place, assert_is_file, carried, given, objects, root,
};

/// The objects of a text by kind and name; the order of documents is Helm's.
fn by_name(text: &str) -> BTreeMap<String, Value> {
    objects(text)
        .into_iter()
        .map(|object| {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
            (name, object)
        })
        .collect()
}

fn yaml(file: &Path) -> Value {
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
fn the_helmfile_names_charts_that_are_there_and_a_namespace_for_each() {
    let file = yaml(&root().join("packages/helm/helmfile.yaml"));
    assert_eq!(file["helmDefaults"]["postRenderer"], "nacre-post-renderer");
    for release in file["releases"].as_array().unwrap() {
        let chart = root()
            .join("packages/helm")
            .join(release["chart"].as_str().unwrap());
        assert!(chart.join("Chart.yaml").exists(), "{}", chart.display());
        let arguments = release["postRendererArgs"].as_array().unwrap();
        assert_eq!(arguments[1], release["namespace"]);
    }
}

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

#[test]
fn the_pipelines_pass_on_what_is_committed_and_fail_on_what_is_not() {
    let github = yaml(&root().join("packages/ci/github/pull-request.yml"));
    let steps = github["jobs"]["nacre"]["steps"].as_array().unwrap();
    let mut scripts: Vec<String> = steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .filter(|script| script.contains("nacre "))
        .map(str::to_owned)
        .collect();
    assert_eq!(scripts.len(), 4);
    let gitlab = yaml(&root().join("packages/ci/gitlab/nacre.gitlab-ci.yml"));
    for job in ["nacre:lock", "nacre:check", "nacre:diff"] {
        let lines = gitlab[job]["script"].as_array().unwrap();
        let lines: Vec<&str> = lines.iter().map(|line| line.as_str().unwrap()).collect();
        scripts.push(lines.join("\n"));
    }
    let mut place = repository();
    place
        .set("GITHUB_BASE_REF", "main")
        .set("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main");
    for script in &scripts {
        run(&place, script);
    }
    assert!(place.read("nacre.sarif").contains("\"runs\""));

    place.edit("rendered.yaml", "nightly", "hourly");
    let failed = |script: &String| {
        let script = format!("set -euo pipefail\n{script}");
        place.run(Path::new("/bin/bash"), &["-c", &script], "").code != Some(0)
    };
    let failing = scripts.iter().filter(|script| failed(script)).count();
    assert_eq!(
        failing, 3,
        "generate --check, check, and GitLab's job with both"
    );
    assert!(
        place.read("diff.md").contains("hourly"),
        "{}",
        place.read("diff.md")
    );
}

#[test]
fn the_hooks_pass_on_what_is_committed_and_fail_on_what_is_not() {
    let hooks = yaml(&root().join(".pre-commit-hooks.yaml"));
    let place = repository();
    let mut failed = 0;
    for hook in hooks.as_array().unwrap() {
        assert_eq!(hook["language"], "system");
        // pre-commit gives the files that changed, whatever they are, unless it is told not to.
        assert_eq!(hook["pass_filenames"], false);
        let arguments = hook["args"].as_array().unwrap();
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| word.as_str().unwrap())
            .collect();
        let line = format!(
            "{} {}",
            hook["entry"].as_str().unwrap(),
            arguments.join(" ")
        );
        run(&place, &line);
        let edit = "sed -i 's/report:v1/report:v2/' resources/jobs.yaml
            sed -i 's/nightly/hourly/' rendered.yaml";
        run(&place, edit);
        failed +=
            usize::from(place.run(Path::new("/bin/bash"), &["-c", &line], "").code != Some(0));
        run(&place, "git checkout -q .");
    }
    assert_eq!(failed, 2);
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
