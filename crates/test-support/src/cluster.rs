//! etcd and kube-apiserver on loopback, in a folder that is removed afterwards.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::free_ports;

/// How long the two programs may take to answer, on a machine that is busy with builds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Another program may take a free port between finding and using it.
const ATTEMPTS: u32 = 3;
/// The only secret of a cluster that lives for seconds on loopback.
const TOKEN: &str = "cluster-admin-of-the-tests";

/// A running kube-apiserver with RBAC, and what its administrator needs to use it.
///
/// It ends when the value is dropped, and also when the test process is killed.
pub struct Cluster {
    folder: TempDir,
    etcd: Child,
    apiserver: Child,
    server: String,
}

/// How a kubectl call ended.
pub struct Attempt {
    /// Whether kubectl's exit code was 0.
    pub succeeded: bool,
    /// What it printed.
    pub stdout: String,
    /// What it said: warnings of the API server, errors.
    pub stderr: String,
}

impl Cluster {
    /// The cluster of this test process: started by the first test that asks, ended with the last that
    /// holds it. Tests keep apart by namespaces of their own.
    pub fn shared() -> Arc<Cluster> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Cluster::start());
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// Whether `cargo xtask` has said where the programs of a cluster are: for a benchmark, which goes on
    /// without. A test that needs them fails.
    pub fn is_given() -> bool {
        ["NACRE_TEST_ETCD", "NACRE_TEST_KUBE_APISERVER"]
            .iter()
            .all(|variable| std::env::var_os(variable).is_some_and(|value| !value.is_empty()))
    }

    /// Starts a cluster of its own, for a test that needs one to itself.
    pub fn start() -> Cluster {
        let mut log = String::new();
        for _ in 0..ATTEMPTS {
            match Cluster::attempt() {
                Ok(cluster) => return cluster,
                Err(failure) => log = failure,
            }
        }
        panic!("kube-apiserver does not come up:\n{log}");
    }

    fn attempt() -> Result<Cluster, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let [clients, peers, secure] = free_ports();
        let store = format!("http://127.0.0.1:{clients}");
        let peer = format!("http://127.0.0.1:{peers}");

        let mut etcd = Command::new(tool("NACRE_TEST_ETCD"));
        etcd.arg("--data-dir").arg(path("etcd"));
        etcd.args(["--listen-client-urls", &store]);
        etcd.args(["--advertise-client-urls", &store]);
        etcd.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        etcd.args(["--initial-cluster", &format!("default={peer}")]);
        etcd.args(["--unsafe-no-fsync", "--log-level=error"]);

        let key = path("accounts.pem");
        let mut openssl = Command::new(tool("NACRE_TEST_OPENSSL"));
        openssl.args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
        ]);
        run(openssl.arg(&key), "");
        fs::write(
            path("tokens.csv"),
            format!("{TOKEN},admin,admin,system:masters\n"),
        )
        .unwrap();

        let mut apiserver = Command::new(tool("NACRE_TEST_KUBE_APISERVER"));
        apiserver.args(["--etcd-servers", &store]);
        apiserver.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]);
        apiserver.arg(format!("--secure-port={secure}"));
        apiserver.arg("--cert-dir").arg(path("certificates"));
        apiserver.arg("--token-auth-file").arg(path("tokens.csv"));
        apiserver.arg("--service-account-key-file").arg(&key);
        apiserver
            .arg("--service-account-signing-key-file")
            .arg(&key);
        apiserver.arg("--service-account-issuer=https://kubernetes.default.svc");
        apiserver.args(["--authorization-mode=RBAC", "--allow-privileged=true"]);
        apiserver.args(["--service-cluster-ip-range=10.96.0.0/24"]);
        apiserver.args(["--endpoint-reconciler-type=none", "--v=0"]);

        let log = path("log");
        let etcd = spawn(etcd, &log);
        let apiserver = spawn(apiserver, &log);
        let mut cluster = Cluster {
            etcd,
            apiserver,
            server: format!("https://127.0.0.1:{secure}"),
            folder,
        };
        match cluster.wait() {
            Ok(()) => {
                cluster.account("default");
                Ok(cluster)
            }
            Err(reason) => {
                let text = fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(20).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                Err(format!("{reason}\n{}", tail.join("\n")))
            }
        }
    }

    fn wait(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            for child in [&mut self.etcd, &mut self.apiserver] {
                if let Some(status) = child.try_wait().unwrap() {
                    return Err(format!("a program ended: {status}"));
                }
            }
            if self.certificate().exists() {
                self.write_kubeconfig("kubeconfig", TOKEN, None);
                if self.try_kubectl(&["get", "--raw", "/readyz"], "").succeeded {
                    return Ok(());
                }
            }
            if start.elapsed() > PATIENCE {
                return Err("it is not ready after two minutes".to_owned());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// `https://127.0.0.1:<port>`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The server's certificate and the authority that signed it, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificates/apiserver.crt")
    }

    /// What the programs say.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A kubeconfig with every right.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A kubeconfig of a service account, with the rights that its role bindings give it. The account is
    /// made if it is not there.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        self.account_named(namespace, account);
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace]);
        let name = format!("kubeconfig-{namespace}-{account}");
        self.write_kubeconfig(&name, token.trim(), Some(namespace));
        self.folder.path().join(name)
    }

    /// A program as a kubelet starts it in a pod of a service account: with the account's files where the
    /// pod has them, the variables of the API server, and nothing else in its environment. Needs root.
    ///
    /// The program is the process itself: a signal meets it, not a parent.
    pub fn in_pod(&self, program: &Path, namespace: &str, account: &str) -> Command {
        const ENTER: &str = "\
            mount -t tmpfs tmpfs /var/run && cd /var/run && mkdir -p secrets/kubernetes.io && \
            cp -r \"$1\" secrets/kubernetes.io/serviceaccount && cd / && shift && exec \"$@\"";
        self.account_named(namespace, account);
        let token = self.kubectl(&["create", "token", account, "--namespace", namespace]);
        let files = self
            .folder
            .path()
            .join(format!("pod-{namespace}-{account}"));
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("token"), token.trim()).unwrap();
        fs::write(files.join("namespace"), namespace).unwrap();
        fs::copy(self.certificate(), files.join("ca.crt")).unwrap();

        let (_, port) = self.server.rsplit_once(':').unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "/bin/sh", "-ec", ENTER, "sh"]);
        command.arg(files).arg(program).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", port);
        command
    }

    /// Makes a namespace, with the account that pods need and no controller is here to make.
    pub fn namespace(&self, name: &str) {
        self.kubectl(&["create", "namespace", name]);
        self.account(name);
    }

    /// Runs kubectl as administrator and returns what it printed; panics if it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_with(arguments, "")
    }

    /// The same with text on standard input, for `--filename=-`.
    pub fn kubectl_with(&self, arguments: &[&str], stdin: &str) -> String {
        let attempt = self.try_kubectl(arguments, stdin);
        assert!(
            attempt.succeeded,
            "kubectl {}: {}",
            arguments.join(" "),
            attempt.stderr
        );
        attempt.stdout
    }

    /// Runs kubectl as administrator, whatever the outcome.
    pub fn try_kubectl(&self, arguments: &[&str], stdin: &str) -> Attempt {
        let mut kubectl = Command::new(tool("NACRE_TEST_KUBECTL"));
        kubectl.arg("--kubeconfig").arg(self.kubeconfig());
        // kubectl caches what a server offers; two clusters may have the same port.
        kubectl
            .arg("--cache-dir")
            .arg(self.folder.path().join("cache"));
        attempt(kubectl.args(arguments), stdin)
    }

    fn account(&self, namespace: &str) {
        self.account_named(namespace, "default");
    }

    fn account_named(&self, namespace: &str, account: &str) {
        let arguments = [
            "create",
            "serviceaccount",
            account,
            "--namespace",
            namespace,
        ];
        let made = self.try_kubectl(&arguments, "");
        let known = made.succeeded || made.stderr.contains("already exists");
        assert!(known, "{}", made.stderr);
    }

    fn write_kubeconfig(&self, name: &str, token: &str, namespace: Option<&str>) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: tests\n\
             clusters:\n- name: tests\n  cluster:\n    server: {}\n    certificate-authority: {}\n\
             users:\n- name: tests\n  user:\n    token: {token}\n\
             contexts:\n- name: tests\n  context:\n    cluster: tests\n    user: tests\n    namespace: {}\n",
            self.server,
            self.certificate().display(),
            namespace.unwrap_or("default"),
        );
        fs::write(self.folder.path().join(name), text).unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in [&mut self.apiserver, &mut self.etcd] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program whose variable `cargo xtask` sets.
