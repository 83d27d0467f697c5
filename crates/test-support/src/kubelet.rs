//! A node with one running pod, for `kubectl port-forward`.

use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, spawn, tool};
use crate::free_ports;

/// How long the program may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a kubelet does for port forwards: Kubernetes' own streaming server, for one pod. It ends when the
/// value is dropped.
pub struct Kubelet(Child);

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Cluster {
    /// Lets a pod that was applied run, as the scheduler and a kubelet do: it is bound to a node of its own,
    /// its status is `Running`, and what is forwarded to its `port` arrives at `address`, where the test has
    /// started the pod's program.
    pub fn run_pod(&self, namespace: &str, pod: &str, port: u16, address: &str) -> Kubelet {
        let [own] = free_ports();
        let mut program = Command::new(tool("NACRE_TEST_KUBELET"));
        program.arg(format!("127.0.0.1:{own}"));
        program.arg(format!("{namespace}/{pod}"));
        program.args([&port.to_string(), address]);
        let mut kubelet = Kubelet(spawn(program, &self.log()));
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", own)).is_err() {
            assert_eq!(kubelet.0.try_wait().unwrap(), None, "the kubelet ended");
            assert!(start.elapsed() < PATIENCE, "the kubelet does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }

        let node = format!("{namespace}-{pod}");
        let make = |path: &str, object: &Value| {
            self.kubectl_with(
                &["create", "--raw", path, "--filename=-"],
                &object.to_string(),
            )
        };
        make(
            "/api/v1/nodes",
            &json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": node } }),
        );
        let status = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": own } },
        } });
        self.patch_status(&["node", &node], &status);
        make(
            &format!("/api/v1/namespaces/{namespace}/pods/{pod}/binding"),
            &json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod },
                "target": { "apiVersion": "v1", "kind": "Node", "name": node },
            }),
        );
        let namespace = format!("--namespace={namespace}");
        self.patch_status(
            &["pod", pod, &namespace],
            &json!({ "status": { "phase": "Running" } }),
        );
        kubelet
    }

    /// Merges into the status of an object, as a controller does.
    pub fn patch_status(&self, object: &[&str], patch: &Value) {
        let patch = patch.to_string();
        let how = ["--subresource=status", "--type=merge", "--patch", &patch];
        self.kubectl(&[&["patch"], object, &how].concat());
    }
}
