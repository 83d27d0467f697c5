//! Commands that read a cluster, against a real kube-apiserver.

use nacre_test_support::Cluster;
use serde_json::{Value, json};

use crate::common::{CONFIG, Done, LOCK, TestEnvironment};

/// A Deployment that is to be confidential, without a Coordinator.
const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      runtimeClassName: contrast-cc
      enableServiceLinks: false
      automountServiceAccountToken: false
      containers:
        - {name: web, image: 'IMAGE', env: [{name: A, value: b}]}
";

fn nacre(environment: &TestEnvironment, cluster: &Cluster, arguments: &[&str]) -> Done {
    let mut command = environment.nacre(arguments);
    command.env("KUBECONFIG", cluster.kubeconfig());
    command.output().unwrap().into()
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn doctor_tells_what_is_missing_until_nothing_is() {
    let cluster = Cluster::start();
    let environment = TestEnvironment::empty();
    cluster.namespace("shop");
    let doctor = [
        "doctor",
        "--platform=metal-qemu-snp",
        "-n",
        "shop",
        "--output=json",
    ];
    let first = nacre(&environment, &cluster, &doctor);
    assert_eq!(first.code, Some(1), "{}", first.shown());
    let said: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(said["facts"]["kubernetes"], "v1.34.4");
    assert_eq!(said["facts"]["coordinator"], "absent");
    for code in ["NCR1510", "NCR1515"] {
        assert!(first.stdout.contains(code), "{code}: {}", first.stdout);
    }

    // The runtime, and a node as its installer leaves it.
    let image = format!(
        "registry.example/kata-deploy:4.0.0@sha256:{}",
        "a".repeat(64)
    );
    let runtime = [
        "runtime",
        "--platform=metal-qemu-snp",
        "--installer-image",
        &image,
    ];
    let runtime = nacre(&environment, &cluster, &runtime).success().stdout;
    cluster.kubectl_with(&["apply", "--filename=-"], &runtime);
    installer_may(&cluster);
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "n1", "labels": { "katacontainers.io/kata-runtime": "true" } },
    });
    cluster.kubectl_with(&["apply", "--filename=-"], &node.to_string());
    let status = json!({ "status": {
        "conditions": [{ "type": "Ready", "status": "True" }],
        "nodeInfo": {
            "kubeletVersion": "v1.34.4", "containerRuntimeVersion": "containerd://2.1.4",
            "architecture": "amd64", "bootID": "", "kernelVersion": "", "kubeProxyVersion": "",
            "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": "",
        },
    } });
    cluster.patch_status(&["node", "n1"], &status);
    // A configuration that names no target fits what was installed.
    let second = nacre(&environment, &cluster, &doctor);
    assert_eq!(second.code, Some(0), "{}", second.shown());
    let older = [&doctor[..], &["--set", "policy-target=kata-3/1"]].concat();
    let third = nacre(&environment, &cluster, &older);
    assert!(
        third.stdout.contains("kata-4/1") && third.stdout.contains("NCR1512"),
        "{}",
        third.shown()
    );

    // What would change pods afterwards.
    cluster.kubectl_with(
        &["apply", "--filename=-"],
        "apiVersion: v1\nkind: LimitRange\nmetadata: {name: defaults, namespace: shop}\n\
         spec: {limits: [{type: Container, default: {cpu: '1'}}]}\n",
    );
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "injector" },
        "webhooks": [{
            "name": "injector.example.org", "sideEffects": "None", "failurePolicy": "Ignore",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "url": "https://127.0.0.1:1/" },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                "operations": ["CREATE"],
            }],
        }],
    });
    cluster.kubectl_with(&["apply", "--filename=-"], &webhook.to_string());
    cluster.kubectl(&[
        "label",
        "namespace",
        "shop",
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    let fourth = nacre(&environment, &cluster, &doctor);
    assert_eq!(fourth.code, Some(1), "{}", fourth.shown());
    for code in ["NCR1513", "NCR1514", "NCR1516"] {
        assert!(fourth.stdout.contains(code), "{code}: {}", fourth.stdout);
    }
}

/// What Kata's installer 4.0.0 asks of the API server, its account may.
fn installer_may(cluster: &Cluster) {
    let platform = nacre_platform::find("metal-qemu-snp").unwrap();
    let account = format!(
        "--as=system:serviceaccount:nacre-runtime:kata-deploy-metal-qemu-snp-{}",
        platform.data_hash()
    );
    for (verb, what) in [
        ("get", "nodes"),
        ("patch", "nodes"),
        ("list", "runtimeclasses.node.k8s.io"),
        ("patch", "runtimeclasses.node.k8s.io"),
        ("list", "customresourcedefinitions.apiextensions.k8s.io"),
        ("get", "daemonsets.apps"),
        ("list", "daemonsets.apps"),
    ] {
        let words = ["auth", "can-i", verb, what, &account, "--all-namespaces"];
        assert_eq!(cluster.kubectl(&words).trim(), "yes", "{verb} {what}");
    }
    for (verb, what, part) in [
        ("get", "secrets", ""),
        ("delete", "nodes", ""),
        ("get", "nodes", "proxy"),
    ] {
        let part = format!("--subresource={part}");
        let words = [
            "auth",
            "can-i",
            verb,
            what,
            &part,
            &account,
            "--all-namespaces",
        ];
        let answer = cluster.try_kubectl(&words, "");
        assert_eq!(answer.stdout.trim(), "no", "{verb} {what} {part}");
    }
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn a_cluster_that_is_not_there_or_not_for_us_is_said() {
    let cluster = Cluster::shared();
    let environment = TestEnvironment::empty();
    let mut command = environment.nacre(&["doctor"]);
    command.env("KUBECONFIG", cluster.kubeconfig_of("default", "stranger"));
    Done::from(command.output().unwrap()).refused(1, "NCR1502");
    let nowhere = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let nowhere = nowhere.replace(cluster.server(), "https://127.0.0.1:1");
    environment.write("nowhere", nowhere);
    environment
        .run(&["doctor", "--kubeconfig=nowhere"])
        .refused(1, "NCR1501");
    environment
        .run(&["doctor", "--kubeconfig=absent"])
        .refused(1, "NCR1501");
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn running_pods_are_compared_with_the_manifest() {
    let cluster = Cluster::shared();
    cluster.namespace("drift");
    let environment = TestEnvironment::empty();
    environment.write("nacre.yaml", CONFIG);
    environment.write("nacre.lock.yaml", LOCK);
    let image = LOCK
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- reference: "))
        .find(|image| !image.contains("nacre-dev"))
        .unwrap();
    environment.write(
        "web.yaml",
        WEB.replace("NAMESPACE", "drift").replace("IMAGE", image),
    );
    let unattested = ["--set", "allow-unattested-coordinator=true"];
    let generate = [&["generate", "web.yaml", "-n", "drift"][..], &unattested].concat();
    environment.run(&generate).success();
    let check = [
        &["check", "web.yaml", "--live", "-n", "drift"][..],
        &unattested,
    ]
    .concat();

    // A pod as the controllers would make it from the Deployment.
    let rendered = environment.read("web.yaml");
    let stream = nacre_krm::Stream::parse(&rendered).unwrap();
    let at = &stream.objects()[0];
    let deployment = stream.documents()[at.document].value(&at.base).unwrap();
    let template = &deployment["spec"]["template"];
    let class = template["spec"]["runtimeClassName"].as_str().unwrap();
    let class = json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass",
        "metadata": { "name": class }, "handler": "kata",
    });
    cluster.kubectl_with(&["apply", "--filename=-"], &class.to_string());
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"],
    });
    pod["metadata"]["name"] = "web-5d4f8-x2".into();
    pod["metadata"]["namespace"] = "drift".into();
    pod["metadata"]["labels"]["pod-template-hash"] = "5d4f8".into();
    pod["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8", "controller": true,
        "uid": "6f5f9a2e-0000-4000-8000-000000000000",
    }]);
    cluster.kubectl_with(&["create", "--filename=-"], &pod.to_string());
    let done = nacre(&environment, &cluster, &check);
    assert_eq!(done.code, Some(0), "{}", done.shown());
    assert!(done.stdout.contains("1 running pod"), "{}", done.shown());

    // Another one with a container that nobody rendered.
    pod["metadata"]["name"] = "web-5d4f8-x3".into();
    let containers = pod["spec"]["containers"].as_array_mut().unwrap();
    containers.push(json!({ "name": "injected", "image": "registry.example/proxy" }));
    cluster.kubectl_with(&["create", "--filename=-"], &pod.to_string());
    let done = nacre(&environment, &cluster, &check);
    assert_eq!(done.code, Some(1), "{}", done.shown());
    assert!(
        done.stderr.contains("NCR1520") && done.stderr.contains("injected was added"),
        "{}",
        done.shown()
    );
}
