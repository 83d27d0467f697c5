//! Each step has its time, whichever end stops and wherever. The clock passes over what nobody is busy with, so
//! nothing here depends on how fast the machine is.

use std::sync::Arc;
use std::time::Duration;

use nacre_attest::Evidence;
use tokio::io::{AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::exchange::{Held, Opens};
use super::{
    COORDINATOR, WORKLOAD, acceptor, connector, guest, queue, raw_client, raw_server, references,
    timeouts,
};
use crate::key::OneKey;
use crate::wire::{self, ClientKind, MAX_FRAME, Message, Refusal};
use crate::{Acceptor, Admission, AppraisalError, Appraise, AtlsError, ReportQueue, dial};

/// Holds everything that is sent.
const WIDE: usize = 1 << 20;
/// Holds less than any message: who writes to an end that does not read is stuck.
const NARROW: usize = 16;

/// The last thing an end does before it neither reads nor writes any more.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Last {
    Nothing,
    Tls,
    Hello,
    ServerEvidence,
    ClientMessage,
}

use Last::{ClientMessage, Hello, Nothing, ServerEvidence, Tls};

/// The step that took too long, and its limit. It ends then, but for the refusal: two more waits at most.
async fn step<T: std::fmt::Debug>(
    what: impl Future<Output = Result<T, AtlsError>>,
) -> (&'static str, Duration) {
    let began = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(3600), what).await;
    match ended.expect("the step has a limit") {
        Err(AtlsError::Timeout { step, limit }) => {
            let took = began.elapsed();
            let most = limit + 2 * timeouts().message + Duration::from_millis(10);
            assert!(limit <= took && took <= most, "{step}: {took:?}");
            (step, limit)
        }
        other => panic!("{other:?}"),
    }
}

/// A client of the kind that stops after `last`.
async fn client(stream: &mut DuplexStream, kind: ClientKind, last: Last) {
    if last < Tls {
        return;
    }
    let mut tls = raw_client(stream, &OneKey::generate().unwrap()).await;
    let nonce = [1; 32];
    if last >= Hello {
        let hello = Message::ClientHello { nonce, kind };
        wire::write(&mut tls, &hello).await.unwrap();
    }
    if last >= ServerEvidence {
        wire::read(&mut tls, MAX_FRAME).await.unwrap();
    }
    if last >= ClientMessage {
        wire::write(&mut tls, &Message::ClientUnattested)
            .await
            .unwrap();
    }
}

/// A server that stops after `last`. Its evidence is right in itself and bound to nothing.
async fn server(stream: &mut DuplexStream, last: Last) {
    if last < Tls {
        return;
    }
    let mut tls = raw_server(stream, &OneKey::generate().unwrap()).await;
    if last >= Hello {
        wire::read(&mut tls, MAX_FRAME).await.unwrap();
    }
    if last >= ServerEvidence {
        wire::write(&mut tls, &some_evidence()).await.unwrap();
    }
    if last >= ClientMessage {
        wire::read(&mut tls, MAX_FRAME).await.unwrap();
    }
}

fn some_evidence() -> Message {
    Message::ServerEvidence {
        nonce: [2; 32],
        evidence: guest(COORDINATOR).evidence(&[0; 64]).unwrap(),
    }
}

/// Accepts what is genuine, whatever connection it is bound to.
pub(super) struct Unbound;

