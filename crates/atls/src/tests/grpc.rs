//! gRPC over attested connections, on loopback.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use nacre_attest::CheckId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use super::{COORDINATOR, WORKLOAD, acceptor, connector, queue, references, refused_by, timeouts};
use crate::tonic::{Caller, Channel, Limits, Link, Listen, Own, Peer, connect, incoming, server};
use crate::wire::{ClientKind, Refusal};
use crate::{Acceptor, Admission, AtlsError, Timeouts, dial};

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// Holds the answers to "Slow".
#[derive(Debug, Default)]
pub(super) struct Gate {
    begun: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn pass(&self) {
        self.begun.send_modify(|begun| *begun += 1);
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }

    /// Until so many wait at it, or have passed.
    pub(super) async fn has_come(&self, count: usize) {
        let mut begun = self.begun.subscribe();
        begun.wait_for(|begun| *begun >= count).await.unwrap();
    }

    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Answers what it knows of its caller.
#[derive(Clone)]
struct Service {
    owner: Arc<Vec<u8>>,
    gate: Arc<Gate>,
}

impl tonic::server::NamedService for Service {
    const NAME: &'static str = "test.Who";
}

impl tower::Service<http::Request<tonic::body::Body>> for Service {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Answer<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let Self { owner, gate } = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<String, String>::default();
            let mut grpc = tonic::server::Grpc::new(codec);
            let method = Method {
                method,
                owner,
                gate,
            };
            Ok(grpc.unary(method, request).await)
        })
    }
}

struct Method {
    method: String,
    owner: Arc<Vec<u8>>,
    gate: Arc<Gate>,
}

impl tonic::server::UnaryService<String> for Method {
    type Response = String;
    type Future = Answer<Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let answer = self.answer(&request);
        let gate = (self.method == "Slow").then(|| Arc::clone(&self.gate));
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            answer.map(Response::new)
        })
    }
}

impl Method {
    fn answer(&self, request: &Request<String>) -> Result<String, Status> {
        let caller = Caller::of(request)?;
        assert!(caller.remote().ip().is_loopback());
        match self.method.as_str() {
            "Workload" => {
                let peer = caller.attested(ClientKind::Workload)?;
                Ok(hex::encode(peer.claims().host_data))
            }
            "Exporter" => Ok(hex::encode(caller.owner_exporter())),
            "Slow" => Ok(String::new()),
            "Peer" => Ok(match caller.peer() {
                Peer::Attested(peer) => format!("{:?}", peer.kind().unwrap()),
                Peer::Unattested => "nobody".into(),
            }),
            "Signed" => {
                let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, self.owner.as_slice());
                let (content, signature) = request.get_ref().split_once(' ').unwrap();
                let message = caller.owner_request("Signed", &sha256(content));
                key.verify(&message, &hex::decode(signature).unwrap())
                    .map_err(|_| Status::unauthenticated("not signed for this connection"))?;
                Ok(content.into())
            }
            other => Err(Status::unimplemented(other)),
        }
    }
}

fn sha256(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes())
        .as_ref()
        .try_into()
        .unwrap()
}

