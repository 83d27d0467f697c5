//! The same with a real API server: what the commands print is applied, the history is in ConfigMaps that the
//! Coordinator's account may write, and the Coordinator is found in the kube context.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::Path;

use nacre_test_support::Cluster;
use serde_json::{Value, json};

use super::deployment::{Coordinator, Deployment, Options};
use super::processes::openssl;
use super::title;
use crate::guide;
use crate::harness::{Ended, KUBECTL, given, object, root};

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn from_apply_to_recovery_with_config_maps() {
    let cluster = Cluster::shared();
    title("a workspace in the kube context, the resources rendered and applied");
    let mut shop = Deployment::new(&Options {
        cluster: Some(cluster.clone()),
        ..Options::default()
    });
    shop.render();
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    shop.wait_until_refused(&mut pods);

    title("set, verify: nobody says where the Coordinator is");
    let set = shop.nacre(&["set", "--namespace", "shop", "resources/"]);
    let chosen = format!(
        "using {}, the load balancer of Service shop/coordinator",
        coordinator.user
    );
    assert!(set.stderr.contains(&chosen), "{}", set.stderr);
    set.ok();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "--namespace", "shop"]).ok();
    shop.check_certificates(&pods);
    // The certificate is made anew, for the same key.
    let root_path = shop.path("verify/coordinator-root-ca.pem");
    let root_path = root_path.to_str().unwrap();
    let root = || openssl(&["x509", "-noout", "-pubkey", "-in", root_path]);
    let before = root();
    let maps = || {
        let list = ["get", "configmaps", "--namespace=shop", "--output=name"];
        let maps =
            cluster.kubectl(&[&list[..], &["-l", "app.kubernetes.io/name=nacre-store"]].concat());
        maps.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = maps();
    assert!(
        first.contains(&"configmap/nacre-store-latest".to_owned()),
        "{first:?}"
    );

    title("the Coordinator is killed and recovers from the ConfigMaps");
    coordinator.kill();
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    shop.wait_until_refused(&mut pods);
    let pod = shop.run_coordinator_pod(&coordinator);
    if pod {
        let doctor = shop.nacre(&["doctor", "--namespace", "shop"]);
        let said = "coordinator-0 restarted and waits for recovery";
        assert!(
            doctor.stdout.contains("0 of 1 ready, 1 sealed") && doctor.stderr.contains(said),
            "{}{}",
            doctor.stdout,
            doctor.stderr
        );
    }
    let recover = shop.nacre(&["recover", "--namespace", "shop"]);
    assert!(recover.stderr.contains(&chosen), "{}", recover.stderr);
    recover.ok();
    if pod {
        let doctor = shop.nacre(&["doctor", "--namespace", "shop"]);
        assert!(!doctor.stdout.contains("sealed"), "{}", doctor.stdout);
    }
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "--namespace", "shop"]).ok();
    assert_eq!(before, root());
    assert_eq!(first, maps(), "recovery writes nothing");

    title("an update, and the load balancer loses its address");
    shop.change_title("The shell shop, now with pearls");
    shop.render();
    shop.nacre(&["set", "--namespace", "shop", "resources/"])
        .ok();
    assert!(maps().len() > first.len(), "{:?}", maps());
    shop.take_load_balancer();
    let verify = ["verify", "--namespace", "shop"];
    let not_found = |shop: &mut Deployment, code: &str, said: &str| {
        let lost = shop.nacre(&verify);
        assert_eq!(lost.code, Some(2), "{}", lost.stderr);
        for words in [code, said] {
            assert!(lost.stderr.contains(words), "{words}: {}", lost.stderr);
        }
    };
    not_found(&mut shop, "NCR1503", "no load balancer address");

    title("kubectl forwards through an ordinary pod");
    let pod = shop.apply_forwarder();
    not_found(&mut shop, "NCR1503", "does not run");
    let mut forwarder = shop.run_forwarder(&pod, &coordinator);
    shop.install_kubectl(Path::new("/bin/false"));
    not_found(&mut shop, "NCR1504", "kubectl port-forward");
    shop.install_kubectl(&given(KUBECTL));
    let verified = shop.nacre(&verify);
    assert!(
        verified.stderr.contains("using 127.0.0.1:")
            && verified
                .stderr
                .contains("forwarded to pod shop/coordinator-port-forwarder"),
        "{}",
        verified.stderr
    );
    verified.ok();
    shop.change_title("The shell shop, by another way");
    shop.render();
    shop.take_load_balancer();
    shop.nacre(&["set", "--namespace", "shop", "resources/"])
        .ok();

    title("the pod's program is gone");
    forwarder.kill();
    let dead = shop.nacre(&verify);
    assert_ne!(dead.code, Some(0), "{}", dead.stderr);
    assert!(dead.stderr.contains("NCR"), "{}", dead.stderr);
}

