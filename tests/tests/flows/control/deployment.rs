//! A workspace of the shop, its Coordinators and its pods.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use nacre_test_support::Cluster;
use nacre_test_support::free_ports;
use serde_json::{Value, json};

use super::PATIENCE;
use super::processes::{Running, openssl};
use super::service::{Backend, Service, is_ready};
use crate::harness::{Ended, KUSTOMIZE, Place, given, object};

pub(crate) const COORDINATOR: &str = "StatefulSet/coordinator";

/// How the shop is deployed.
pub(crate) struct Options {
    pub(crate) coordinators: u16,
    /// Where resources are applied and the history is kept; a folder and no cluster without it.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) namespace: &'static str,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            coordinators: 1,
            cluster: None,
            namespace: "shop",
        }
    }
}

/// The workspace, and what runs.
pub(crate) struct Deployment {
    pub(super) place: Place,
    ports: Vec<[u16; 4]>,
    service: Service,
    pods: usize,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) namespace: &'static str,
}

/// A Coordinator process.
pub(crate) struct Coordinator {
    process: Running,
    /// User port, for `-c`.
    pub(crate) user: String,
    pub(super) health: SocketAddr,
}

impl Coordinator {
    /// SIGKILL: what it held in memory is gone.
    pub(crate) fn kill(mut self) {
        println!("$ kill -9 coordinator");
        self.process.kill();
    }
}

/// An initializer process, and the volume it fills.
pub(crate) struct Pod {
    /// Kind and name of the object.
    pub(crate) name: String,
    pub(crate) volume: PathBuf,
    process: Running,
}

/// A program of the simulation.
pub(super) fn simulation(name: &str) -> PathBuf {
    given("NACRE_TEST_SIMULATION").join(name)
}

impl Deployment {
    pub(crate) fn new(options: &Options) -> Deployment {
        let mut place = Place::with_example("shop/kustomize");
        let pki = place.home("simulated-root");
        let platform = simulation("nacre-sim-platform");
        place
            .run(&platform, &["create", pki.to_str().unwrap()], "")
            .ok();
        let values = place
            .run(&platform, &["values", pki.to_str().unwrap()], "")
            .ok();
        place.set("NACRE_SIM_PKI", &pki);
        let mut deployment = Deployment {
            place,
            ports: (0..options.coordinators).map(|_| free_ports()).collect(),
            service: Service::start(),
            pods: 0,
            cluster: options.cluster.clone(),
            namespace: options.namespace,
        };
        deployment
            .nacre(&[
                "init",
                "--platform",
                "metal-qemu-snp",
                "--namespace",
                options.namespace,
            ])
            .ok();
        fs::copy(
            deployment.path("confidential/nacre.lock.yaml"),
            deployment.path("nacre.lock.yaml"),
        )
        .unwrap();
        deployment.configure(&format!("referenceValues: {}", values.trim()));
        if options.coordinators > 1 {
            deployment.configure(&format!("coordinatorReplicas: {}", options.coordinators));
            deployment.configure("peerRecovery: true");
            deployment.configure("allowAnyChip: true");
        }
        deployment.enter_cluster();
        deployment
    }

    /// The namespace is made, the Coordinator's resources are those of the command, and the kube context
    /// of `nacre` is the cluster.
    fn enter_cluster(&mut self) {
        let Some(cluster) = self.cluster.clone() else {
            return;
        };
        cluster.namespace(self.namespace);
        self.place.set("KUBECONFIG", cluster.kubeconfig());
        let resources = [
            "coordinator-resources",
            "--unrendered",
            "--namespace",
            self.namespace,
        ];
        let resources = [&resources[..], &["-o", "base/coordinator.yaml"]].concat();
        self.nacre(&resources).ok();
    }

