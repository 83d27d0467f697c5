//! The history over real attested connections, with servers that say what a test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use nacre_api::v1;
use nacre_api::v1::get_manifests_response::Part;
use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Answer;
use nacre_api::v1::user_server::{User, UserServer};
use nacre_atls::tonic::{Caller, Limits, incoming, server};
use nacre_atls::{Acceptor, Admission, ReportQueue, Timeouts};
use nacre_attest::{NewestLists, Timestamp};
use nacre_client::session::Session;
use nacre_client::{ClientError, Expectation, Kind};
use nacre_manifest::PolicyHash;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::world::{World, guest};

type Parts = Vec<Result<v1::GetManifestsResponse, Status>>;
pub(crate) type Script = Box<dyn Fn(&[Ask]) -> Vec<Result<Answer, Status>> + Send + Sync>;
pub(crate) type Recover = Box<
    dyn Fn(&v1::RecoverRequest, &[u8; 32]) -> Result<v1::RecoverResponse, Status> + Send + Sync,
>;
type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the server says.
pub(crate) struct Say {
    pub(crate) manifests: Box<dyn Fn([u8; 32]) -> Parts + Send + Sync>,
    pub(crate) set: Script,
    pub(crate) recover: Recover,
}

impl Default for Say {
    fn default() -> Self {
        Self {
            manifests: Box::new(|_| Vec::new()),
            set: Box::new(|_| Vec::new()),
            recover: Box::new(|_, _| Err(Status::unimplemented("not in this test"))),
        }
    }
}

struct Scripted(Arc<Say>);

#[tonic::async_trait]
impl User for Scripted {
    type SetManifestStream = Boxed<v1::SetManifestResponse>;
    type GetManifestsStream = Boxed<v1::GetManifestsResponse>;

    async fn get_state(
        &self,
        _: Request<v1::GetStateRequest>,
    ) -> Result<Response<v1::GetStateResponse>, Status> {
        Ok(Response::new(v1::GetStateResponse {
            phase: v1::Phase::Ready.into(),
            ..Default::default()
        }))
    }

