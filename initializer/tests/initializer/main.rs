//! The initializer against a mesh API over real attested TLS, with simulated evidence on both ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

#[path = "../../../crates/collateral/tests/it/server.rs"]
#[allow(dead_code, reason = "shared with the tests of nacre-collateral")]
mod server;
mod services;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nacre_api::v1::mesh_server::{Mesh, MeshServer};
use nacre_api::v1::{
    AttestedState, ConfirmRequest, NewMeshCertRequest, NewMeshCertResponse, PeerRecoverRequest,
    PeerRecoverResponse,
};
use nacre_atls::tonic::{Caller, Limits, incoming, server};
use nacre_atls::{
    Acceptor, Admission, AppraisalError, AtlsError, ClientKind, References, Refusal, ReportQueue,
    Timeouts,
};
use nacre_attest::{CheckId, Outcome, Policy, Product, ReportDataForm, ReportSource, Timestamp};
use nacre_collateral::Guest;
use nacre_initializer::{Ask, AskError, Config, Deps, Trusted, run};
use nacre_manifest::{Identity, PolicyEntry, PolicyHash, TrustDomain};
use nacre_pki::{Authority, CertificateRequest, LeafKey, LeafProfile, P384Key};
use nacre_sim::{Behaviour, Machine, Pki, SimulatedGuest};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

const COORDINATOR: [u8; 32] = [0xc0; 32];
const WORKLOAD: [u8; 32] = [0x30; 32];
const MEASUREMENT: [u8; 48] = [0x5a; 48];

fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

fn guest(host_data: [u8; 32]) -> Arc<dyn ReportSource> {
    let machine = Machine::new(pki()).unwrap();
    let mut report = machine.report();
    report.host_data = host_data;
    let crl = pki().crl().unwrap();
    Arc::new(SimulatedGuest::with(
        machine,
        report,
        crl,
        Behaviour::default(),
    ))
}

fn deps() -> Deps {
    Deps {
        verifier: Arc::new(pki().verifier().unwrap()),
        source: guest(WORKLOAD),
    }
}

