//! What we deploy and what we render is accepted by a real API server.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nacre_test_support::Cluster;
use serde_json::Value;

use crate::harness::{assert_is_file, objects, root};

/// Every file in `deploy/` and every rendered example, by its path in the work tree.
fn deployed() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join("deploy"), root().join("examples")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_ours = path.starts_with(root().join("deploy")) && name.ends_with(".yml");
            if path.is_dir() {
                open.push(path);
            } else if is_ours || (name.starts_with("rendered") && name.ends_with(".yaml")) {
                found.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    assert!(found.len() >= 12, "{found:?}");
    found
}

fn text(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// What is applied of a file: `kpt live apply` leaves out what is only for those who render.
fn applied(file: &Path) -> String {
    let text = text(file);
    let is_local = |object: &Value| {
        let annotations = &object["metadata"]["annotations"];
        annotations["config.kubernetes.io/local-config"] == "true"
    };
    let all = objects(&text);
    if !all.iter().any(is_local) {
        return text;
    }
    let applied = all.iter().filter(|object| !is_local(object));
    let applied: Vec<String> = applied.map(Value::to_string).collect();
    applied.join("\n---\n")
}

fn namespaces(text: &str) -> BTreeSet<String> {
    let namespace = |object: &Value| Some(object["metadata"]["namespace"].as_str()?.to_owned());
    objects(text).iter().filter_map(namespace).collect()
}

fn make_namespaces(cluster: &Cluster, files: &[PathBuf]) -> BTreeSet<String> {
    let all: BTreeSet<String> = files
        .iter()
        .flat_map(|file| namespaces(&text(file)))
        .collect();
    for name in all.iter().filter(|name| *name != "default") {
        cluster.namespace(name);
    }
    all
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn everything_is_accepted_by_an_api_server() {
    let cluster = Cluster::start();
    let files = deployed();
    make_namespaces(&cluster, &files);
    for file in &files {
        let text = applied(file);
        let arguments = [
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--filename=-",
        ];
        let done = cluster.try_kubectl(&arguments, &text);
        assert!(done.succeeded, "{}: {}", file.display(), done.stderr);
        let accepted = done.stdout.lines().count();
        assert_eq!(
            accepted,
            objects(&text).len(),
            "{}: {}",
            file.display(),
            done.stdout
        );
    }
    // And a mistake is not.
    let wrong = text(Path::new("deploy/coordinator.yml")).replace("replicas:", "replica:");
    let arguments = [
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "--filename=-",
    ];
    let refused = cluster.try_kubectl(&arguments, &wrong);
    assert!(
        !refused.succeeded && refused.stderr.contains("replica"),
        "{}",
        refused.stderr
    );
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn the_listed_levels_of_pod_security_are_what_the_api_server_says() {
    let cluster = Cluster::start();
    let files = deployed();
    let namespaces = make_namespaces(&cluster, &files);
    let mut rows = BTreeSet::new();
    let mut found: Vec<(PathBuf, Value, &str, String)> = Vec::new();
    for file in &files {
        for object in objects(&text(file)) {
            let has_pods = object["kind"] == "Pod"
                || !object["spec"]["template"].is_null()
                || !object["spec"]["jobTemplate"].is_null();
            if has_pods {
                found.push((file.clone(), object, "restricted", String::new()));
            }
        }
    }
    // The highest level that lets the pods in; what the next higher one says against them.
    for (level, lower) in [("restricted", "baseline"), ("baseline", "privileged")] {
        for name in &namespaces {
            let label = format!("pod-security.kubernetes.io/warn={level}");
            cluster.kubectl(&["label", "--overwrite", "namespace", name, &label]);
        }
        for (_, object, needed, why) in found.iter_mut().filter(|row| row.2 == level) {
            let arguments = ["apply", "--dry-run=server", "--filename=-"];
            let done = cluster.try_kubectl(&arguments, &object.to_string());
            assert!(done.succeeded, "{}", done.stderr);
            let warning = done
                .stderr
                .lines()
                .find(|line| line.contains("violate PodSecurity"));
            if let Some(warning) = warning {
                *needed = lower;
                *why = reasons(warning);
            }
        }
    }
    for (file, object, level, why) in &found {
        let name = format!(
            "{} {}",
            object["kind"].as_str().unwrap(),
            object["metadata"]["name"].as_str().unwrap()
        );
        rows.insert(format!(
            "| {} | {name} | {level} | {why} |\n",
            file.display()
        ));
    }
    let mut page = String::from(
        "# Pod Security\n\n\
         The highest level of [Pod Security](https://kubernetes.io/docs/concepts/security/pod-security-standards/)\n\
         at which the API server admits the pods, and what the next higher level says against them. Written by\n\
         the tests from what kube-apiserver 1.34 answers.\n\n\
         A namespace with a mesh needs `pod-security.kubernetes.io/enforce: privileged`, because the mesh\n\
         sidecar sets up the interception with `NET_ADMIN`; without a mesh `baseline` is enough. The capability\n\
         is one inside the guest, whose network is the pod's own.\n\n\
         | File | Workload | Level | Why not higher |\n| --- | --- | --- | --- |\n",
    );
    for row in rows {
        write!(page, "{row}").unwrap();
    }
    assert_is_file(&root().join("deploy/pod-security.md"), &page);
}

/// The short names of what is wrong, without the containers.
fn reasons(warning: &str) -> String {
    let (_, list) = warning.split_once("\": ").unwrap_or(("", warning));
    let names: BTreeSet<String> = list
        .split("), ")
        .map(|part| part.split(" (").next().unwrap_or(part).trim().to_owned())
        .collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