    async fn set_manifest(
        &self,
        request: Request<Streaming<v1::SetManifestRequest>>,
    ) -> Result<Response<Self::SetManifestStream>, Status> {
        let say = Arc::clone(&self.0);
        let mut asks = request.into_inner();
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(Ok(message)) = asks.next().await {
                heard.extend(message.step);
                for answer in (say.set)(&heard) {
                    let answer = answer.map(|step| v1::SetManifestResponse { step: Some(step) });
                    let _ = sender.send(answer).await;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_manifests(
        &self,
        request: Request<v1::GetManifestsRequest>,
    ) -> Result<Response<Self::GetManifestsStream>, Status> {
        let nonce = request.into_inner().nonce.try_into().unwrap();
        Ok(Response::new(Box::pin(tokio_stream::iter((self
            .0
            .manifests)(
            nonce
        )))))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let exporter = *Caller::of(&request)?.owner_exporter();
        (self.0.recover)(request.get_ref(), &exporter).map(Response::new)
    }
}

/// A server whose guest has this HOST_DATA.
pub(crate) async fn serve(host_data: PolicyHash, say: Say) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let queue = ReportQueue::new(guest(host_data), 1, 8);
    let acceptor = Arc::new(Acceptor::new(queue, Timeouts::default()));
    let connections = incoming(
        listener,
        acceptor,
        Admission::unattested(),
        Limits::default(),
    );
    let service = UserServer::new(Scripted(Arc::new(say)));
    tokio::spawn(
        server()
            .add_service(service)
            .serve_with_incoming(connections),
    );
    address
}

pub(crate) async fn session(world: &World, address: SocketAddr) -> Result<Session, ClientError> {
    let expectation = Expectation::of(&world.manifest(), NewestLists::default()).unwrap();
    Session::open(
        &address.to_string(),
        &world.trust,
        &expectation,
        Timestamp::now(),
    )
    .await
}

/// A good answer, in pieces of at most this many bytes.
fn parts(world: &World, nonce: [u8; 32], piece: usize) -> Parts {
    let snapshot = world.snapshot(nonce);
    let head = v1::AttestedState {
        transition: snapshot.head.transition.to_vec(),
        manifest: snapshot.head.manifest.to_vec(),
        root_spki: snapshot.head.root_spki,
        mesh_ca: snapshot.head.mesh_ca,
        evidence: snapshot.head.evidence,
        root_ca: snapshot.head.root_ca,
        intermediate_ca: snapshot.head.intermediate_ca,
        objects: u32::try_from(snapshot.objects.len()).unwrap(),
    };
    let mut parts = vec![Part::Head(head)];
    for (key, bytes) in snapshot.objects {
        let count = bytes.len().div_ceil(piece);
        for (index, content) in bytes.chunks(piece).enumerate() {
            parts.push(Part::Object(v1::Object {
                key: key.to_string(),
                content: content.to_vec(),
                last: index + 1 == count,
            }));
        }
    }
    parts
        .into_iter()
        .map(|part| Ok(v1::GetManifestsResponse { part: Some(part) }))
        .collect()
}

#[tokio::test]
async fn the_whole_history_comes_over_the_wire() {
    let world = Arc::new(World::new());
    let from = Arc::clone(&world);
    let say = Say {
        manifests: Box::new(move |nonce| parts(&from, nonce, 1000)),
        ..Say::default()
    };
    let address = serve(world.coordinator, say).await;
    let mut session = session(&world, address).await.unwrap();
    assert_eq!(session.coordinator(), world.coordinator);
    assert_eq!(session.state().await.unwrap().phase, v1::Phase::Ready);
    let mut seen = (0, 0);
    let snapshot = session
        .snapshot(&mut |there, of| seen = (there, of))
        .await
        .unwrap();
    assert_eq!(seen, (world.objects.len(), world.objects.len()));
    let examination = world.examine(&snapshot, None);
    assert!(
        examination.rows.hold(false),
        "{}",
        examination.rows.table(false)
    );
    // Another question has another nonce.
    assert_ne!(
        session.snapshot(&mut |_, _| {}).await.unwrap().nonce,
        snapshot.nonce
    );
}

#[tokio::test]
async fn a_stream_that_is_cut_is_no_answer() {
    let world = Arc::new(World::new());
    let whole = parts(&world, [0; 32], 1000).len();
    for length in [0, 1, 2, whole / 2, whole - 1] {
        let from = Arc::clone(&world);
        let say = Say {
            manifests: Box::new(move |nonce| {
                let mut parts = parts(&from, nonce, 1000);
                parts.truncate(length);
                parts
            }),
            ..Say::default()
        };
        let address = serve(world.coordinator, say).await;
        let mut session = session(&world, address).await.unwrap();
        let error = session.snapshot(&mut |_, _| {}).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable, "{length}: {error}");
        assert!(error.help().unwrap().contains("again"));
    }
}

#[tokio::test]
async fn an_answer_of_a_recording_does_not_fit_the_nonce() {
    let world = Arc::new(World::new());
    let from = Arc::clone(&world);
    let say = Say {
        manifests: Box::new(move |_| parts(&from, [9; 32], 1 << 20)),
        ..Say::default()
    };
    let address = serve(world.coordinator, say).await;
    let mut session = session(&world, address).await.unwrap();
    let snapshot = session.snapshot(&mut |_, _| {}).await.unwrap();
    let examination = world.examine(&snapshot, None);
    let row = examination.rows.get("evidence").unwrap();
    assert_eq!(
        row.code,
        Some(nacre_findings::codes::client::STATE_NOT_PROVEN)
    );
}

#[tokio::test]
async fn another_guest_is_not_talked_to() {
    let world = World::new();
    let address = serve(PolicyHash::of(b"somebody else"), Say::default()).await;
    let error = session(&world, address).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Verification);
    assert_eq!(error.code(), nacre_findings::codes::attest::HOST_DATA);
}

#[tokio::test]
async fn nobody_there_and_somebody_else_there_are_unreachable() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Accepts and hangs up: not a Coordinator.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let error = session(&world, address).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    let [free] = nacre_test_support::free_ports();
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free));
    let error = session(&world, nobody).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert_eq!(error.code(), nacre_findings::codes::client::UNREACHABLE);
}
