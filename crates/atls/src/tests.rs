//! Both ends over real TLS and the real verifier, on a simulated platform.

mod attacks;
mod crowd;
mod exchange;
mod grpc;
mod leaving;
mod lists;
mod refusals;
mod relay;
mod timeouts;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nacre_attest::{Evidence, Policy, Product, ReportSource, Timestamp};
use nacre_sim::{Behaviour, Machine, MachineSpec, Pki, ReportSpec, SimulatedGuest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::binding::{Connection, EXPORTER_LABEL, Role};
use crate::key::OneKey;
use crate::tls::{client_config, server_config, server_name};
use crate::wire::ClientKind;
use crate::{Acceptor, AtlsError, Connector, References, ReportQueue, Timeouts};

const COORDINATOR: [u8; 32] = [0xc0; 32];
const WORKLOAD: [u8; 32] = [0x30; 32];

fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

fn guest_with(host_data: [u8; 32], behaviour: Behaviour) -> SimulatedGuest {
    let machine = Machine::new(pki()).unwrap();
    let report = ReportSpec {
        host_data,
        ..machine.report()
    };
    SimulatedGuest::with(machine, report, pki().crl().unwrap(), behaviour)
}

fn guest(host_data: [u8; 32]) -> Arc<dyn ReportSource> {
    Arc::new(guest_with(host_data, Behaviour::default()))
}

fn queue(host_data: [u8; 32]) -> ReportQueue {
    ReportQueue::new(guest(host_data), 1, 8)
}

/// Accepts evidence of guests with this policy hash.
fn references(host_data: [u8; 32]) -> References {
    let machine = MachineSpec::new(Product::Genoa);
    let report = ReportSpec::new(Product::Genoa, &machine);
    References::new(
        Arc::new(pki().verifier().unwrap()),
        vec![Policy::new(Product::Genoa, [report.measurement])],
        BTreeSet::from([host_data]),
        Timestamp(0),
    )
}

/// Longer than anything takes that goes on, and different for each step. Where they are to pass, the clock is
/// not the machine's.
fn timeouts() -> Timeouts {
    Timeouts {
        handshake: Duration::from_secs(60),
        message: Duration::from_secs(70),
        report: Duration::from_secs(80),
    }
}

/// While it lives, a paused clock moves when it is told to and at no other time: the runtime passes over no
/// time while something blocks.
struct Still {
    _until: std::sync::mpsc::Sender<()>,
}

impl Still {
    fn new() -> Self {
        let (_until, dropped) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || dropped.recv());
        Self { _until }
    }
}

fn acceptor() -> Acceptor {
    Acceptor::new(queue(COORDINATOR), timeouts())
}

fn connector() -> Connector {
    Connector::new(timeouts())
}

fn pipe() -> (tokio::io::DuplexStream, tokio::io::DuplexStream) {
    tokio::io::duplex(1 << 20)
}

/// A client that does TLS as it should and then whatever the test says.
async fn raw_client<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    key: &OneKey,
) -> client::TlsStream<S> {
    let connector = TlsConnector::from(client_config(key).unwrap());
    connector.connect(server_name(), stream).await.unwrap()
}

/// A server that does TLS as it should and then whatever the test says.
async fn raw_server<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    key: &OneKey,
) -> server::TlsStream<S> {
    TlsAcceptor::from(server_config(key).unwrap())
        .accept(stream)
        .await
        .unwrap()
}

/// What a client on this session knows of the connection.
fn client_view<S>(
    tls: &client::TlsStream<S>,
    key: &OneKey,
    nonce_client: [u8; 32],
    nonce_server: [u8; 32],
) -> Connection {
    let (_, session) = tls.get_ref();
    Connection {
        server_spki: session.peer_certificates().unwrap()[0].to_vec(),
        client_spki: key.spki.clone(),
        nonce_client,
        nonce_server,
        exporter: session
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))
            .unwrap(),
    }
}

fn evidence_for(host_data: [u8; 32], connection: &Connection, role: Role) -> Evidence {
    guest(host_data)
        .evidence(&connection.report_data(role))
        .unwrap()
}

/// The check that refused the other end's evidence.
fn refused_by(error: &AtlsError) -> Option<nacre_attest::CheckId> {
    match error {
        AtlsError::Evidence(crate::AppraisalError::Rejected(rejection)) => {
            rejection.reason().map(|check| check.id)
        }
        _ => None,
    }
}

const WORKLOAD_ROLE: Role = Role::Client(ClientKind::Workload);
