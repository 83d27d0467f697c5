//! A Coordinator in a process of its own: this program once more, told so by its environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use kube::config::{KubeConfigOptions, Kubeconfig};
use nacre_coordinator::Addresses;
use nacre_history::GenesisAuthority;
use nacre_store::{ConfigMaps, Directory, Store};
use nacre_test_support::Cluster;

use crate::support::{COORDINATOR, Deployment, PLATFORM, Running, guest, measured};

/// Who may set the first manifest; set = this process is the Coordinator.
const ENV_OWNERS: &str = "NACRE_BENCH_OWNERS";
/// Folder of the history; unset = ConfigMaps of the pod's namespace.
const ENV_HISTORY: &str = "NACRE_BENCH_HISTORY";

/// Where the history is.
#[derive(Clone, Copy)]
pub(crate) enum History<'a> {
    /// In the folder of the deployment.
    Directory,
    /// In a namespace of this cluster, under the deployed account.
    ConfigMaps(&'a Cluster, &'a str),
}

pub(crate) fn is_the_coordinator() -> bool {
    std::env::var_os(ENV_OWNERS).is_some()
}

/// Listens, says where, and answers questions until nobody asks any more.
pub(crate) async fn coordinator() {
    let mut deployment = Deployment::new();
    let owners = std::env::var(ENV_OWNERS).unwrap();
    deployment.genesis = GenesisAuthority::Owners(owners.parse().unwrap());
    let store: Arc<dyn Store> = match std::env::var_os(ENV_HISTORY) {
        Some(folder) => Arc::new(Directory::open(folder.as_ref()).unwrap()),
        None => Arc::new(ConfigMaps::connect(None).await.unwrap()),
    };
    let running = deployment.start_with(guest(COORDINATOR), store, &[]).await;
    let Addresses {
        user,
        mesh,
        http,
        health,
    } = running.addresses;
    println!("{user} {mesh} {http} {health}");
    let asked = tokio::task::spawn_blocking(|| {
        for line in std::io::stdin().lines() {
            let answer = match line.unwrap().as_str() {
                "cpu" => crate::cpu().as_secs_f64() * 1e3,
                "kernel" => kernel(),
                "peak" => memory("VmHWM"),
                _ => memory("VmRSS"),
            };
            println!("{answer}");
        }
    });
    asked.await.unwrap();
}

/// Milliseconds that the kernel has worked for this process (proc(5), `stat`, field 15, in hundredths of a second).
fn kernel() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: f64 = fields.split(' ').nth(12).unwrap().parse().unwrap();
    ticks * 10.0
}

/// A field of `/proc/self/status`, in MB.
fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes / 1000.0
}

impl History<'_> {
    /// The same history, as whoever keeps the cluster sees it.
    pub(crate) async fn store(self, deployment: &Deployment) -> Arc<dyn Store> {
        let History::ConfigMaps(cluster, namespace) = self else {
            return deployment.store();
        };
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let client = kube::Client::try_from(config.unwrap()).unwrap();
        Arc::new(ConfigMaps::new(client, namespace))
    }
}

/// The process, from outside. It ends when this is dropped.
pub(crate) struct Process {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    addresses: Addresses,
}

impl Process {
    /// A Coordinator on the store of this deployment.
    pub(crate) fn start(deployment: &Deployment, history: History<'_>) -> Self {
        let GenesisAuthority::Owners(owners) = measured(&[&deployment.owners[0]], 1) else {
            panic!("owners");
        };
        let program = std::env::current_exe().unwrap();
        let mut command = match history {
            History::Directory => {
                let mut command = Command::new(program);
                command.env(ENV_HISTORY, deployment.folder.path().join("history"));
                command
            }
            History::ConfigMaps(cluster, namespace) => {
                let mut command = cluster.in_pod(&program, namespace, "coordinator");
                command.env(PLATFORM, std::env::var_os(PLATFORM).unwrap());
                command
            }
        };
        let mut child = command
            .env(ENV_OWNERS, owners.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let all: Vec<SocketAddr> = line
            .split_whitespace()
            .map(|address| address.parse().unwrap())
            .collect();
        let [user, mesh, http, health] = all[..] else {
            panic!("{line:?}");
        };
        Self {
            questions: child.stdin.take(),
            child,
            answers,
            addresses: Addresses {
                user,
                mesh,
                http,
                health,
            },
        }
    }

    pub(crate) fn running(&self) -> Running {
        Running::elsewhere(self.addresses)
    }

    /// Milliseconds of `cpu`, megabytes of `resident` or `peak`.
    pub(crate) fn ask(&mut self, what: &str) -> f64 {
        writeln!(self.questions.as_mut().unwrap(), "{what}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.questions.take();
        let _ = self.child.wait();
    }
}