/// Everything of an installation is in its namespace: another one in the same cluster neither sees it nor is touched by
/// its updates and its end, which is as the page about the cluster says.
#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn two_installations_in_one_cluster_do_not_collide() {
    const NAMES: [&str; 2] = ["shop-east", "shop-west"];
    let cluster = Cluster::shared();
    let mut shops: Vec<(Deployment, Coordinator)> = Vec::new();
    for namespace in NAMES {
        title(&format!("an installation in the namespace {namespace}"));
        let mut shop = Deployment::new(&Options {
            cluster: Some(cluster.clone()),
            namespace,
            ..Options::default()
        });
        shop.render();
        let coordinator = shop.start_coordinator(0);
        let set = shop.nacre(&["set", "--namespace", namespace, "resources/"]);
        let chosen = format!(
            "using {}, the load balancer of Service {namespace}/coordinator",
            coordinator.user
        );
        assert!(set.stderr.contains(&chosen), "{}", set.stderr);
        set.ok();
        shops.push((shop, coordinator));
    }
    let [(east, _), (west, _)] = &mut shops[..] else {
        panic!("two were made");
    };
    // Each has a history of its own, and an account that reaches no other.
    let kept = NAMES.map(|namespace| objects_of(&cluster, namespace));
    for objects in &kept {
        assert!(
            objects.contains_key("ConfigMap nacre-store-latest"),
            "{objects:?}"
        );
    }
    assert_ne!(
        kept[0]["ConfigMap nacre-store-latest"],
        kept[1]["ConfigMap nacre-store-latest"]
    );
    for (own, other) in [(NAMES[0], NAMES[1]), (NAMES[1], NAMES[0])] {
        let account = format!("--as=system:serviceaccount:{own}:coordinator");
        for (verb, namespace, may) in [
            ("get", own, "yes"),
            ("update", own, "yes"),
            ("delete", own, "no"),
            ("get", other, "no"),
            ("update", other, "no"),
            ("create", other, "no"),
        ] {
            let words = ["auth", "can-i", verb, "configmaps", &account, "--namespace"];
            let answer = cluster.try_kubectl(&[&words[..], &[namespace]].concat(), "");
            assert_eq!(answer.stdout.trim(), may, "{account} {verb} {namespace}");
        }
    }

    title("an update in the one changes nothing in the other");
    east.change_title("The shell shop of the east");
    east.render();
    east.nacre(&["set", "--namespace", NAMES[0], "resources/"])
        .ok();
    assert_ne!(objects_of(&cluster, NAMES[0]), kept[0]);
    assert_eq!(objects_of(&cluster, NAMES[1]), kept[1]);
    // Who names the other namespace reaches the other deployment, which is not the one that was seen.
    let crossed = east.nacre(&["verify", "--namespace", NAMES[1]]);
    assert_eq!(
        crossed.code,
        Some(3),
        "{}{}",
        crossed.stdout,
        crossed.stderr
    );

    title("the one is removed, as documented");
    let file = east.path("base/coordinator.yaml");
    std::fs::copy(file, east.path("coordinator.yml")).unwrap();
    let page = root().join("deploy/README.md");
    let commands = guide::commands_with(&page, "delete -f coordinator.yml");
    assert_eq!(
        commands.matches("namespace=shop\n").count(),
        1,
        "{commands}"
    );
    let commands = commands.replace("namespace=shop\n", &format!("namespace={}\n", NAMES[0]));
    east.install_kubectl(&given(KUBECTL));
    east.shell(&commands).ok();
    let left = objects_of(&cluster, NAMES[0]);
    assert!(
        left.keys().all(|name| !name.contains("oordinator")),
        "{left:?}"
    );
    assert!(
        left.keys().all(|name| !name.contains("nacre-store")),
        "{left:?}"
    );
    assert_eq!(objects_of(&cluster, NAMES[1]), kept[1]);

    title("the other goes on");
    west.nacre(&["verify", "--namespace", NAMES[1]]).ok();
    west.change_title("The shell shop of the west");
    west.render();
    west.nacre(&["set", "--namespace", NAMES[1], "resources/"])
        .ok();
}

impl Deployment {
    /// Commands of a page, in the workspace.
    fn shell(&self, commands: &str) -> Ended {
        for line in commands.lines() {
            println!("$ {line}");
        }
        let script = format!("set -euo pipefail\n{commands}");
        self.place.run(Path::new("/bin/bash"), &["-c", &script], "")
    }

    /// The pod of Coordinator 0 as a controller makes it and a kubelet reports it, with the port at which this one says how
    /// it is. An API server asks no pod at a loopback address: without another one there is no pod, and the answer is false.
    fn run_coordinator_pod(&self, coordinator: &Coordinator) -> bool {
        // Nothing is sent: this only asks for the way.
        let way = UdpSocket::bind("0.0.0.0:0").unwrap();
        let found = way
            .connect("198.51.100.1:9")
            .and_then(|()| way.local_addr());
        let Some(ip) = found
            .ok()
            .map(|found| found.ip())
            .filter(|ip| !ip.is_loopback())
        else {
            println!("this machine has loopback addresses only: no pod to ask");
            return false;
        };
        let cluster = self.cluster.as_ref().unwrap();
        let set = object(&self.resources(), "StatefulSet", "coordinator");
        let template = &set["spec"]["template"];
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"],
        });
        pod["metadata"]["name"] = "coordinator-0".into();
        pod["metadata"]["namespace"] = self.namespace.into();
        let ports = pod["spec"]["containers"][0]["ports"].as_array_mut();
        let health = ports
            .unwrap()
            .iter_mut()
            .find(|port| port["name"] == "health");
        health.unwrap()["containerPort"] = coordinator.health.port().into();
        let class = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "kata",
            "metadata": { "name": pod["spec"]["runtimeClassName"] },
        });
        for made in [class, pod] {
            cluster.kubectl_with(&["create", "--filename=-"], &made.to_string());
        }
        let address = json!({ "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
        } });
        let namespace = format!("--namespace={}", self.namespace);
        cluster.patch_status(&["pod", "coordinator-0", &namespace], &address);
        true
    }
}

/// The objects of a namespace that one of our files or programs may have made: their kind and name, and their content with
/// its version.
fn objects_of(cluster: &Cluster, namespace: &str) -> BTreeMap<String, Value> {
    let kinds = "configmaps,deployments,poddisruptionbudgets,pods,rolebindings,roles,serviceaccounts,services,statefulsets";
    let namespace = format!("--namespace={namespace}");
    let text = cluster.kubectl(&["get", kinds, &namespace, "--output=json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
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
