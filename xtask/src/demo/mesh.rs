//! `cargo xtask demo mesh`: pods as network namespaces that talk through real meshes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::heading;
use crate::{images, process, tools, workspace};

/// Set where the demonstration runs in namespaces of an ordinary user.
const INNER: &str = "NACRE_DEMO_MESH";

/// Pod, address, and the CA that issued its certificate.
const PODS: [(&str, &str, Option<&str>); 4] = [
    ("web", "192.0.2.1", Some("mesh")),
    ("backend", "192.0.2.2", Some("mesh")),
    ("billing", "192.0.2.3", Some("mesh")),
    ("stranger", "192.0.2.4", Some("other")),
];

/// Builds the mesh and shows it; as root, or in namespaces of an ordinary user.
pub(crate) fn run() -> Result<()> {
    if std::env::var_os(INNER).is_some() {
        // The names of namespaces are files below /run, which is not ours to write outside.
        process::run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
        return scenes();
    }
    let wanted = [
        "NACRE_TEST_IP",
        "NACRE_TEST_OPENSSL",
        "NACRE_TEST_CURL",
        "NACRE_TEST_NFT",
    ];
    tools::install_only(&wanted)?;
    process::run(images::static_cargo("build")?.args(["--quiet", "--package=nacre-mesh"]))?;
    if process::output(Command::new("id").arg("-u"))?.trim() == "0" {
        return scenes();
    }
    println!("not root: user, network and mount namespaces of this user's own instead");
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--map-root-user", "--net", "--mount"])
        .arg(std::env::current_exe()?)
        .args(["demo", "mesh"])
        .env(INNER, "1");
    process::run(&mut unshare).context(
        "an ordinary user may not make namespaces here: run this as root, or allow them \
         (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)",
    )
}

fn scenes() -> Result<()> {
    let stage = Stage::build()?;
    let web = (
        "CONTRAST_EGRESS_PROXY_CONFIG",
        "backend#127.0.0.2:4001#192.0.2.2:4001",
    );
    let expected = (
        "NACRE_MESH_EGRESS_PEER",
        "backend=spiffe://nacre.local/ns/shop/Deployment/backend",
    );
    let allow = (
        "NACRE_MESH_INGRESS_ALLOW",
        "4001=spiffe://nacre.local/ns/shop/Deployment/web",
    );
    let metrics = ("CONTRAST_INGRESS_PROXY_CONFIG", "metrics#8080#true");

    heading("two pods, each with an application that knows nothing of TLS, and a mesh");
    let _web = stage.mesh("web", &[web, expected])?;
    let mut backend = stage.mesh("backend", &[metrics, allow])?;
    let _applications = [stage.application(4001)?, stage.application(8080)?];
    println!("web      {}={}", web.0, web.1);
    println!("web      {}={}", expected.0, expected.1);
    println!("backend  {}={}", metrics.0, metrics.1);
    println!("backend  {}={}", allow.0, allow.1);

    heading("web asks backend: plain HTTP to its own loopback, mutual TLS between the pods");
    stage.shows("web", &["http://127.0.0.2:4001/"], "hello from backend")?;

    heading("a stranger in plain text: a TLS alert, and nothing of the application");
    stage.fails("stranger", &["http://192.0.2.2:4001/"])?;

    heading(
        "TLS without a certificate, with one of another CA, and of a member that is not on the list",
    );
    stage.refused("stranger", None, "certificate required")?;
    stage.refused("stranger", Some("stranger"), "unknown ca")?;
    stage.refused("billing", Some("billing"), "access denied")?;

    heading("the port that the annotation leaves in plain text");
    stage.shows(
        "stranger",
        &["http://192.0.2.2:8080/"],
        "hello from backend",
    )?;

    heading("what the mesh of backend says");
    for line in fs::read_to_string(stage.log("backend"))?.lines() {
        if line.contains("refused") || line.contains("not wanted") {
            println!("{}", line.get(28..).unwrap_or(line));
        }
    }
    let counted = stage.curl("backend", 20, &["http://127.0.0.1:15090/metrics"])?;
    for line in counted
        .lines()
        .filter(|line| line.contains("direction=\"ingress\""))
    {
        println!("{line}");
    }

    heading("kill -9 of the mesh: its rules outlive it, and nothing gets in");
    backend.0.kill()?;
    backend.0.wait()?;
    stage.fails("stranger", &["http://192.0.2.2:4001/"])?;
    println!("\nall as it should be");
    Ok(())
}

