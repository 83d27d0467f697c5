//! Namespaces, certificates, applications and clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

pub const PATIENCE: Duration = Duration::from_secs(5);

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A mesh CA and the directories of those it has issued to.
pub struct Authority {
    pub dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    algorithm: &'static rcgen::SignatureAlgorithm,
    pem: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::with(&rcgen::PKCS_ECDSA_P384_SHA384)
    }

    /// With keys of that kind, its own and those of the leaves.
    pub fn with(algorithm: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "system:coordinator:intermediate");
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            dir: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(params, key),
            algorithm,
            pem,
        }
    }

    /// The certificate of the CA.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the three files for a workload, as the initializer does.
    pub fn issue(&self, name: &str) -> PathBuf {
        self.issue_for(name, 3600)
    }

    /// The same with a life of so many seconds from now.
    pub fn issue_for(&self, name: &str, seconds: i64) -> PathBuf {
        self.write(name, &self.leaf(name, seconds, None))
    }

    /// The same with the hash of the workload's policy in the certificate.
    pub fn issue_with_policy(&self, name: &str, policy: &str) -> PathBuf {
        self.write(name, &self.leaf(name, 3600, Some(policy)))
    }

    /// A new key and its certificate, as PEM.
    pub fn leaf(&self, name: &str, seconds: i64, policy: Option<&str>) -> Leaf {
        let key = KeyPair::generate_for(self.algorithm).unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(rcgen::SanType::URI(id(name).try_into().unwrap()));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::hours(1);
        params.not_after = now + time::Duration::seconds(seconds);
        if let Some(policy) = policy {
            params.distinguished_name.push(
                rcgen::DnType::CustomDnType(vec![2, 5, 4, 5]),
                rcgen::DnValue::PrintableString(policy.try_into().unwrap()),
            );
        }
        Leaf {
            chain: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn write(&self, name: &str, leaf: &Leaf) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("key.pem"), &leaf.key).unwrap();
        fs::write(dir.join("mesh-ca.pem"), &self.pem).unwrap();
        fs::write(dir.join("certChain.pem"), &leaf.chain).unwrap();
        dir
    }
}

/// A certificate and its key.
pub struct Leaf {
    pub chain: String,
    pub key: String,
}

/// The SPIFFE id of a workload of these tests.
pub fn id(name: &str) -> String {
    format!("spiffe://nacre.local/ns/test/Deployment/{name}")
}

/// Two namespaces, `pod` and `peer`, joined by a veth pair.
pub struct Net {
    number: u32,
}

pub const POD: [&str; 2] = ["192.0.2.1", "2001:db8:5::1"];
pub const PEER: [&str; 2] = ["192.0.2.2", "2001:db8:5::2"];

impl Net {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id() * 64 % 1_000_000 + NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Self { number };
        let (pod, peer) = (net.pod(), net.peer());
        run(&["ip", "netns", "add", &pod]);
        run(&["ip", "netns", "add", &peer]);
        run(&[
            "ip", "link", "add", "eth0", "netns", &pod, "type", "veth", "peer", "name", "eth0",
            "netns", &peer,
        ]);
        for (namespace, addresses) in [(&pod, POD), (&peer, PEER)] {
            run(&[
                "ip",
                "-n",
                namespace,
                "addr",
                "add",
                &format!("{}/24", addresses[0]),
                "dev",
                "eth0",
            ]);
            run(&[
                "ip",
                "-n",
                namespace,
                "addr",
                "add",
                &format!("{}/64", addresses[1]),
                "dev",
                "eth0",
                "nodad",
            ]);
            run(&["ip", "-n", namespace, "link", "set", "lo", "up"]);
            run(&["ip", "-n", namespace, "link", "set", "eth0", "up"]);
        }
        net
    }

    pub fn pod(&self) -> String {
        format!("nm{}p", self.number)
    }

    pub fn peer(&self) -> String {
        format!("nm{}q", self.number)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for namespace in [self.pod(), self.peer()] {
            let _ = Command::new("ip")
                .args(["netns", "del", &namespace])
                .status();
            let _ = fs::remove_dir_all(Path::new("/etc/netns").join(&namespace));
        }
    }
}

pub fn run(command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {} (these tests need root)",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a closure on a thread of its own inside a namespace.
pub fn inside<T: Send + 'static>(
    namespace: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let file = fs::File::open(Path::new("/var/run/netns").join(namespace)).unwrap();
    std::thread::spawn(move || {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        work()
    })
}

