//! What we deploy and what we render is accepted by a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nacre_test_support::Cluster;
use serde_json::{Value, json};

use crate::guide;
use crate::harness::{KUBECTL, Place, assert_is_file, given, objects, root};

/// A cluster does here what a person on the commands' other end would wait for.
const PATIENCE: Duration = Duration::from_secs(90);

const DRY_RUN: [&str; 4] = [
    "apply",
    "--dry-run=server",
    "--validate=strict",
    "--filename=-",
];

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
    let accepted = |name: &str, text: &str| {
        let done = cluster.try_kubectl(&DRY_RUN, text);
        assert!(done.succeeded, "{name}: {}", done.stderr);
        let accepted = done.stdout.lines().count();
        assert_eq!(accepted, objects(text).len(), "{name}: {}", done.stdout);
    };
    for file in &files {
        accepted(&file.display().to_string(), &applied(file));
    }
    // Where the installer is the user's, the files in `deploy/` are without one.
    let image = format!(
        "registry.example/kata-deploy:4.0.0@sha256:{}",
        "a".repeat(64)
    );
    for platform in ["metal-qemu-snp", "k3s-qemu-snp"] {
        let words = [
            "runtime",
            "--platform",
            platform,
            "--installer-image",
            &image,
        ];
        let text = Place::new().ours("nacre", &words, "").ok();
        assert!(text.contains("\nkind: DaemonSet\n") && text.contains(&image));
        accepted(platform, &text);
    }
    // And a mistake is not.
    let wrong = text(Path::new("deploy/coordinator.yml")).replace("replicas:", "replica:");
    let refused = cluster.try_kubectl(&DRY_RUN, &wrong);
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

/// The objects of the cluster that belong to a version of the runtime, by kind and name.
fn of_version(cluster: &Cluster, version: &str) -> BTreeMap<String, Value> {
    let kinds = "runtimeclasses,clusterroles,clusterrolebindings,serviceaccounts,daemonsets,roles,rolebindings,configmaps";
    let label = format!("nacre.dev/runtime={version}");
    let words = [
        "get",
        kinds,
        "--all-namespaces",
        "-l",
        &label,
        "--output=json",
    ];
    let list: Value = serde_json::from_str(&cluster.kubectl(&words)).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let name = format!(
                "{} {}",
                text(&item["kind"]),
                text(&item["metadata"]["name"])
            );
            (name, item.clone())
        })
        .collect()
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn one_version_of_the_runtime_is_removed_as_documented() {
    let cluster = Cluster::start();
    let ours = text(Path::new("deploy/runtime-kata-qemu-snp.yml"));
    let class = objects(&ours)
        .into_iter()
        .find(|object| object["kind"] == "RuntimeClass")
        .unwrap();
    let version = class["metadata"]["labels"]["nacre.dev/runtime"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = "kata-qemu-snp-00000000";
    assert_eq!(version.len(), other.len());
    for text in [&ours, &ours.replace(&version, other)] {
        cluster.kubectl_with(&["apply", "--filename=-"], text);
    }
    let (before, others) = (of_version(&cluster, &version), of_version(&cluster, other));
    let labelled = objects(&ours)
        .iter()
        .filter(|object| object["metadata"]["labels"]["nacre.dev/runtime"] == version.as_str())
        .count();
    assert_eq!((before.len(), others.len()), (labelled, labelled));
    // Everything but the namespace, which the versions share.
    assert_eq!(labelled + 1, objects(&ours).len());

    // The page's own commands, with the name filled in.
    let commands = guide::commands_with(&root().join("deploy/README.md"), "delete daemonsets");
    let (first, rest) = commands.split_once('\n').unwrap();
    assert!(first.starts_with("version=kata-qemu-snp-…"), "{first}");
    let mut place = Place::new();
    symlink(given(KUBECTL), place.bin().join("kubectl")).unwrap();
    place.set("KUBECONFIG", cluster.kubeconfig());
    let script = format!("set -euo pipefail\nversion={version}\n{rest}");
    let removal =
        std::thread::spawn(move || place.run(Path::new("/bin/bash"), &["-c", &script], ""));

    // Until its pods have ended, the installer keeps its account and what that may. What removes the pods and then the
    // DaemonSet are controllers, which are not here.
    let name = before
        .keys()
        .find_map(|name| name.strip_prefix("DaemonSet "))
        .unwrap();
    let set = ["daemonset", name, "--namespace=nacre-runtime"];
    let start = Instant::now();
    loop {
        let left = of_version(&cluster, &version);
        assert_eq!(
            left.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        let metadata = &left[&format!("DaemonSet {name}")]["metadata"];
        if !metadata["deletionTimestamp"].is_null() {
            assert_eq!(metadata["finalizers"], json!(["foregroundDeletion"]));
            break;
        }
        assert!(start.elapsed() < PATIENCE && !removal.is_finished());
        std::thread::sleep(Duration::from_millis(50));
    }
    let patch = [
        "patch",
        "--type=merge",
        "--patch={\"metadata\":{\"finalizers\":null}}",
    ];
    cluster.kubectl(&[&patch[..], &set[..]].concat());
    removal.join().unwrap().ok();
    assert_eq!(of_version(&cluster, &version), BTreeMap::new());
    assert_eq!(of_version(&cluster, other), others);
    cluster.kubectl(&["get", "namespace", "nacre-runtime"]);
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