pub(super) struct Served {
    pub(super) address: String,
    pub(super) gate: Arc<Gate>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(super) async fn stop(mut self) -> String {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap();
        self.address
    }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn mesh() -> Admission {
    let workloads = Arc::new(references(WORKLOAD));
    Admission::attested(ClientKind::Workload, workloads).unwrap()
}

async fn serve(admission: Admission, owner: Vec<u8>) -> Served {
    let (listener, address) = listen().await;
    serve_at(listener, address, acceptor(), admission, owner)
}

pub(super) async fn serve_within(limits: Limits) -> Served {
    let (listener, address) = listen().await;
    serve_all(listener, address, acceptor(), mesh(), Vec::new(), limits)
}

fn serve_at(
    listener: impl Listen,
    address: String,
    acceptor: Acceptor,
    admission: Admission,
    owner: Vec<u8>,
) -> Served {
    serve_all(
        listener,
        address,
        acceptor,
        admission,
        owner,
        Limits::default(),
    )
}

fn serve_all(
    listener: impl Listen,
    address: String,
    acceptor: Acceptor,
    admission: Admission,
    owner: Vec<u8>,
    limits: Limits,
) -> Served {
    let connections = incoming(listener, Arc::new(acceptor), admission, limits);
    let (stop, stopped) = oneshot::channel::<()>();
    let gate = Arc::new(Gate::default());
    let service = Service {
        owner: Arc::new(owner),
        gate: Arc::clone(&gate),
    };
    let serving = server()
        .add_service(service)
        .serve_with_incoming_shutdown(connections, async {
            let _ = stopped.await;
        });
    Served {
        address,
        gate,
        stop: Some(stop),
        task: tokio::spawn(async { serving.await.unwrap() }),
    }
}

pub(super) async fn call(channel: Channel, method: &str, content: &str) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let path = format!("/test.Who/{method}").parse().unwrap();
    let codec = ProstCodec::<String, String>::default();
    let answer = grpc
        .unary(Request::new(content.into()), path, codec)
        .await?;
    Ok(answer.into_inner())
}

pub(super) async fn workload(address: &str) -> Result<Link, AtlsError> {
    let queue = queue(WORKLOAD);
    let own = Own::Attested {
        kind: ClientKind::Workload,
        queue: &queue,
    };
    connect(address, &connector(), own, &references(COORDINATOR)).await
}

async fn owner(address: &str) -> Result<Link, AtlsError> {
    let coordinators = references(COORDINATOR);
    connect(address, &connector(), Own::Unattested, &coordinators).await
}

#[tokio::test]
async fn handlers_learn_what_the_caller_has_proven() {
    let served = serve(mesh().and_unattested(), Vec::new()).await;
    let link = workload(&served.address).await.unwrap();
    assert_eq!(link.server().claims().host_data, COORDINATOR);
    let said = call(link.channel(), "Workload", "").await.unwrap();
    assert_eq!(said, hex::encode(WORKLOAD));
    let said = call(link.channel(), "Peer", "").await.unwrap();
    assert_eq!(said, "Workload");
    let said = call(link.channel(), "Exporter", "").await.unwrap();
    assert_eq!(said, hex::encode(link.owner_exporter()));
    // What was accepted can be shown: the evidence carries the value of this connection.
    let report = nacre_attest::Report::parse(&link.server().evidence().report).unwrap();
    assert_eq!(&report.report_data, link.server().report_data());

    let link = owner(&served.address).await.unwrap();
    let said = call(link.channel(), "Peer", "").await.unwrap();
    assert_eq!(said, "nobody");
    let refused = call(link.channel(), "Workload", "").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    served.stop().await;
}

#[tokio::test]
async fn kinds_that_are_not_named_are_refused() {
    let served = serve(mesh(), Vec::new()).await;
    let refused = owner(&served.address).await.unwrap_err();
    assert!(matches!(refused, AtlsError::Refused(Refusal::Kind)));
    served.stop().await;
    let served = serve(Admission::unattested(), Vec::new()).await;
    let refused = workload(&served.address).await.unwrap_err();
    assert!(matches!(refused, AtlsError::Refused(Refusal::Kind)));
    served.stop().await;
    let appraise = Arc::new(references(WORKLOAD));
    let nonsense = Admission::attested(ClientKind::Unattested, appraise);
    assert!(matches!(nonsense, Err(AtlsError::Kind)));
}