impl Appraise for Unbound {
    fn appraise(
        &self,
        evidence: &Evidence,
        _: [u8; 64],
    ) -> Result<nacre_attest::Claims, AppraisalError> {
        let report = nacre_attest::Report::parse(&evidence.report).unwrap();
        references(COORDINATOR).appraise(evidence, report.report_data)
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_waits_for_no_client_longer_than_it_may() {
    const KIND: ClientKind = ClientKind::Workload;
    const OWNER: ClientKind = ClientKind::Unattested;
    let admission = Admission::attested(KIND, Arc::new(references(WORKLOAD))).unwrap();
    let admission = admission.and_unattested();
    let acceptor = acceptor();
    let limits = timeouts();
    for (kind, last, pipe, expected, limit) in [
        (KIND, Nothing, WIDE, "TLS handshake", limits.handshake),
        (KIND, Tls, WIDE, "client hello", limits.message),
        (KIND, Hello, NARROW, "server evidence", limits.message),
        (
            KIND,
            ServerEvidence,
            WIDE,
            "client evidence",
            limits.message,
        ),
        (
            OWNER,
            ServerEvidence,
            WIDE,
            "client without evidence",
            limits.message,
        ),
        (OWNER, ClientMessage, NARROW, "acceptance", limits.message),
    ] {
        let (mut near, far) = tokio::io::duplex(pipe);
        let (slow, ()) = tokio::join!(
            step(acceptor.accept(far, &admission)),
            client(&mut near, kind, last)
        );
        assert_eq!(slow, (expected, limit), "{kind:?} {last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_no_server_longer_than_it_may() {
    let (connector, queue) = (connector(), queue(WORKLOAD));
    let limits = timeouts();
    for (last, pipe, expected, limit) in [
        (Nothing, NARROW, "TLS handshake", limits.handshake),
        (Nothing, WIDE, "TLS handshake", limits.handshake),
        (Tls, NARROW, "client hello", limits.message),
        (Tls, WIDE, "server evidence", limits.message),
        (Hello, WIDE, "server evidence", limits.message),
        (ServerEvidence, NARROW, "client evidence", limits.message),
        (ServerEvidence, WIDE, "acceptance", limits.message),
        (ClientMessage, WIDE, "acceptance", limits.message),
    ] {
        let (near, mut far) = tokio::io::duplex(pipe);
        let connecting = connector.connect_attested(near, ClientKind::Workload, &queue, &Unbound);
        let (slow, ()) = tokio::join!(step(connecting), server(&mut far, last));
        assert_eq!(slow, (expected, limit), "{last:?}");
    }
}

/// Sends one byte after the other, each soon enough if it had a limit of its own, until nobody listens.
async fn dribble(stream: &mut (impl AsyncWrite + Unpin), bytes: impl IntoIterator<Item = u8>) {
    for byte in bytes {
        if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    panic!("somebody listened to the end");
}

#[tokio::test(start_paused = true)]
async fn the_limits_are_for_whole_messages() {
    let limits = timeouts();
    // The head of a ClientHello of 512 bytes.
    let handshake = || {
        [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]
            .into_iter()
            .chain([7; 501])
    };
    let (mut near, far) = tokio::io::duplex(WIDE);
    let acceptor = acceptor();
    let (slow, ()) = tokio::join!(
        step(acceptor.accept_unattested(far)),
        dribble(&mut near, handshake())
    );
    assert_eq!(slow, ("TLS handshake", limits.handshake));

    let (near, far) = tokio::io::duplex(WIDE);
    let (slow, ()) = tokio::join!(step(acceptor.accept_unattested(far)), async {
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        let hello = [0, 0, 0, 34, 1].into_iter().chain([7; 33]);
        dribble(&mut tls, hello).await;
    });
    assert_eq!(slow, ("client hello", limits.message));

    let (near, far) = tokio::io::duplex(WIDE);
    let connector = connector();
    let (slow, ()) = tokio::join!(step(connector.connect_unattested(near, &Unbound)), async {
        let mut tls = raw_server(far, &OneKey::generate().unwrap()).await;
        wire::read(&mut tls, MAX_FRAME).await.unwrap();
        let mut frame = Vec::new();
        wire::write(&mut frame, &some_evidence()).await.unwrap();
        dribble(&mut tls, frame).await;
    });
    assert_eq!(slow, ("server evidence", limits.message));
}

#[tokio::test(start_paused = true)]
async fn no_end_waits_longer_for_a_report_of_its_own_than_it_may() {
    let limit = timeouts().report;
    let held = Arc::new(Held::default());
    let _opens = Opens(Arc::clone(&held));
    let never = ReportQueue::new(held.clone(), 2, 8);
    // The clock stands while a source is busy.
    let passes = async |asked| {
        held.is_asked(asked).await;
        tokio::time::advance(limit).await;
    };
    let connector = connector();
    let (near, mut far) = tokio::io::duplex(WIDE);
    let connecting = connector.connect_attested(near, ClientKind::Workload, &never, &Unbound);
    let (slow, (), ()) = tokio::join!(
        step(connecting),
        server(&mut far, ServerEvidence),
        passes(1)
    );
    assert_eq!(slow, ("report", limit));
    let acceptor = Acceptor::new(never, timeouts());
    let (mut near, far) = tokio::io::duplex(WIDE);
    let (slow, told, ()) = tokio::join!(
        step(acceptor.accept_unattested(far)),
        async {
            let mut tls = raw_client(&mut near, &OneKey::generate().unwrap()).await;
            let hello = Message::ClientHello {
                nonce: [1; 32],
                kind: ClientKind::Unattested,
            };
            wire::write(&mut tls, &hello).await.unwrap();
            wire::read(&mut tls, MAX_FRAME).await.unwrap()
        },
        passes(2)
    );
    assert_eq!(slow, ("report", limit));
    // Who comes again may find the source less busy.
    assert_eq!(told, Message::Refusal(Refusal::Busy));
}

#[tokio::test(start_paused = true)]
async fn an_address_that_does_not_answer_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limit = timeouts().handshake;
    // Nobody accepts: once the few places are taken, the kernel answers no more.
    let mut waiting = Vec::new();
    let given_up = async {
        while waiting.len() < 8 {
            waiting.push(dial(&address, limit).await?);
        }
        Ok::<_, AtlsError>(())
    };
    assert_eq!(step(given_up).await, ("connecting", limit));
}