pub(crate) fn tool(variable: &str) -> PathBuf {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    let value =
        value.unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test --cluster`"));
    PathBuf::from(value)
}

/// Starts a program that ends with this process, even if that is killed.
///
/// The kernel ties the child to the thread that started it. Threads of tests end before the process, so
/// one thread that never ends starts all of them.
pub(crate) fn spawn(command: Command, log: &Path) -> Child {
    type Request = (Command, mpsc::Sender<Child>);
    static KEEPER: Mutex<Option<mpsc::Sender<Request>>> = Mutex::new(None);
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL"]);
    tied.arg(command.get_program()).args(command.get_args());
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    tied.stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let (done, child) = mpsc::channel();
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    let keeper = keeper.get_or_insert_with(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, done) in requests {
                let child = command.spawn().expect("setpriv of util-linux starts");
                let _ = done.send(child);
            }
        });
        sender
    });
    keeper.send((tied, done)).unwrap();
    child.recv().unwrap()
}

fn run(command: &mut Command, stdin: &str) {
    let done = attempt(command, stdin);
    assert!(done.succeeded, "{command:?}: {}", done.stderr);
}

fn attempt(command: &mut Command, stdin: &str) -> Attempt {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // A program that fails early does not read on; that is for its exit code to say.
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Attempt {
        succeeded: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