#[tokio::test]
async fn each_kind_has_its_own_appraiser() {
    let peers = Arc::new(references(COORDINATOR));
    let both = mesh().and_attested(ClientKind::Coordinator, peers).unwrap();
    let served = serve(both, Vec::new()).await;
    let attempt = async |kind, host_data| {
        let queue = queue(host_data);
        let own = Own::Attested {
            kind,
            queue: &queue,
        };
        let coordinators = references(COORDINATOR);
        let link = connect(&served.address, &connector(), own, &coordinators).await?;
        Ok::<_, AtlsError>(call(link.channel(), "Peer", "").await.unwrap())
    };
    let said = attempt(ClientKind::Coordinator, COORDINATOR).await.unwrap();
    assert_eq!(said, "Coordinator");
    let said = attempt(ClientKind::Workload, WORKLOAD).await.unwrap();
    assert_eq!(said, "Workload");
    // A workload that says it is a Coordinator is measured as one.
    let refused = attempt(ClientKind::Coordinator, WORKLOAD)
        .await
        .unwrap_err();
    assert!(matches!(refused, AtlsError::Refused(Refusal::Evidence)));
    served.stop().await;
}

#[tokio::test]
async fn an_owners_signature_is_good_for_one_connection_and_one_request() {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
    let public = key.public_key().as_ref().to_vec();
    let served = serve(Admission::unattested(), public).await;
    let (one, other) = (
        owner(&served.address).await.unwrap(),
        owner(&served.address).await.unwrap(),
    );
    let sign = |link: &Link, method: &str, content: &str| {
        let message = link.owner_request(method, &sha256(content));
        hex::encode(key.sign(&random, &message).unwrap())
    };
    let good = format!("content {}", sign(&one, "Signed", "content"));
    let said = call(one.channel(), "Signed", &good).await.unwrap();
    assert_eq!(said, "content");
    for (channel, request) in [
        (other.channel(), good),
        (
            one.channel(),
            format!("other {}", sign(&one, "Signed", "content")),
        ),
        (
            one.channel(),
            format!("content {}", sign(&one, "Else", "content")),
        ),
    ] {
        let refused = call(channel, "Signed", &request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{request}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_link_is_never_replaced_behind_its_users_back() {
    let served = serve(mesh(), Vec::new()).await;
    let link = workload(&served.address).await.unwrap();
    call(link.channel(), "Peer", "").await.unwrap();
    let address = served.stop().await;
    // Another server at the same place.
    let listener = TcpListener::bind(&address).await.unwrap();
    let again = serve_at(listener, address, acceptor(), mesh(), Vec::new());
    for _ in 0..3 {
        let lost = call(link.channel(), "Peer", "").await.unwrap_err();
        assert_eq!(lost.code(), Code::Unavailable, "{lost:?}");
    }
    let link = workload(&again.address).await.unwrap();
    call(link.channel(), "Peer", "").await.unwrap();
    again.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_the_expected_one_gets_no_request() {
    let served = serve(Admission::unattested(), Vec::new()).await;
    let others = references([9; 32]);
    let refused = connect(&served.address, &connector(), Own::Unattested, &others).await;
    assert_eq!(refused_by(&refused.unwrap_err()), Some(CheckId::HostData));
    served.stop().await;
    let nobody = owner("127.0.0.1:1").await.unwrap_err();
    assert!(matches!(nobody, AtlsError::Connect(_)));
}

#[tokio::test]
async fn silent_and_noisy_clients_do_not_keep_others_waiting() {
    let (listener, address) = listen().await;
    let patient = acceptor();
    let served = serve_at(listener, address, patient, mesh(), Vec::new());
    let mut silent = Vec::new();
    for round in 0..40 {
        let mut stream = TcpStream::connect(&served.address).await.unwrap();
        match round % 4 {
            0 => stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .await
                .unwrap(),
            1 => stream.write_all(&[0x16, 3, 1, 0xff]).await.unwrap(),
            2 => drop(stream.shutdown().await),
            _ => {}
        }
        silent.push(stream);
    }
    let served_soon = async {
        let link = workload(&served.address).await.unwrap();
        call(link.channel(), "Peer", "").await.unwrap();
    };
    // Each of them may be silent for longer.
    let soon = tokio::time::timeout(timeouts().handshake / 2, served_soon);
    soon.await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn trouble_with_accepting_passes() {
    struct Troubled(TcpListener, Mutex<VecDeque<io::Error>>);
    impl Listen for Troubled {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let trouble = self.1.lock().unwrap().pop_front();
            match trouble {
                Some(error) => Err(error),
                None => self.0.accept().await,
            }
        }
    }
    let (listener, address) = listen().await;
    // EMFILE, ECONNABORTED, and what nobody has thought of.
    let errors = [24, 103, 5].map(io::Error::from_raw_os_error);
    let listener = Troubled(listener, Mutex::new(errors.into()));
    let served = serve_at(listener, address, acceptor(), mesh(), Vec::new());
    let link = workload(&served.address).await.unwrap();
    call(link.channel(), "Peer", "").await.unwrap();
    served.stop().await;
}

/// The other end hangs up on a client that says nothing, and well before its time is over.
pub(super) async fn is_hung_up(stream: &mut TcpStream) {
    let mut byte = [0; 1];
    let read = tokio::time::timeout(timeouts().handshake / 2, stream.read(&mut byte)).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
}

/// Whether nobody has hung up on a client that says nothing.
pub(super) async fn is_open(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut byte));
    read.await.is_err()
}

#[tokio::test]
async fn silent_clients_are_given_up() {
    let (listener, address) = listen().await;
    let short = Timeouts {
        handshake: Duration::from_millis(100),
        ..timeouts()
    };
    let quick = Acceptor::new(queue(COORDINATOR), short);
    let _connections = incoming(listener, Arc::new(quick), mesh(), Limits::default());
    is_hung_up(&mut TcpStream::connect(&address).await.unwrap()).await;
}

#[tokio::test]
async fn a_dropped_stream_closes_its_port() {
    let (listener, address) = listen().await;
    let connections = incoming(listener, Arc::new(acceptor()), mesh(), Limits::default());
    let mut open = TcpStream::connect(&address).await.unwrap();
    assert!(is_open(&mut open).await);
    drop(connections);
    is_hung_up(&mut open).await;
    assert!(TcpStream::connect(&address).await.is_err());
}

/// Keeps a second handle of each socket that it gives.
struct Kept(TcpListener, Arc<Mutex<Vec<std::net::TcpStream>>>);

impl Listen for Kept {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, remote) = self.0.accept().await?;
        let stream = stream.into_std()?;
        self.1.lock().unwrap().push(stream.try_clone()?);
        Ok((TcpStream::from_std(stream)?, remote))
    }
}