/// An application that answers each connection with `<its name> <peer address>\n` after reading one
/// line, then echoes until the end, and closes.
pub fn app(namespace: &str, address: &str, name: &'static str) {
    let address: SocketAddr = address.parse().unwrap();
    let (sender, ready) = std::sync::mpsc::channel();
    inside(namespace, move || {
        let listener = TcpListener::bind(address).unwrap();
        sender.send(()).unwrap();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let peer = stream.peer_addr().unwrap().ip().to_canonical();
                let mut line = Vec::new();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    line.push(byte[0]);
                    if byte[0] == b'\n' {
                        break;
                    }
                }
                if line.is_empty() {
                    return;
                }
                let _ = stream.write_all(format!("{name} {peer}\n").as_bytes());
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read) = stream.read(&mut buffer) {
                    if read == 0 || stream.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    ready.recv().unwrap();
}

/// A running mesh.
pub struct Mesh {
    pub child: Child,
    namespace: String,
    log: PathBuf,
}

impl Mesh {
    /// Starts one and waits until it is ready.
    pub fn start(namespace: &str, certs: &Path, env: &[(&str, &str)]) -> Self {
        let mut mesh = Self::spawn(namespace, certs, env);
        mesh.wait();
        mesh
    }

    /// Waits until it is ready.
    pub fn wait(&mut self) {
        let begin = Instant::now();
        while !self.http("/ready").starts_with("HTTP/1.1 200") {
            assert!(begin.elapsed() < 2 * PATIENCE, "not ready: {}", self.log());
            assert!(
                self.child.try_wait().unwrap().is_none(),
                "ended: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn spawn(namespace: &str, certs: &Path, env: &[(&str, &str)]) -> Self {
        Self::spawn_by(&[env!("CARGO_BIN_EXE_nacre-mesh")], namespace, certs, env)
    }

    /// By a command that ends in the program.
    pub fn spawn_by(command: &[&str], namespace: &str, certs: &Path, env: &[(&str, &str)]) -> Self {
        let log = certs.with_extension(format!("{namespace}.log"));
        let child = Command::new("/usr/sbin/ip")
            .args(["netns", "exec", namespace])
            .args(command)
            .env("NACRE_MESH_TLS_DIR", certs)
            .envs(env.iter().copied())
            .stderr(fs::File::create(&log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            namespace: namespace.to_owned(),
            log,
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `GET` on the admin endpoint; empty when it cannot be reached.
    pub fn http(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: mesh\r\n\r\n");
        inside(&self.namespace, move || {
            let Ok(mut stream) = TcpStream::connect("127.0.0.1:15090") else {
                return String::new();
            };
            let mut reply = String::new();
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_string(&mut reply);
            reply
        })
        .join()
        .unwrap()
    }

    /// The value of one metric.
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.http("/metrics");
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("{name} in {metrics}"));
        line.trim().parse().unwrap()
    }

    /// Resident memory.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }

    /// Open files.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        run(&["kill", "-TERM", &self.child.id().to_string()]);
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The first line of the application.
    Answer(String),
    /// TLS failed with this alert or error.
    Tls(String),
    /// The connection was closed or reset without an answer.
    Closed,
    /// Nothing came.
    Silence,
}

impl Outcome {
    pub fn answered(&self, app: &str) -> bool {
        matches!(self, Self::Answer(line) if line.starts_with(app))
    }

    pub fn alert(&self, name: &str) -> bool {
        matches!(self, Self::Tls(text) if text.contains(name))
    }
}

fn outcome(error: &std::io::Error) -> Outcome {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::TimedOut | K::WouldBlock => Outcome::Silence,
        K::InvalidData => Outcome::Tls(error.to_string()),
        _ => Outcome::Closed,
    }
}

fn exchange(mut stream: impl Read + Write) -> Outcome {
    let mut line = Vec::new();
    let mut byte = [0];
    if let Err(error) = stream.write_all(b"hello\n") {
        return outcome(&error);
    }
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return Outcome::Closed,
            Ok(_) if byte[0] == b'\n' => {
                return Outcome::Answer(String::from_utf8_lossy(&line).into_owned());
            }
            Ok(_) => line.push(byte[0]),
            Err(error) => return outcome(&error),
        }
    }
}

pub fn dial(address: SocketAddr) -> std::io::Result<TcpStream> {
    dial_within(address, 2 * PATIENCE)
}

pub fn dial_within(address: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks in plain text.
pub fn plain(namespace: &str, ip: &str, port: u16) -> Outcome {
    plain_within(namespace, ip, port, 2 * PATIENCE)
}

/// The same where no answer is expected, so that nobody waits long for it.
pub fn hushed(namespace: &str, ip: &str, port: u16) -> Outcome {
    plain_within(namespace, ip, port, Duration::from_millis(1500))
}

fn plain_within(namespace: &str, ip: &str, port: u16, patience: Duration) -> Outcome {
    let address = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
    inside(namespace, move || match dial_within(address, patience) {
        Ok(stream) => exchange(stream),
        Err(error) => outcome(&error),
    })
    .join()
    .unwrap()
}

/// Asks over TLS, trusting the CA in a directory, with the certificate in it or without any.
pub fn tls(namespace: &str, ip: &str, port: u16, certs: &Path, with_certificate: bool) -> Outcome {
    let address = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
    let config = client(certs, with_certificate);
    inside(namespace, move || match dial(address) {
        Ok(stream) => exchange(session(stream, config)),
        Err(error) => outcome(&error),
    })
    .join()
    .unwrap()
}

pub fn session(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("web").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

pub fn client(certs: &Path, with_certificate: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certs.join("mesh-ca.pem")).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let (chain, key) = identity(certs);
    let mut config = match with_certificate {
        true => builder.with_client_auth_cert(chain, key).unwrap(),
        false => builder.with_no_client_auth(),
    };
    config.enable_secret_extraction = true;
    Arc::new(config)
}

pub fn identity(certs: &Path) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_file_iter(certs.join("certChain.pem"))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    (
        chain,
        PrivateKeyDer::from_pem_file(certs.join("key.pem")).unwrap(),
    )
}

/// A server that demands client certificates of the mesh.
pub fn server(certs: &Path) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(certs.join("mesh-ca.pem")).unwrap())
        .unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .unwrap();
    let (chain, key) = identity(certs);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.enable_secret_extraction = true;
    Arc::new(config)
}
