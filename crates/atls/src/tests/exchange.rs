//! The exchange as it should be, and its limits.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nacre_attest::{CheckId, Evidence, ReportSource, SourceError};
use nacre_sim::Behaviour;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{
    COORDINATOR, WORKLOAD, acceptor, connector, guest_with, pipe, queue, references, refused_by,
    timeouts,
};
use crate::key::OneKey;
use crate::tls::{client_config, server_config};
use crate::wire::{ClientKind, Refusal};
use crate::{Acceptor, AtlsError, ReportQueue, dial};

#[tokio::test]
async fn both_ends_attested() {
    let (near, far) = pipe();
    let (workloads, coordinators) = (references(WORKLOAD), references(COORDINATOR));
    let (acceptor, connector, queue) = (acceptor(), connector(), queue(WORKLOAD));
    let (server, client) = tokio::join!(
        acceptor.accept_attested(far, ClientKind::Workload, &workloads),
        connector.connect_attested(near, ClientKind::Workload, &queue, &coordinators),
    );
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    assert_eq!(server.claims().host_data, WORKLOAD);
    assert_eq!(client.claims().host_data, COORDINATOR);
    assert_eq!(
        (server.kind(), client.kind()),
        (Some(ClientKind::Workload), None)
    );
    assert_eq!(server.owner_exporter(), client.owner_exporter());
    assert_ne!(server.peer_spki(), client.peer_spki());
    client.write_all(b"PRI * HTTP/2.0").await.unwrap();
    client.flush().await.unwrap();
    let mut first = [0; 14];
    server.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"PRI * HTTP/2.0");
}

#[tokio::test]
async fn an_owner_brings_no_evidence_and_gets_another_type() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (acceptor, connector, coordinators) = (acceptor(), connector(), references(COORDINATOR));
    let (server, client) = tokio::join!(
        async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept_unattested(stream).await
        },
        async {
            let stream = dial(&address, timeouts().handshake).await.unwrap();
            assert!(stream.nodelay().unwrap());
            connector.connect_unattested(stream, &coordinators).await
        },
    );
    let server: crate::Unattested<_> = server.unwrap();
    assert_eq!(server.owner_exporter(), client.unwrap().owner_exporter());
}

#[tokio::test]
async fn keys_and_exporters_are_new_on_each_connection() {
    // One of each, for all connections.
    let (acceptor, connector, coordinators) = (acceptor(), connector(), references(COORDINATOR));
    let (workloads, queue) = (references(WORKLOAD), queue(WORKLOAD));
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let (near, far) = pipe();
        let (server, client) = tokio::join!(
            acceptor.accept_attested(far, ClientKind::Workload, &workloads),
            connector.connect_attested(near, ClientKind::Workload, &queue, &coordinators),
        );
        let (server, client) = (server.unwrap(), client.unwrap());
        seen.insert(client.peer_spki().to_vec());
        seen.insert(server.peer_spki().to_vec());
        seen.insert(client.owner_exporter().to_vec());
    }
    assert_eq!(seen.len(), 9);
}