#[tokio::test]
async fn neither_end_delays_small_packets() {
    let (listener, address) = listen().await;
    let plain = TcpStream::connect(&address).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    assert!(!plain.nodelay().unwrap() && !accepted.nodelay().unwrap());
    let kept = Arc::default();
    let listener = Kept(listener, Arc::clone(&kept));
    let served = serve_at(listener, address, acceptor(), mesh(), Vec::new());
    let link = workload(&served.address).await.unwrap();
    assert!(kept.lock().unwrap()[0].nodelay().unwrap());
    let stream = dial(&served.address, timeouts().handshake).await.unwrap();
    assert!(stream.nodelay().unwrap());
    call(link.channel(), "Peer", "").await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_after_acceptance_is_no_link() {
    let (listener, address) = listen().await;
    let acceptor = acceptor();
    let (_, link) = tokio::join!(
        async {
            let (stream, _) = listener.accept().await.unwrap();
            drop(acceptor.accept_unattested(stream).await.unwrap());
        },
        owner(&address),
    );
    // Either HTTP/2 does not begin, or its first request fails.
    match link {
        Err(error) => assert!(matches!(error, AtlsError::Http(_)), "{error:?}"),
        Ok(link) => assert!(call(link.channel(), "Peer", "").await.is_err()),
    }
}
