//! Debian's docker-registry as a child process.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const USER: &str = "puller";
pub(crate) const PASSWORD: &str = "s3cret";
/// bcrypt of [`PASSWORD`].
const HTPASSWD: &str = "puller:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n";

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Features {
    pub(crate) basic_auth: bool,
    pub(crate) tls: bool,
}

pub(crate) struct DockerRegistry {
    child: Child,
    folder: TempDir,
    pub(crate) host: String,
    tls: bool,
}

impl DockerRegistry {
    pub(crate) fn start(features: Features) -> Self {
        let program = program();
        let folder = TempDir::new().unwrap();
        let [port] = nacre_test_support::free_ports();
        let host = format!("127.0.0.1:{port}");
        let at = |name: &str| folder.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\nstorage:\n  \
             filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n",
            at("data")
        );
        if features.tls {
            certificates(folder.path());
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                at("cert.pem"),
                at("key.pem")
            );
        }
        if features.basic_auth {
            fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
            config += &format!(
                "auth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
                at("htpasswd")
            );
        }
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let child = Command::new(&program)
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{} cannot be started: {e}", program.display()));
        let registry = Self {
            child,
            folder,
            host,
            tls: features.tls,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            let log = fs::read_to_string(registry.folder.path().join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "docker-registry does not listen: {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    pub(crate) fn base(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.host
        )
    }

    /// The certificate authority of a registry with TLS.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry is part of the test set-up: without it these tests fail rather than pass by
/// doing nothing.
fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("NACRE_TEST_DOCKER_REGISTRY") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("docker-registry"))
        .find(|program| program.is_file())
        .expect(
            "docker-registry is needed: install Debian's package docker-registry or set \
             NACRE_TEST_DOCKER_REGISTRY to its path",
        )
}

fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("ca.pem"), ca_certificate.pem()).unwrap();
    fs::write(folder.join("cert.pem"), leaf.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}
