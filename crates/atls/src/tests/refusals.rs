//! Refusals: the other end gets a code and nothing else, the log a reason.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Once};

use nacre_attest::{Claims, Evidence, ReportSource, SourceError};
use nacre_sim::Behaviour;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    COORDINATOR, WORKLOAD, acceptor, connector, guest, guest_with, pipe, queue, raw_client,
    raw_server, references, timeouts,
};
use crate::key::OneKey;
use crate::wire::{self, ClientKind, MAX_FRAME, Message};
use crate::{Acceptor, Admission, AppraisalError, Appraise, AtlsError, ReportQueue};

/// What a source says when it fails; nothing for the other end's eyes.
const DETAIL: &str = "/dev/sev-guest: firmware error 0x1f";

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes what each test logs to a log of its own: a test has one thread.
fn logged() -> String {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false);
        let log = log.with_max_level(tracing::Level::WARN);
        let log = log.with_writer(|| Log).finish();
        tracing::subscriber::set_global_default(log).unwrap();
    });
    String::from_utf8(LOG.take()).unwrap()
}

/// What the other end says until it is silent: one frame that holds a code.
async fn only_a_code(tls: &mut (impl AsyncRead + Unpin), code: u8) {
    let mut said = Vec::new();
    tls.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, [0, 0, 0, 3, 6, 0, code]);
}

/// The one line of the log.
fn only_line(reason: &str) {
    let log = logged();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("attested TLS refused"), "{log}");
    assert!(log.contains(&format!("reason={reason}")), "{log}");
}

struct Failing;

impl ReportSource for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn evidence(&self, _: &[u8; 64]) -> Result<Evidence, SourceError> {
        Err(SourceError::Firmware {
            detail: DETAIL.to_owned(),
        })
    }
}

struct NotReady;

impl Appraise for NotReady {
    fn appraise(&self, _: &Evidence, _: [u8; 64]) -> Result<Claims, AppraisalError> {
        Err(AppraisalError::NotReady)
    }
}

fn failing() -> ReportQueue {
    ReportQueue::new(Arc::new(Failing), 1, 8)
}

fn busy() -> ReportQueue {
    let behaviour = Behaviour {
        busy: u32::MAX,
        ..Behaviour::default()
    };
    ReportQueue::new(Arc::new(guest_with(COORDINATOR, behaviour)), 1, 8)
}

/// Evidence of a workload that is bound to nothing.
fn unbound() -> Evidence {
    guest(WORKLOAD).evidence(&[0; 64]).unwrap()
}

