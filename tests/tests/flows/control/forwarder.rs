//! The port-forwarder pod: what the kube context offers where a cluster has no load balancers.

use std::fs;
use std::path::Path;
use std::process::Command;

use nacre_test_support::Kubelet;
use nacre_test_support::free_ports;
use serde_json::{Value, json};

use super::deployment::{Coordinator, Deployment};
use super::processes::Running;
use crate::harness::object;

const POD: &str = "coordinator-port-forwarder";

/// The pod's process, and the kubelet that forwards to it.
pub(crate) struct Forwarder {
    relay: Running,
    _kubelet: Kubelet,
}

impl Forwarder {
    /// The process in the pod ends.
    pub(crate) fn kill(&mut self) {
        self.relay.kill();
    }
}

impl Deployment {
    /// Puts a program where `nacre` finds kubectl.
    pub(crate) fn install_kubectl(&self, program: &Path) {
        let kubectl = self.place.bin().join("kubectl");
        let _ = fs::remove_file(&kubectl);
        std::os::unix::fs::symlink(program, kubectl).unwrap();
    }

    /// The Service's address goes: the cluster has no load balancers.
    pub(crate) fn take_load_balancer(&self) {
        let cluster = self.cluster.as_ref().unwrap();
        cluster.patch_status(
            &["service", "coordinator", "--namespace", self.namespace],
            &json!({ "status": { "loadBalancer": null } }),
        );
    }

    /// Applies the pod as the command prints it, and returns it.
    pub(crate) fn apply_forwarder(&mut self) -> Value {
        let words = [
            "coordinator-resources",
            "--unrendered",
            "--port-forwarder",
            "--namespace",
            self.namespace,
        ];
        let resources = self.nacre(&words).ok();
        let pod = object(&resources, "Pod", POD);
        let cluster = self.cluster.as_ref().unwrap();
        cluster.kubectl_with(&["apply", "--filename=-"], &pod.to_string());
        pod
    }

    /// Starts the pod's program with the pod's arguments, and the kubelet in front of it. The addresses are
    /// those of this machine.
    pub(crate) fn run_forwarder(&self, pod: &Value, coordinator: &Coordinator) -> Forwarder {
        let container = &pod["spec"]["containers"][0];
        let port = container["ports"][0]["containerPort"].as_u64().unwrap();
        let port = u16::try_from(port).unwrap();
        let [own] = free_ports();
        let address = format!("127.0.0.1:{own}");
        let within = format!("127.0.0.1:{port}");
        let arguments = container["args"].as_array().unwrap().iter();
        let arguments: Vec<_> = arguments
            .map(|word| match word.as_str().unwrap() {
                listen if listen == within => address.as_str(),
                "coordinator:1313" => coordinator.user.as_str(),
                other => other,
            })
            .collect();
        assert_eq!(arguments, ["relay", &address, &coordinator.user]);
        let mut command = Command::new(self.place.bin().join("nacre"));
        command.args(arguments).env_clear();
        let mut relay = Running::start(&mut command, "relay", &self.place.home("logs"));
        relay.until_it_listens(&address);
        let cluster = self.cluster.as_ref().unwrap();
        Forwarder {
            relay,
            _kubelet: cluster.run_pod(self.namespace, POD, port, &address),
        }
    }
}