    /// `kubectl apply` of what was rendered. The load balancer is this machine: the Service gets the port
    /// and the address at which the Coordinator will listen.
    fn apply(&self) {
        let Some(cluster) = &self.cluster else { return };
        println!("$ kubectl apply -f resources/");
        let port = format!("port: {}\n", self.ports[0][0]);
        let resources = self.resources();
        assert_eq!(resources.matches("port: 1313\n").count(), 1, "{resources}");
        let resources = resources.replace("port: 1313\n", &port);
        let apply = ["apply", "--namespace", self.namespace, "--filename=-"];
        for line in cluster.kubectl_with(&apply, &resources).lines() {
            println!("  {line}");
        }
        let status =
            json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "127.0.0.1" }] } } });
        cluster.patch_status(
            &["service", "coordinator", "--namespace", self.namespace],
            &status,
        );
    }

    /// A path in the workspace.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    /// Adds a line to the configuration's spec.
    pub(crate) fn configure(&self, line: &str) {
        let text = self.place.read("nacre.yaml");
        assert!(text.contains("\nspec:\n"), "{text}");
        let text = text.replacen("\nspec:\n", &format!("\nspec:\n  {line}\n"), 1);
        self.place.write("nacre.yaml", &text);
    }

    /// The `nacre` command, shown with what it prints.
    pub(crate) fn nacre(&mut self, arguments: &[&str]) -> Ended {
        let shown: Vec<_> = arguments.iter().map(|word| short(word)).collect();
        println!("$ nacre {}", shown.join(" "));
        let ended = self.place.run(&simulation("nacre-sim"), arguments, "");
        for line in ended.stdout.lines().chain(ended.stderr.lines()) {
            if !line.contains("NACRE SIMULATION") {
                println!("  {line}");
            }
        }
        if ended.code != Some(0) {
            println!("  exit code {}", ended.code.unwrap_or(-1));
        }
        ended
    }

    /// kustomize, then `nacre generate`, as on the guide's page; the manifest names the simulated root.
    pub(crate) fn render(&mut self) {
        println!("$ kustomize build base > resources/all.yml");
        let rendered = self.place.tool(KUSTOMIZE, &["build", "base"]).ok();
        self.place.write("resources/all.yml", &rendered);
        self.nacre(&[
            "generate",
            "--reference-values",
            "metal-qemu-snp",
            "resources/",
        ])
        .ok();
        let pki = self.place.home("simulated-root");
        let manifest = self.path("manifest.json");
        let arguments = ["name", pki.to_str().unwrap(), manifest.to_str().unwrap()];
        self.place
            .run(&simulation("nacre-sim-platform"), &arguments, "")
            .ok();
        self.apply();
    }

    /// Changes what a customer sees, and with it the policy of `web`.
    pub(crate) fn change_title(&self, title: &str) {
        self.place.edit(
            "base/kustomization.yaml",
            "title=The shell shop",
            &format!("title={title}"),
        );
    }

    /// The private key of somebody who is no owner.
    pub(crate) fn stranger(&self) -> String {
        let path = self.place.home("stranger.pem");
        let text = path.to_str().unwrap();
        openssl(&[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-384",
            "-out",
            text,
        ]);
        text.to_owned()
    }

    /// Starts Coordinator `number` with what its pod says, and its place in the service.
    pub(crate) fn start_coordinator(&mut self, number: usize) -> Coordinator {
        let [user, mesh, http, health] = self.ports[number];
        let local = |port: u16| format!("127.0.0.1:{port}");
        let peers: Vec<_> = self.ports.iter().map(|ports| local(ports[1])).collect();
        let spec = pod_spec(&self.resources(), "StatefulSet", "coordinator");
        let mut command = self.command("nacre-sim-coordinator", COORDINATOR);
        command.envs(environment(&spec["containers"][0]));
        if self.cluster.is_none() {
            let history = self.place.home("history");
            command.env("NACRE_HISTORY", format!("directory:{}", history.display()));
        }
        command
            .env("NACRE_NAMESPACE", self.namespace)
            .env("NACRE_USER_ADDRESS", local(user))
            .env("NACRE_MESH_ADDRESS", local(mesh))
            .env("NACRE_HTTP_ADDRESS", local(http))
            .env("NACRE_HEALTH_ADDRESS", self.health_address(health));
        if peers.len() > 1 {
            command.env("NACRE_PEERS", peers.join(","));
        }
        println!("$ nacre-coordinator & # {number}");
        let name = format!("coordinator-{number}");
        let mut coordinator = Coordinator {
            process: Running::start(&mut command, &name, &self.place.home("logs")),
            user: local(user),
            health: local(health).parse().unwrap(),
        };
        self.service.add(Backend {
            address: local(mesh).parse().unwrap(),
            health: coordinator.health,
        });
        coordinator.process.until_it_listens(&coordinator.user);
        coordinator
    }

    /// Where health is told: an API server reaches a pod at every address but this machine's own.
    fn health_address(&self, port: u16) -> String {
        let host = match self.cluster {
            Some(_) => "0.0.0.0",
            None => "127.0.0.1",
        };
        format!("{host}:{port}")
    }

    /// Waits until each says that it has the manifest in force.
    pub(crate) fn wait_until_ready(&self, coordinators: &[Coordinator]) {
        let start = Instant::now();
        for coordinator in coordinators {
            while !is_ready(coordinator.health) {
                assert!(start.elapsed() < PATIENCE, "{}", coordinator.process.log());
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }

    /// One initializer for each workload of the manifest, with new volumes.
    pub(crate) fn start_pods(&mut self) -> Vec<Pod> {
        let resources = self.resources();
        let workloads: Vec<_> = self.policies().into_keys().collect();
        workloads
            .into_iter()
            .filter(|name| name != COORDINATOR)
            .map(|name| self.start_pod(&resources, &name))
            .collect()
    }

    fn start_pod(&mut self, resources: &str, name: &str) -> Pod {
        let (kind, object) = name.split_once('/').unwrap();
        self.pods += 1;
        let volume = self.place.home(&format!("volumes/{}-{object}", self.pods));
        let spec = pod_spec(resources, kind, object);
        let initializer = &spec["initContainers"][0];
        assert_eq!(initializer["name"], "contrast-initializer");
        let mut command = self.command("nacre-sim-initializer", name);
        command
            .envs(environment(initializer))
            // What a Service's name resolves to.
            .env("COORDINATOR_HOST", self.service.address.to_string())
            .env("NACRE_TLS_DIR", &volume)
            .env("NACRE_GATE", simulation("nacre-gate"));
        Pod {
            name: name.to_owned(),
            volume,
            process: Running::start(&mut command, object, &self.place.home("logs")),
        }
    }

    /// A program with the simulated guest of a workload around it.
    fn command(&self, program: &str, workload: &str) -> Command {
        let program = simulation(program);
        let mut command = match &self.cluster {
            // The account is the Coordinator's; no other pod has one.
            Some(cluster) if workload == COORDINATOR => {
                cluster.in_pod(&program, self.namespace, "coordinator")
            }
            _ => {
                let mut command = Command::new(program);
                command.env_clear();
                command
            }
        };
        command
            .env("NACRE_SIM_PKI", self.place.home("simulated-root"))
            .env("NACRE_SIM_HOST_DATA", &self.policies()[workload]);
        command
    }

    /// Every pod has said why it has no certificate.
    pub(crate) fn wait_until_refused(&self, pods: &mut [Pod]) {
        let start = Instant::now();
        for pod in pods {
            while !pod.process.log().contains("no certificate yet") {
                let log = pod.process.log();
                assert!(pod.process.is_running(), "{}: {log}", pod.name);
                assert!(start.elapsed() < PATIENCE, "{}: {log}", pod.name);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            assert!(!pod.volume.join("certChain.pem").exists(), "{}", pod.name);
            println!("{:<22} waits", pod.name);
        }
    }

    /// Every initializer has ended well.
    pub(crate) fn wait_for(&self, pods: &mut [Pod]) {
        let start = Instant::now();
        for pod in pods {
            loop {
                let ended = pod.process.ended();
                let log = || format!("{}:\n{}", pod.name, pod.process.log());
                match ended {
                    Some(true) => break,
                    Some(false) => panic!("{}", log()),
                    None => assert!(start.elapsed() < PATIENCE, "{}\n{}", log(), self.logs()),
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }

    /// Names, issuer and key of every certificate.
    pub(crate) fn check_certificates(&self, pods: &[Pod]) {
        for pod in pods {
            let file = |name: &str| pod.volume.join(name).to_str().unwrap().to_owned();
            let (chain, anchor) = (file("certChain.pem"), self.path("verify/mesh-ca.pem"));
            let anchor = anchor.to_str().unwrap();
            openssl(&["verify", "-x509_strict", "-CAfile", anchor, &chain]);
            let root = file("coordinator-root-ca.pem");
            openssl(&["verify", "-CAfile", &root, "-untrusted", &chain, &chain]);
            let text = openssl(&["x509", "-noout", "-text", "-in", &chain]);
            let hash = &self.policies()[&pod.name];
            assert!(text.contains(&format!("serialNumber = {hash}")), "{text}");
            let uri = format!(
                "URI:spiffe://nacre.local/ns/{}/{}",
                self.namespace, pod.name
            );
            assert!(text.contains(&uri), "{uri} is not in {text}");
            let of_key = openssl(&["pkey", "-pubout", "-in", &file("key.pem")]);
            assert_eq!(
                of_key,
                openssl(&["x509", "-noout", "-pubkey", "-in", &chain])
            );
        }
    }

    /// A TLS server with a pod's files, and `openssl s_client` as on the guide's page.
    pub(crate) fn connect_to(&self, pods: &[Pod], name: &str) {
        let pod = pods.iter().find(|pod| pod.name == name).unwrap();
        let [port] = free_ports();
        let program = std::env::var_os("NACRE_TEST_OPENSSL").unwrap_or_else(|| "openssl".into());
        let mut command = Command::new(program);
        command
            .current_dir(&pod.volume)
            .args(["s_server", "-quiet", "-accept", &port.to_string()]);
        command.args([
            "-cert",
            "certChain.pem",
            "-cert_chain",
            "certChain.pem",
            "-key",
            "key.pem",
        ]);
        let mut server = Running::start(&mut command, "s_server", &self.place.home("logs"));
        let address = format!("127.0.0.1:{port}");
        server.until_it_listens(&address);
        let anchor = self.path("verify/mesh-ca.pem");
        println!(
            "$ openssl s_client -CAfile verify/mesh-ca.pem -verify_return_error -connect {address}"
        );
        let anchor = anchor.to_str().unwrap();
        let text = openssl(&[
            "s_client",
            "-CAfile",
            anchor,
            "-verify_return_error",
            "-connect",
            &address,
        ]);
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
        println!("  Verify return code: 0 (ok)");
    }

    /// Public key of the mesh CA that was verified last.
    pub(crate) fn mesh_key(&self) -> String {
        let path = self.path("verify/mesh-ca.pem");
        openssl(&["x509", "-noout", "-pubkey", "-in", path.to_str().unwrap()])
    }

    /// The command line of a workload's app.
    pub(crate) fn app_argv(&self, kind: &str, name: &str) -> Vec<String> {
        let spec = pod_spec(&self.resources(), kind, name);
        let words = spec["containers"][0]["command"].as_array().unwrap();
        words
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    }

    /// Keys, seeds and secrets are in no log.
    pub(crate) fn assert_no_secret_in_logs(&self) {
        let logs = self.logs();
        assert!(logs.len() > 1000, "the logs are nearly empty");
        for marker in ["PRIVATE KEY", "BEGIN RSA"] {
            assert!(!logs.contains(marker), "{marker}");
        }
        for entry in walk(&self.place.home("volumes")) {
            if entry.ends_with("key.pem") {
                let text = fs::read_to_string(&entry).unwrap();
                for line in text.lines().filter(|line| !line.starts_with("-----")) {
                    assert!(!logs.contains(line), "{} is in a log", entry.display());
                }
            }
        }
    }

    fn logs(&self) -> String {
        let files = walk(&self.place.home("logs"));
        let text = |path: &PathBuf| {
            format!(
                "-- {}\n{}",
                path.display(),
                fs::read_to_string(path).unwrap()
            )
        };
        files.iter().map(text).collect()
    }

    /// A path of the user's, outside of the workspace.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.place.home(name)
    }

    /// What was rendered.
    pub(crate) fn resources(&self) -> String {
        self.place.read("resources/all.yml")
    }

    /// Kind and name → policy hash, from the manifest.
    pub(crate) fn policies(&self) -> BTreeMap<String, String> {
        let manifest: Value = serde_json::from_str(&self.place.read("manifest.json")).unwrap();
        let policies = manifest["Policies"].as_object().unwrap();
        let name = |entry: &Value| {
            let part = |field: &str| entry["Identity"][field].as_str().unwrap().to_owned();
            format!("{}/{}", part("Kind"), part("Name"))
        };
        policies
            .iter()
            .map(|(hash, entry)| (name(entry), hash.clone()))
            .collect()
    }
}

pub(crate) fn pod_spec(resources: &str, kind: &str, name: &str) -> Value {
    object(resources, kind, name)["spec"]["template"]["spec"].clone()
}

/// The variables of a container as the kubelet gives them.
pub(crate) fn environment(container: &Value) -> BTreeMap<String, String> {
    let list = container["env"].as_array().into_iter().flatten();
    list.map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        (text("name"), text("value").replace("$$", "$"))
    })
    .collect()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// Paths outside of the workspace would tell a reader nothing.
fn short(word: &str) -> String {
    match word.rsplit_once('/') {
        Some((folder, name)) if folder.starts_with('/') => name.to_owned(),
        _ => word.to_owned(),
    }
}