/// Nobody listens there.
fn free_address() -> SocketAddr {
    let [port] = nacre_test_support::free_ports();
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// What stands where the Coordinator will be: real keys, real connections, one answer.
#[derive(Clone)]
struct Served {
    authority: Arc<Mutex<Authority>>,
    generation: Arc<AtomicU64>,
    form: ReportDataForm,
    refuse: Option<(tonic::Code, &'static str)>,
}

impl Served {
    fn new() -> Served {
        Served {
            authority: Arc::new(Mutex::new(authority())),
            generation: Arc::new(AtomicU64::new(1)),
            form: ReportDataForm::Exact,
            refuse: None,
        }
    }

    /// Listens, and accepts workloads with this policy.
    async fn start(&self, accepted: [u8; 32]) -> SocketAddr {
        let references = References::new(
            Arc::new(pki().verifier().unwrap()),
            vec![Policy {
                report_data_form: self.form,
                ..Policy::new(Product::Genoa, [MEASUREMENT])
            }],
            BTreeSet::from([accepted]),
            Timestamp(0),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let queue = ReportQueue::new(guest(COORDINATOR), 1, 8);
        let acceptor = Arc::new(Acceptor::new(queue, Timeouts::default()));
        let admission = Admission::attested(ClientKind::Workload, Arc::new(references)).unwrap();
        let connections = incoming(listener, acceptor, admission, Limits::default());
        let service = MeshServer::new(self.clone());
        tokio::spawn(
            server()
                .add_service(service)
                .serve_with_incoming(connections),
        );
        address
    }
}

fn authority() -> Authority {
    let keys = (P384Key::generate().unwrap(), P384Key::generate().unwrap());
    Authority::new(&keys.0, keys.1, Timestamp::now().0).unwrap()
}

#[tonic::async_trait]
impl Mesh for Served {
    async fn new_mesh_cert(
        &self,
        request: Request<NewMeshCertRequest>,
    ) -> Result<Response<NewMeshCertResponse>, Status> {
        let caller = Caller::of(&request)?;
        let peer = caller.attested(ClientKind::Workload)?;
        if let Some((code, message)) = self.refuse {
            return Err(Status::new(code, message));
        }
        let csr = CertificateRequest::verify(&request.get_ref().csr).unwrap();
        assert_ne!(
            csr.spki(),
            peer.spki(),
            "the key of the connection is another one"
        );
        let entry = PolicyEntry::new(
            Identity::new("shop", "Deployment", "web"),
            vec!["web".into()],
        );
        let hash = PolicyHash::from_bytes(peer.claims().host_data);
        let profile = LeafProfile::new(hash, &entry, &TrustDomain::default(), None).unwrap();
        let authority = self.authority.lock().unwrap();
        let leaf = authority.issue(&csr, &profile, Timestamp::now().0).unwrap();
        let generation = self.generation.load(Ordering::SeqCst);
        Ok(Response::new(NewMeshCertResponse {
            generation,
            transition: vec![u8::try_from(generation).unwrap(); 32],
            cert_chain: authority.chain_pem(&leaf),
            mesh_ca: authority.mesh_ca_pem(),
            root_ca: authority.root_pem(),
            previous: None,
            workload_secret: vec![0xa7; 32],
        }))
    }

    async fn recover(
        &self,
        _: Request<PeerRecoverRequest>,
    ) -> Result<Response<PeerRecoverResponse>, Status> {
        Err(Status::unimplemented("not for workloads"))
    }

    async fn confirm(&self, _: Request<ConfirmRequest>) -> Result<Response<AttestedState>, Status> {
        Err(Status::unimplemented("not for workloads"))
    }
}

fn known(policy: [u8; 32], measurement: [u8; 48]) -> Trusted {
    Trusted::Known {
        policy_hashes: BTreeSet::from([PolicyHash::from_bytes(policy)]),
        references: vec![Policy::new(Product::Genoa, [measurement])],
    }
}

fn config(address: SocketAddr, folder: &Path) -> Config {
    let gate = folder.join("gate-of-the-image");
    fs::write(&gate, "program").unwrap();
    Config {
        coordinator: address.to_string(),
        trusted: known(COORDINATOR, MEASUREMENT),
        guest: Guest::default(),
        directory: folder.join("tls-config"),
        gate,
        renew: None,
        ready: None,
    }
}

async fn once(config: &Config) -> AskError {
    let key = LeafKey::generate().unwrap();
    Ask::new(config, deps()).once(&key).await.unwrap_err()
}

/// Waits for a file to be another one than it was.
async fn changed(path: PathBuf, before: &str) -> String {
    let start = Instant::now();
    loop {
        match fs::read_to_string(&path) {
            Ok(text) if text != before => return text,
            _ => assert!(
                start.elapsed() < Duration::from_secs(30),
                "{}",
                path.display()
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(Served::new().start(WORKLOAD).await, folder.path());
    let volume = config.directory.clone();
    tokio::task::spawn_blocking(|| run(config, deps()))
        .await
        .unwrap()
        .unwrap();
    let mut names: Vec<_> = fs::read_dir(&volume)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "certChain.pem",
            "coordinator-root-ca.pem",
            "key.pem",
            "mesh-ca.pem",
            "nacre-gate",
            "workload-secret-seed",
        ]
    );
    let chain = fs::read_to_string(volume.join("certChain.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_coordinator_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let address = Served::new().start(WORKLOAD).await;
    let mut other_policy = config(address, folder.path());
    other_policy.trusted = known([0xc1; 32], MEASUREMENT);
    let mut other_guest = config(address, folder.path());
    other_guest.trusted = known(COORDINATOR, [0x5b; 48]);
    for config in [other_policy, other_guest] {
        let error = once(&config).await;
        assert!(
            matches!(error, AskError::Connection(AtlsError::Evidence(_))),
            "{error:?}"
        );
        assert!(error.advice().contains("NACRE_COORDINATOR_POLICY_HASH"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_reasons_and_advice() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = Served::new().start([0x31; 32]).await;
    let error = once(&config(unknown, folder.path())).await;
    assert!(
        matches!(
            error,
            AskError::Connection(AtlsError::Refused(Refusal::Evidence))
        ),
        "{error:?}"
    );
    assert!(error.advice().contains("nacre set"));

    let mut sealed = Served::new();
    sealed.refuse = Some((tonic::Code::FailedPrecondition, "waits for recovery"));
    let error = once(&config(sealed.start(WORKLOAD).await, folder.path())).await;
    assert!(error.to_string().contains("waits for recovery"), "{error}");
    assert!(error.advice().contains("nacre recover"));

    let nobody = free_address();
    let error = once(&config(nobody, folder.path())).await;
    assert!(
        matches!(error, AskError::Connection(AtlsError::Connect(_))),
        "{error:?}"
    );
    assert!(error.advice().contains("COORDINATOR_HOST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_until_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    // The port is known before anybody listens.
    let address = free_address();
    let config = config(address, folder.path());
    let gate = config.directory.join("nacre-gate");
    let pod = tokio::task::spawn_blocking(|| run(config, deps()));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!pod.is_finished() && !gate.exists());
    let served = Served::new();
    let references = served.start(WORKLOAD).await;
    // A relay from the port that was known to the one that is served.
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = tokio::net::TcpStream::connect(references).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    tokio::time::timeout(Duration::from_secs(30), pod)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(gate.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_renews_without_changing_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new();
    let mut config = config(served.start(WORKLOAD).await, folder.path());
    config.renew = Some(Duration::from_secs(1));
    let probe = free_address();
    config.ready = Some(probe);
    let volume = config.directory.clone();
    // Ends with the process of the test.
    std::thread::spawn(|| run(config, deps()));
    changed(volume.join("nacre-gate"), "").await;
    let read = |name: &str| fs::read_to_string(volume.join(name)).unwrap();
    let (chain, mesh, key) = (read("certChain.pem"), read("mesh-ca.pem"), read("key.pem"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(
        read("certChain.pem"),
        chain,
        "nothing is new, nothing is written"
    );
    assert!(tokio::net::TcpStream::connect(probe).await.is_ok());

    // A recovery by owners: the same manifest, another mesh CA.
    *served.authority.lock().unwrap() = authority();
    changed(volume.join("certChain.pem"), &chain).await;
    assert_ne!(read("mesh-ca.pem"), mesh);
    assert_eq!(read("key.pem"), key);

    let (chain, mesh) = (read("certChain.pem"), read("mesh-ca.pem"));
    *served.authority.lock().unwrap() = authority();
    served.generation.store(2, Ordering::SeqCst);
    changed(volume.join("certChain.pem"), &chain).await;
    assert_ne!(read("mesh-ca.pem"), mesh);
    assert_eq!(read("key.pem"), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_nobody_knows_is_believed_only_where_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let address = Served::new().start(WORKLOAD).await;
    let mut config = config(address, folder.path());
    // Another policy and another guest than the pod knows of: refused, until it knows of none.
    config.trusted = known([0xc1; 32], [0x5b; 48]);
    assert!(matches!(
        once(&config).await,
        AskError::Connection(AtlsError::Evidence(_))
    ));
    config.trusted = Trusted::AnyGuest;
    let key = LeafKey::generate().unwrap();
    let issued = Ask::new(&config, deps()).once(&key).await.unwrap();
    assert_eq!(issued.generation, 1);

    // It still has to be a genuine guest: to a pod that trusts AMD's roots this one is none.
    let deps = Deps {
        verifier: Arc::new(nacre_attest::Verifier::amd()),
        source: guest(WORKLOAD),
    };
    let error = Ask::new(&config, deps).once(&key).await.unwrap_err();
    let AskError::Connection(AtlsError::Evidence(AppraisalError::Rejected(rejection))) = error
    else {
        panic!("{error}");
    };
    // (The names differ as well: the simulated authorities have shorter ones.)
    let signature = rejection.verdict().check(CheckId::VekSignature).unwrap();
    assert_eq!(signature.outcome, Outcome::Fail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewer_goes_on_with_what_the_initializer_has_written() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::new();
    let mut config = config(served.start(WORKLOAD).await, folder.path());
    let volume = config.directory.clone();
    let first = config.clone();
    tokio::task::spawn_blocking(|| run(first, deps()))
        .await
        .unwrap()
        .unwrap();
    let read = |name: &str| fs::read_to_string(volume.join(name)).unwrap();
    let (chain, key) = (read("certChain.pem"), read("key.pem"));

    config.renew = Some(Duration::from_secs(10));
    let probe = free_address();
    config.ready = Some(probe);
    std::thread::spawn(|| run(config, deps()));
    let start = Instant::now();
    while tokio::net::TcpStream::connect(probe).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(9), "it asks nobody");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(read("certChain.pem"), chain);
    let renewed = changed(volume.join("certChain.pem"), &chain).await;
    assert_ne!(renewed, chain);
    assert_eq!(read("key.pem"), key);
}
