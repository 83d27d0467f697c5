//! Who leaves while reports are made, or speaks out of turn.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use nacre_attest::SourceError;
use tokio::io::{BufReader, DuplexStream};
use tokio_rustls::client::TlsStream;

use super::attacks::is_refusal;
use super::exchange::{Held, Opens};
use super::timeouts::Unbound;
use super::{COORDINATOR, connector, guest, pipe, raw_client, raw_server, timeouts};
use crate::key::OneKey;
use crate::steps::own_evidence;
use crate::wire::{self, ClientKind, MAX_FRAME, Message, Refusal};
use crate::{Acceptor, AtlsError, ReportQueue, Unattested};

type Served = Result<Unattested<tokio_rustls::server::TlsStream<DuplexStream>>, AtlsError>;

/// A server whose source makes one report at a time, and none before it is told to.
struct Slow {
    acceptor: Arc<Acceptor>,
    queue: ReportQueue,
    held: Arc<Held>,
    _opens: Opens,
}

impl Slow {
    fn new() -> Self {
        let held = Arc::new(Held::default());
        let queue = ReportQueue::new(held.clone(), 1, 8);
        Self {
            acceptor: Arc::new(Acceptor::new(queue.clone(), timeouts())),
            queue,
            _opens: Opens(Arc::clone(&held)),
            held,
        }
    }

    /// A client whose turn it will be as the `number`th.
    async fn client(
        &self,
        number: usize,
    ) -> (TlsStream<DuplexStream>, tokio::task::JoinHandle<Served>) {
        let (near, far) = pipe();
        let acceptor = Arc::clone(&self.acceptor);
        let served = tokio::spawn(async move { acceptor.accept_unattested(far).await });
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        let hello = Message::ClientHello {
            nonce: [1; 32],
            kind: ClientKind::Unattested,
        };
        wire::write(&mut tls, &hello).await.unwrap();
        while self.queue.waiting() < number {
            tokio::task::yield_now().await;
        }
        (tls, served)
    }

    /// The first at the source gets what the source says: that it is held.
    async fn ends(&self, first: tokio::task::JoinHandle<Served>) {
        self.held.open();
        let first = first.await.unwrap();
        assert!(
            matches!(first, Err(AtlsError::Source(SourceError::Firmware { .. }))),
            "{first:?}"
        );
        assert_eq!(self.queue.waiting(), 0);
    }
}

#[tokio::test]
async fn who_leaves_before_its_turn_costs_no_report() {
    let slow = Slow::new();
    let (_first, served) = slow.client(1).await;
    slow.held.is_asked(1).await;
    let (second, left) = slow.client(2).await;
    drop(second);
    // At once, while the source is busy with the first.
    assert!(matches!(left.await.unwrap(), Err(AtlsError::Gone)));
    assert_eq!(slow.queue.waiting(), 1);
    slow.ends(served).await;
    assert_eq!(slow.held.asked(), 1);
}

/// Goes on until it has to wait.
async fn waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

#[tokio::test]
async fn who_leaves_at_the_moment_its_turn_comes_costs_no_report() {
    let slow = Slow::new();
    let mut first = Box::pin(slow.queue.evidence([1; 64]));
    assert!(waits(&mut first).await);
    slow.held.is_asked(1).await;
    let (near, far) = pipe();
    let mut far = BufReader::new(far);
    let second = own_evidence(&mut far, &slow.queue, [2; 64], timeouts());
    let mut second = Box::pin(second);
    assert!(waits(&mut second).await);
    assert_eq!(slow.queue.waiting(), 2);
    drop(near);
    slow.held.open();
    first.await.unwrap_err();
    // Now it is the turn of the second, and there is nobody to have it.
    assert!(matches!(second.await, Err(AtlsError::Gone)));
    assert_eq!((slow.held.asked(), slow.queue.waiting()), (1, 0));
}

#[tokio::test]
async fn who_speaks_before_its_turn_costs_no_report() {
    let slow = Slow::new();
    let (_first, served) = slow.client(1).await;
    slow.held.is_asked(1).await;
    let (mut second, left) = slow.client(2).await;
    wire::write(&mut second, &Message::Refusal(Refusal::Internal))
        .await
        .unwrap();
    assert!(matches!(
        left.await.unwrap(),
        Err(AtlsError::Refused(Refusal::Internal))
    ));
    let (mut third, early) = slow.client(2).await;
    wire::write(&mut third, &Message::ClientUnattested)
        .await
        .unwrap();
    assert!(is_refusal(
        wire::read(&mut third, MAX_FRAME).await,
        Refusal::Protocol
    ));
    assert!(matches!(
        early.await.unwrap(),
        Err(AtlsError::Unexpected {
            actual: "client without evidence",
            ..
        })
    ));
    assert_eq!(slow.queue.waiting(), 1);
    slow.ends(served).await;
    assert_eq!(slow.held.asked(), 1);
}

#[tokio::test]
async fn a_client_does_not_wait_for_a_report_that_nobody_wants() {
    let held = Arc::new(Held::default());
    let _opens = Opens(Arc::clone(&held));
    let queue = ReportQueue::new(held.clone(), 1, 8);
    let (near, far) = pipe();
    let connector = connector();
    let (client, ()) = tokio::join!(
        connector.connect_attested(near, ClientKind::Workload, &queue, &Unbound),
        async {
            let mut tls = raw_server(far, &OneKey::generate().unwrap()).await;
            wire::read(&mut tls, MAX_FRAME).await.unwrap();
            let message = Message::ServerEvidence {
                nonce: [2; 32],
                evidence: guest(COORDINATOR).evidence(&[0; 64]).unwrap(),
            };
            wire::write(&mut tls, &message).await.unwrap();
            held.is_asked(1).await;
        }
    );
    assert!(matches!(client, Err(AtlsError::Gone)), "{client:?}");
}