/// Namespaces joined by a bridge, and what the pods have on their volumes.
struct Stage {
    folder: PathBuf,
}

/// A program that ends with the demonstration.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for name in PODS.iter().map(|(pod, ..)| *pod).chain(["node"]) {
            let _ = ip(&["netns", "del", &namespace(name)]);
        }
    }
}

impl Stage {
    fn build() -> Result<Stage> {
        let folder = workspace::target()?.join("demo-mesh");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("www"))?;
        fs::write(folder.join("www/index.html"), "hello from backend\n")?;
        let stage = Stage { folder };
        let node = namespace("node");
        ip(&["netns", "add", &node])?;
        ip(&["-n", &node, "link", "add", "pods", "type", "bridge"])?;
        ip(&["-n", &node, "link", "set", "pods", "up"])?;
        for (pod, address, authority) in PODS {
            let name = namespace(pod);
            ip(&["netns", "add", &name])?;
            ip(&[
                "link", "add", "eth0", "netns", &name, "type", "veth", "peer", "name", pod,
                "netns", &node,
            ])?;
            ip(&["-n", &node, "link", "set", pod, "master", "pods", "up"])?;
            ip(&[
                "-n",
                &name,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                "eth0",
            ])?;
            for link in ["lo", "eth0"] {
                ip(&["-n", &name, "link", "set", link, "up"])?;
            }
            if let Some(authority) = authority {
                stage.certificates(pod, authority)?;
            }
        }
        Ok(stage)
    }

    /// What the initializer would write: chain, key, mesh CA.
    fn certificates(&self, pod: &str, authority: &str) -> Result<()> {
        let (ca, ca_key) = (
            self.folder.join(format!("{authority}.pem")),
            self.folder.join(format!("{authority}.key")),
        );
        let curve = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:secp384r1",
            "-nodes",
            "-sha384",
        ];
        if !ca.exists() {
            let mut openssl = Command::new("openssl");
            openssl
                .args([
                    "req",
                    "-x509",
                    "-days",
                    "1",
                    "-subj",
                    &format!("/CN={authority} ca"),
                ])
                .args(curve);
            process::output(openssl.arg("-keyout").arg(&ca_key).arg("-out").arg(&ca))?;
        }
        let volume = self.folder.join(pod);
        fs::create_dir_all(&volume)?;
        let names = format!(
            "subjectAltName=DNS:{pod},URI:spiffe://nacre.local/ns/shop/Deployment/{pod}\n\
             extendedKeyUsage=clientAuth,serverAuth\n"
        );
        fs::write(volume.join("names"), names)?;
        let mut request = Command::new("openssl");
        request
            .args(["req", "-subj", &format!("/CN={pod}")])
            .args(curve);
        process::output(
            request
                .arg("-keyout")
                .arg(volume.join("key.pem"))
                .arg("-out")
                .arg(volume.join("csr")),
        )?;
        let mut issue = Command::new("openssl");
        issue.args(["x509", "-req", "-days", "1", "-sha384", "-CAcreateserial"]);
        issue
            .arg("-in")
            .arg(volume.join("csr"))
            .arg("-extfile")
            .arg(volume.join("names"));
        issue
            .arg("-CA")
            .arg(&ca)
            .arg("-CAkey")
            .arg(&ca_key)
            .arg("-out")
            .arg(volume.join("certChain.pem"));
        process::output(&mut issue)?;
        // The stranger knows whom to expect; it is the others who do not know it.
        fs::copy(self.folder.join("mesh.pem"), volume.join("mesh-ca.pem"))?;
        Ok(())
    }

    fn log(&self, pod: &str) -> PathBuf {
        self.folder.join(format!("{pod}.log"))
    }

    fn mesh(&self, pod: &str, variables: &[(&str, &str)]) -> Result<Running> {
        let program = images::folder_of_programs()?.join("nacre-mesh");
        let mut command = within(pod, &program);
        command.env("NACRE_MESH_TLS_DIR", self.folder.join(pod));
        command.envs(variables.iter().copied());
        let running = self.start(command.env("NO_COLOR", "1"), pod)?;
        self.wait(pod, "http://127.0.0.1:15090/ready")?;
        Ok(running)
    }

    fn application(&self, port: u16) -> Result<Running> {
        let mut command = within("backend", Path::new("python3"));
        command
            .args(["-m", "http.server", "--directory"])
            .arg(self.folder.join("www"))
            .arg(port.to_string());
        let running = self.start(&mut command, &format!("backend-{port}"))?;
        self.wait("backend", &format!("http://127.0.0.1:{port}/"))?;
        Ok(running)
    }

    fn start(&self, command: &mut Command, name: &str) -> Result<Running> {
        let log = fs::File::create(self.log(name))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Running(
            command
                .spawn()
                .with_context(|| format!("cannot start {name}"))?,
        ))
    }

    fn wait(&self, pod: &str, url: &str) -> Result<()> {
        let begin = Instant::now();
        while self.curl(pod, 3, &[url]).is_err() {
            if begin.elapsed() > Duration::from_secs(30) {
                bail!(
                    "{pod} does not answer: {}",
                    fs::read_to_string(self.log(pod))?
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn curl(&self, pod: &str, seconds: u8, arguments: &[&str]) -> Result<String> {
        let mut curl = within(pod, Path::new("curl"));
        process::output(
            curl.args(["-sS", "--fail", "--max-time", &seconds.to_string()])
                .args(arguments),
        )
    }

    fn shows(&self, pod: &str, arguments: &[&str], expected: &str) -> Result<()> {
        println!("{pod}$ curl {}", arguments.join(" "));
        let answer = self.curl(pod, 20, arguments)?;
        print!("{answer}");
        ensure!(answer.contains(expected), "that is not the application");
        Ok(())
    }

    fn fails(&self, pod: &str, arguments: &[&str]) -> Result<()> {
        println!("{pod}$ curl {}", arguments.join(" "));
        match self.curl(pod, 3, arguments) {
            Ok(answer) => bail!("it got an answer: {answer}"),
            Err(error) => println!("{}", error.to_string().lines().last().unwrap_or_default()),
        }
        Ok(())
    }

    /// A TLS client that is turned away with an alert.
    fn refused(&self, pod: &str, certificate: Option<&str>, alert: &str) -> Result<()> {
        let mut client = within(pod, Path::new("timeout"));
        client.args([
            "20",
            "openssl",
            "s_client",
            "-connect",
            "192.0.2.2:4001",
            "-ign_eof",
        ]);
        if let Some(name) = certificate {
            let volume = self.folder.join(name);
            client.arg("-cert").arg(volume.join("certChain.pem"));
            client.arg("-key").arg(volume.join("key.pem"));
        }
        let output = client
            .stdin(Stdio::null())
            .output()
            .context("cannot start openssl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| line.contains(alert));
        let whose = certificate.unwrap_or("none");
        println!("{pod}$ openssl s_client -connect 192.0.2.2:4001   (certificate: {whose})");
        println!(
            "{}",
            line.with_context(|| format!("no alert {alert:?}: {said}"))?
        );
        Ok(())
    }
}

fn namespace(pod: &str) -> String {
    format!("nacre-demo-{pod}")
}

fn within(pod: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", &namespace(pod)])
        .arg(program);
    command
}

/// Runs `ip`.
fn ip(words: &[&str]) -> Result<String> {
    process::output(Command::new("ip").args(words))
}
