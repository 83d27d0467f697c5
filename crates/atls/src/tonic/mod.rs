//! gRPC over attested connections, on both sides.
//!
//! # A client
//!
//! [`connect`] opens one connection, exchanges evidence and gives a [`Link`]: a channel for tonic's clients
//! and what the server has proven. A link is that one connection. It is never replaced behind its user's
//! back, because another connection might end elsewhere: when it breaks, requests fail with `Unavailable`
//! and the user connects again.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use nacre_atls::{Appraise, Connector};
//! # use nacre_atls::tonic::{Own, connect};
//! # async fn owner(appraise: Arc<dyn Appraise>, digest: [u8; 32]) -> Result<(), nacre_atls::AtlsError> {
//! let own = Own::Unattested; // a workload says Own::Attested { kind, queue }
//! let link = connect("coordinator:1313", &Connector::default(), own, appraise.as_ref()).await?;
//! println!("the server runs {:?}", link.server().claims().host_data);
//! // what an online owner key signs, beside the request:
//! let message = link.owner_request("SetManifest", &digest);
//! // let client = UserClient::new(link.channel());
//! # Ok(()) }
//! ```
//!
//! # A server
//!
//! [`incoming`] accepts, exchanges evidence, many connections at once and each within its time, and hands
//! out those that are accepted. A handler asks [`Caller::of`] who calls.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use nacre_atls::{Acceptor, Admission, Appraise, ClientKind};
//! # use nacre_atls::tonic::{Caller, Limits, incoming, server};
//! # async fn mesh<S>(acceptor: Acceptor, workloads: Arc<dyn Appraise>, peers: Arc<dyn Appraise>,
//! #     service: S, stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>>
//! # where S: tower::Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>,
//! #     Error = std::convert::Infallible> + tonic::server::NamedService + Clone + Send + Sync + 'static,
//! #     S::Future: Send + 'static {
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:7777").await?;
//! let admission = Admission::attested(ClientKind::Workload, workloads)?
//!     .and_attested(ClientKind::Coordinator, peers)?;
//! let connections = incoming(listener, Arc::new(acceptor), admission, Limits::default());
//! server().add_service(service).serve_with_incoming_shutdown(connections, stop).await?;
//! # Ok(()) }
//!
//! fn handler(request: tonic::Request<()>) -> Result<(), tonic::Status> {
//!     let caller = Caller::of(&request)?;
//!     let workload = caller.attested(ClientKind::Workload)?; // PermissionDenied for anybody else
//!     println!("{} runs {:?}", caller.remote(), workload.claims().host_data);
//!     Ok(())
//! }
//! ```
//!
//! An appraiser is asked anew for each connection, so it may follow the manifest that is in force. What was
//! accepted stays so for the life of the connection: a handler that hands out something precious compares
//! [`AttestedPeer::claims`](crate::AttestedPeer::claims) with the manifest of its own moment.

mod caller;
mod channel;
mod gather;
mod incoming;
mod link;
mod open;

pub use caller::{Caller, Peer};
pub use channel::Channel;
pub use incoming::{Conn, GrpcRouter, GrpcServer, Incoming, Limits, Listen, incoming, server};
pub use link::{Link, Own, connect, over};
pub use open::{CountOpen, Counted};