/// A client that says it is a workload, then sends `second` to a server with evidence, and gets `code`.
async fn refused_client(
    queue: ReportQueue,
    appraise: Arc<dyn Appraise>,
    second: Option<Message>,
    code: u8,
) -> AtlsError {
    let acceptor = Acceptor::new(queue, timeouts());
    let (near, far) = pipe();
    let workloads = Admission::attested(ClientKind::Workload, appraise).unwrap();
    let (server, ()) = tokio::join!(acceptor.admit_at(far, &workloads, || None::<()>), async {
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        let hello = Message::ClientHello {
            nonce: [1; 32],
            kind: ClientKind::Workload,
        };
        wire::write(&mut tls, &hello).await.unwrap();
        if let Some(second) = second {
            wire::read(&mut tls, MAX_FRAME).await.unwrap();
            wire::write(&mut tls, &second).await.unwrap();
        }
        only_a_code(&mut tls, code).await;
    });
    server.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_client_learns_a_code_and_the_servers_log_the_reason() {
    logged();
    let workloads = || Arc::new(references(WORKLOAD));
    let evidence = || {
        Some(Message::ClientEvidence {
            evidence: unbound(),
        })
    };
    refused_client(queue(COORDINATOR), workloads(), Some(Message::Accept), 1).await;
    only_line("client evidence was awaited, acceptance came");

    let error = refused_client(queue(COORDINATOR), workloads(), evidence(), 2).await;
    let AtlsError::Evidence(AppraisalError::Rejected(rejection)) = error else {
        panic!("{error:?}")
    };
    only_line(&format!(
        "the other end's evidence is not accepted: {rejection}"
    ));
    // Which check, and what was found.
    let rejection = rejection.to_string();
    assert!(rejection.starts_with("NCR"), "{rejection}");
    assert!(rejection.contains(&"00".repeat(64)), "{rejection}");

    refused_client(busy(), workloads(), None, 4).await;
    only_line("no evidence about this end: ");
    refused_client(failing(), workloads(), None, 5).await;
    let log = logged();
    assert!(log.contains(DETAIL), "{log}");
    refused_client(queue(COORDINATOR), Arc::new(NotReady), evidence(), 6).await;
    only_line("the other end's evidence is not accepted: no manifest is in force");
}

#[tokio::test]
async fn clients_of_another_kind_learn_a_code() {
    logged();
    let (near, far) = pipe();
    let acceptor = acceptor();
    let (server, ()) = tokio::join!(acceptor.accept_unattested(far), async {
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        let hello = Message::ClientHello {
            nonce: [1; 32],
            kind: ClientKind::Workload,
        };
        wire::write(&mut tls, &hello).await.unwrap();
        only_a_code(&mut tls, 3).await;
    });
    assert!(matches!(server, Err(AtlsError::Kind)));
    only_line("this kind of client is not served here");
}

#[tokio::test]
async fn a_client_without_a_place_learns_a_code_and_is_never_told_that_it_is_accepted() {
    logged();
    let (near, far) = pipe();
    let acceptor = acceptor();
    let anybody = Admission::unattested();
    let (server, ()) = tokio::join!(acceptor.admit_at(far, &anybody, || None::<()>), async {
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        let hello = Message::ClientHello {
            nonce: [1; 32],
            kind: ClientKind::Unattested,
        };
        wire::write(&mut tls, &hello).await.unwrap();
        wire::read(&mut tls, MAX_FRAME).await.unwrap();
        wire::write(&mut tls, &Message::ClientUnattested)
            .await
            .unwrap();
        only_a_code(&mut tls, 4).await;
    });
    assert!(matches!(server, Err(AtlsError::Full)));
    only_line("no place for another connection of this client's address");
}

#[tokio::test]
async fn a_client_that_is_refused_is_asked_for_no_place() {
    let (near, far) = pipe();
    let acceptor = acceptor();
    let others = Arc::new(references([9; 32]));
    let admission = Admission::attested(ClientKind::Workload, others).unwrap();
    let (connector, queue, coordinators) = (connector(), queue(WORKLOAD), references(COORDINATOR));
    let place = || -> Option<()> { panic!("a place for whoever is refused") };
    let (server, client) = tokio::join!(
        acceptor.admit_at(far, &admission, place),
        connector.connect_attested(near, ClientKind::Workload, &queue, &coordinators),
    );
    assert!(matches!(server, Err(AtlsError::Evidence(_))));
    assert!(matches!(client, Err(AtlsError::Refused(_))));
}

/// A server that answers a workload's hello with `message` and gets `code`.
async fn refused_server(queue: ReportQueue, message: Message, code: u8) -> AtlsError {
    let (near, far) = pipe();
    let connector = connector();
    let appraise = super::timeouts::Unbound;
    let (client, ()) = tokio::join!(
        connector.connect_attested(near, ClientKind::Workload, &queue, &appraise),
        async {
            let mut tls = raw_server(far, &OneKey::generate().unwrap()).await;
            wire::read(&mut tls, MAX_FRAME).await.unwrap();
            wire::write(&mut tls, &message).await.unwrap();
            only_a_code(&mut tls, code).await;
        }
    );
    client.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_server_learns_a_code_and_the_clients_log_the_reason() {
    logged();
    let server = |host_data| Message::ServerEvidence {
        nonce: [2; 32],
        evidence: guest(host_data).evidence(&[0; 64]).unwrap(),
    };
    refused_server(queue(WORKLOAD), Message::Accept, 1).await;
    only_line("server evidence was awaited, acceptance came");
    let error = refused_server(queue(WORKLOAD), server([0x66; 32]), 2).await;
    let AtlsError::Evidence(AppraisalError::Rejected(rejection)) = error else {
        panic!("{error:?}")
    };
    only_line(&format!(
        "the other end's evidence is not accepted: {rejection}"
    ));
    refused_server(busy(), server(COORDINATOR), 4).await;
    only_line("no evidence about this end: ");
    refused_server(failing(), server(COORDINATOR), 5).await;
    let log = logged();
    assert!(log.contains(DETAIL), "{log}");
}