#[test]
fn configurations_are_new_for_each_key() {
    let keys = [(); 2].map(|()| OneKey::generate().unwrap());
    let servers = keys.each_ref().map(|key| server_config(key).unwrap());
    let clients = keys.each_ref().map(|key| client_config(key).unwrap());
    assert!(!Arc::ptr_eq(&servers[0], &servers[1]));
    assert!(!Arc::ptr_eq(&clients[0], &clients[1]));
    let [one, other] = servers.map(|config| Arc::clone(&config.cert_resolver));
    assert!(!Arc::ptr_eq(&one, &other));
    let [one, other] = clients.map(|config| Arc::clone(&config.client_auth_cert_resolver));
    assert!(!Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn a_client_without_evidence_is_no_workload_and_the_other_way_round() {
    let (acceptor, connector, coordinators) = (acceptor(), connector(), references(COORDINATOR));
    let (near, far) = pipe();
    let workloads = references(WORKLOAD);
    let (server, client) = tokio::join!(
        acceptor.accept_attested(far, ClientKind::Workload, &workloads),
        connector.connect_unattested(near, &coordinators),
    );
    assert!(matches!(server, Err(AtlsError::Kind)));
    assert!(matches!(client, Err(AtlsError::Refused(Refusal::Kind))));

    let (near, far) = pipe();
    let queue = queue(WORKLOAD);
    let (server, client) = tokio::join!(
        acceptor.accept_unattested(far),
        connector.connect_attested(near, ClientKind::Workload, &queue, &coordinators),
    );
    assert!(matches!(server, Err(AtlsError::Kind)));
    assert!(matches!(client, Err(AtlsError::Refused(Refusal::Kind))));

    // Nor can a server ask for attested clients of the kind that brings nothing.
    let (_near, far) = pipe();
    let server = acceptor
        .accept_attested(far, ClientKind::Unattested, &workloads)
        .await;
    assert!(matches!(server, Err(AtlsError::Kind)));
}

#[tokio::test]
async fn a_client_is_connected_only_after_acceptance() {
    let (acceptor, connector, coordinators) = (acceptor(), connector(), references(COORDINATOR));
    let (near, far) = pipe();
    let (others, queue) = (references([9; 32]), queue(WORKLOAD));
    let (server, client) = tokio::join!(
        acceptor.accept_attested(far, ClientKind::Workload, &others),
        connector.connect_attested(near, ClientKind::Workload, &queue, &coordinators),
    );
    assert_eq!(refused_by(&server.unwrap_err()), Some(CheckId::HostData));
    assert!(matches!(client, Err(AtlsError::Refused(Refusal::Evidence))));
}

#[tokio::test]
async fn a_server_learns_that_its_evidence_was_refused() {
    let (acceptor, connector, others) = (acceptor(), connector(), references([9; 32]));
    let (near, far) = pipe();
    let (server, client) = tokio::join!(
        acceptor.accept_unattested(far),
        connector.connect_unattested(near, &others),
    );
    assert_eq!(refused_by(&client.unwrap_err()), Some(CheckId::HostData));
    assert!(matches!(server, Err(AtlsError::Refused(Refusal::Evidence))));
}

#[tokio::test(start_paused = true)]
async fn busy_firmware_is_asked_again_and_then_said_so() {
    let busy = |busy| {
        let behaviour = Behaviour {
            serial: true,
            delay: Duration::from_millis(20),
            busy,
        };
        let queue = ReportQueue::new(Arc::new(guest_with(COORDINATOR, behaviour)), 1, 8);
        Acceptor::new(queue, timeouts())
    };
    let (connector, coordinators) = (connector(), references(COORDINATOR));
    let (near, far) = pipe();
    let patient = busy(4);
    let (server, client) = tokio::join!(
        patient.accept_unattested(far),
        connector.connect_unattested(near, &coordinators),
    );
    assert!(server.is_ok() && client.is_ok());
    let (near, far) = pipe();
    let hopeless = busy(1000);
    let (server, client) = tokio::join!(
        hopeless.accept_unattested(far),
        connector.connect_unattested(near, &coordinators),
    );
    assert!(matches!(server, Err(AtlsError::Source(SourceError::Busy))));
    assert!(matches!(client, Err(AtlsError::Refused(Refusal::Busy))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_one_port_does_not_starve_another() {
    let behaviour = Behaviour {
        serial: true,
        ..Behaviour::default()
    };
    let source: Arc<dyn ReportSource> = Arc::new(guest_with(COORDINATOR, behaviour));
    let mesh = Arc::new(ReportQueue::new(source.clone(), 2, 1000));
    let user = Arc::new(ReportQueue::new(source, 1, 4));
    let ask = |queue: &Arc<ReportQueue>, count: usize| {
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let queue = Arc::clone(queue);
                tokio::spawn(async move { queue.evidence([1; 64]).await.is_ok() })
            })
            .collect();
        async move {
            let mut served = 0;
            for task in tasks {
                served += usize::from(task.await.unwrap());
            }
            served
        }
    };
    let (flood, initializers) = tokio::join!(ask(&user, 2000), ask(&mesh, 1000));
    assert_eq!(initializers, 1000);
    assert!(flood < 2000, "{flood} of the flood were served");
}

/// Answers when it is told to, and counts who asks.
#[derive(Debug, Default)]
pub(super) struct Held {
    asked: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Held {
    pub(super) fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Until so many have asked.
    pub(super) async fn is_asked(&self, times: usize) {
        while self.asked() < times {
            tokio::task::yield_now().await;
        }
    }
}

/// Opens it when a test ends, however it does: the runtime waits for whoever is held.
pub(super) struct Opens(pub(super) Arc<Held>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl ReportSource for Held {
    fn name(&self) -> &'static str {
        "held"
    }

    fn evidence(&self, _: &[u8; 64]) -> Result<Evidence, SourceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
        Err(SourceError::Firmware {
            detail: "held".to_owned(),
        })
    }
}

#[tokio::test]
async fn who_stops_waiting_does_not_make_room_at_the_source() {
    let held = Arc::new(Held::default());
    let _opens = Opens(Arc::clone(&held));
    let queue = Arc::new(ReportQueue::new(held.clone(), 1, 1));
    let ask = || {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.evidence([1; 64]).await })
    };
    let first = ask();
    held.is_asked(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    // The source is still busy with it: one more may wait, the next is sent away.
    let second = ask();
    while queue.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(ask().await.unwrap(), Err(SourceError::Busy)));
    assert_eq!(held.asked(), 1);
    held.open();
    let answer = second.await.unwrap();
    assert!(
        matches!(answer, Err(SourceError::Firmware { .. })),
        "{answer:?}"
    );
    assert_eq!(held.asked(), 2);
}
