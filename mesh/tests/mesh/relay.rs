//! The copy loop by itself, over loopback.

use std::sync::Arc;
use std::time::Duration;

use nacre_mesh::limits::Pool;
use nacre_mesh::metrics::Traffic;
use nacre_mesh::relay::{Broken, Patience, Terms, Tls};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Authority, client, server};

/// For connections that keep so many bytes before memory is scarce.
fn terms(most: usize) -> Terms<'static> {
    Terms {
        pool: Box::leak(Box::new(Pool::new(most))),
        traffic: Box::leak(Box::new(Traffic::default())),
        patience: Patience {
            plain_ended: Duration::from_secs(60),
            tls_ended: Duration::from_secs(60),
        },
        seat: None,
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (a, b) = tokio::join!(
        TcpStream::connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    (a.unwrap(), b.unwrap().0)
}

/// Two relays back to back: plain – TLS – plain.
async fn through() -> (TcpStream, TcpStream) {
    through_with(usize::MAX).await
}

/// The same where each keeps so many bytes before memory is scarce.
async fn through_with(most: usize) -> (TcpStream, TcpStream) {
    let authority = Authority::new();
    let certs = authority.issue("web");
    let (near, mut near_plain) = pair().await;
    let (far, mut far_plain) = pair().await;
    let (a, b) = pair().await;
    let client =
        UnbufferedClientConnection::new(client(&certs, true), ServerName::try_from("web").unwrap())
            .unwrap();
    let server = UnbufferedServerConnection::new(Arc::clone(&server(&certs))).unwrap();
    let (mut client, mut server) = (Tls::new(a, client), Tls::new(b, server));
    let (left, right) = tokio::join!(client.handshake(), server.handshake());
    left.unwrap();
    right.unwrap();
    tokio::spawn(async move { client.relay_with(&mut near_plain, terms(most)).await });
    tokio::spawn(async move { server.relay_with(&mut far_plain, terms(most)).await });
    (near, far)
}

#[tokio::test]
async fn half_close_is_kept_both_ways() {
    let (mut near, mut far) = through().await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"question");
    far.write_all(b"answer").await.unwrap();
    far.shutdown().await.unwrap();
    got.clear();
    near.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"answer");
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    slow_reader(usize::MAX).await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_where_memory_is_scarce() {
    slow_reader(0).await;
    // Now and then.
    slow_reader(20_000).await;
    // Almost: much is read at once at first, and little when much is kept.
    slow_reader(400_000).await;
}

#[tokio::test]
async fn both_directions_are_full_at_the_same_time() {
    for most in [usize::MAX, 400_000, 0] {
        let (near, far) = through_with(most).await;
        let bytes = |seed: u32| -> Vec<u8> {
            let number = |n: u32| (n.wrapping_mul(seed) >> 7) as u8;
            (0..6_000_000).map(number).collect()
        };
        let (there, back) = (bytes(0x9e37_79b1), bytes(0x85eb_ca6b));
        let both = |end: TcpStream, says: Vec<u8>, hears: Vec<u8>| async move {
            let (mut reading, mut writing) = end.into_split();
            let writing = tokio::spawn(async move {
                // Of no length that records or packets have.
                for piece in says.chunks(99_991) {
                    writing.write_all(piece).await.unwrap();
                }
                writing.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            reading.read_to_end(&mut got).await.unwrap();
            writing.await.unwrap();
            assert!(got == hears, "{} bytes, {most}", got.len());
        };
        tokio::join!(
            both(near, there.clone(), back.clone()),
            both(far, back, there)
        );
    }
}

async fn slow_reader(most: usize) {
    let (mut near, mut far) = through_with(most).await;
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n % 253) as u8).collect();
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
        near
    });
    let mut got = Vec::new();
    let mut chunk = vec![0; 100_000];
    loop {
        let read = far.read(&mut chunk).await.unwrap();
        if read == 0 {
            break;
        }
        got.extend_from_slice(&chunk[..read]);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(got == expected);
    writing.await.unwrap();
}

#[tokio::test]
async fn a_slow_writer_is_heard_at_once() {
    let (mut near, mut far) = through().await;
    for byte in 0..200u8 {
        // Each goes through before the next is sent: nothing waits for company.
        near.write_all(&[byte]).await.unwrap();
        let mut got = [0];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [byte]);
        far.write_all(&[byte]).await.unwrap();
        near.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [byte]);
    }
}

#[tokio::test]
async fn a_cut_tls_stream_is_not_a_clean_end() {
    let authority = Authority::new();
    let certs = authority.issue("web");
    let (mut plain, mut inner) = pair().await;
    let (a, b) = pair().await;
    let config =
        UnbufferedClientConnection::new(client(&certs, true), ServerName::try_from("web").unwrap())
            .unwrap();
    let mut client = Tls::new(a, config);
    let mut server = Tls::new(b, UnbufferedServerConnection::new(server(&certs)).unwrap());
    let (left, right) = tokio::join!(client.handshake(), server.handshake());
    left.unwrap();
    right.unwrap();
    let relay = tokio::spawn(async move { server.relay_with(&mut inner, terms(usize::MAX)).await });
    // The socket ends without close_notify.
    drop(client);
    assert!(relay.await.unwrap().is_err());
    let mut got = Vec::new();
    let end = plain.read_to_end(&mut got).await;
    assert!(end.is_err(), "a reset, not an end: {end:?}");
}

#[tokio::test]
async fn new_keys_are_taken_and_given() {
    let authority = Authority::new();
    let certs = authority.issue("web");
    let (mut plain, mut inner) = pair().await;
    let (a, b) = pair().await;
    let session = UnbufferedServerConnection::new(server(&certs)).unwrap();
    tokio::spawn(async move {
        let mut server = Tls::new(b, session);
        server.handshake().await.unwrap();
        server.relay_with(&mut inner, terms(usize::MAX)).await
    });
    let name = ServerName::try_from("web").unwrap();
    let connector = tokio_rustls::TlsConnector::from(client(&certs, true));
    let mut peer = connector.connect(name, a).await.unwrap();
    for round in 0..3u8 {
        // Says new keys for its side and asks for new ones of the other (RFC 8446, 4.6.3).
        peer.get_mut().1.refresh_traffic_keys().unwrap();
        peer.write_all(&[round; 40_000]).await.unwrap();
        let mut got = vec![0; 40_000];
        plain.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [round; 40_000]);
        plain.write_all(&got).await.unwrap();
        got.fill(0xff);
        peer.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [round; 40_000]);
    }
}

#[tokio::test]
async fn messages_of_tls_in_pieces_between_data() {
    let authority = Authority::new();
    let certs = authority.issue("web");
    let (mut near, mut inner) = pair().await;
    let (ours, front) = pair().await;
    let (back, theirs) = pair().await;
    // Session tickets that span several records, which come one byte at a time.
    let mut config = (*server(&certs)).clone();
    config.send_tls13_tickets = 4;
    config.max_fragment_size = Some(40);
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let mut stream = acceptor.accept(theirs).await.unwrap();
        let mut buffer = [0; 1000];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..read]).await.unwrap();
        }
    });
    tokio::spawn(async move {
        let (mut from_us, mut to_us) = front.into_split();
        let (mut from_them, mut to_them) = back.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_us, &mut to_them).await });
        let mut byte = [0];
        while let Ok(1) = from_them.read(&mut byte).await {
            to_us.write_all(&byte).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let name = ServerName::try_from("web").unwrap();
    let session = UnbufferedClientConnection::new(client(&certs, true), name).unwrap();
    let mut tls = Tls::new(ours, session);
    tls.handshake().await.unwrap();
    let relay = tokio::spawn(async move { tls.relay_with(&mut inner, terms(usize::MAX)).await });
    let (mut reading, mut writing) = near.split();
    let write = async {
        for number in 0..500u32 {
            writing.write_all(&number.to_be_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        for number in 0..500u32 {
            let mut got = [0; 4];
            reading.read_exact(&mut got).await.unwrap();
            assert_eq!(u32::from_be_bytes(got), number);
        }
    };
    tokio::join!(write, read);
    relay.abort();
}

/// The plain end of a relay, its peer, and how the relay ends.
async fn half_closed(
    patience: Patience,
) -> (
    TcpStream,
    tokio_rustls::client::TlsStream<TcpStream>,
    tokio::task::JoinHandle<Result<(), Broken>>,
) {
    beside(Terms {
        patience,
        ..terms(usize::MAX)
    })
    .await
}

/// The same on these terms.
async fn beside(
    terms: Terms<'static>,
) -> (
    TcpStream,
    tokio_rustls::client::TlsStream<TcpStream>,
    tokio::task::JoinHandle<Result<(), Broken>>,
) {
    let authority = Authority::new();
    let certs = authority.issue("web");
    let (plain, mut inner) = pair().await;
    let (a, b) = pair().await;
    let session = UnbufferedServerConnection::new(server(&certs)).unwrap();
    let relay = tokio::spawn(async move {
        let mut server = Tls::new(b, session);
        server.handshake().await.unwrap();
        server.relay_with(&mut inner, terms).await
    });
    let name = ServerName::try_from("web").unwrap();
    let connector = tokio_rustls::TlsConnector::from(client(&certs, true));
    (plain, connector.connect(name, a).await.unwrap(), relay)
}

#[tokio::test]
async fn what_stands_behind_the_end_is_not_kept() {
    const KEPT: usize = 4096;
    /// Of a record with as much plaintext as is read at once where memory is scarce.
    const SCARCE: usize = 2048 + 256;
    let Terms { pool, .. } = terms(KEPT);
    let ours = || Terms {
        pool,
        ..terms(KEPT)
    };
    let (mut plain, mut peer, _relay) = beside(ours()).await;
    let (socket, tls) = peer.get_mut();
    tls.send_close_notify();
    let mut end = Vec::new();
    tls.write_tls(&mut end).unwrap();
    // The beginning of a long record.
    end.extend([23, 3, 3, 0x40, 0]);
    end.resize(3 * KEPT, 0);
    socket.write_all(&end).await.unwrap();
    assert_eq!(plain.read(&mut [0]).await.unwrap(), 0);
    // The application goes on, so the connection does, and others have the memory.
    let (mut plain, mut peer, _relay) = beside(ours()).await;
    plain.write_all(&[7; 16 * 1024]).await.unwrap();
    let (mut longest, mut all) = (0, 0);
    while all < 16 * 1024 {
        let socket = &mut peer.get_mut().0;
        let mut header = [0; 5];
        socket.read_exact(&mut header).await.unwrap();
        let length = u16::from_be_bytes([header[3], header[4]]).into();
        socket.read_exact(&mut vec![0; length]).await.unwrap();
        longest = longest.max(length);
        all += length;
    }
    assert!(longest > SCARCE, "{longest}");
}

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_peer_that_does_not_close_is_let_go_when_the_application_has() {
    let patience = Patience {
        plain_ended: SHORT,
        tls_ended: LONG,
    };
    let (mut plain, mut peer, relay) = half_closed(patience).await;
    plain.write_all(b"all of it").await.unwrap();
    plain.shutdown().await.unwrap();
    // What still goes on goes on.
    for _ in 0..5 {
        tokio::time::sleep(SHORT * 2 / 3).await;
        peer.write_all(b"more").await.unwrap();
        plain.read_exact(&mut [0; 4]).await.unwrap();
    }
    let end = relay.await.unwrap();
    assert!(matches!(end, Err(Broken::HalfClosed)), "{end:?}");
    // The peer has a whole stream, the application a cut one.
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"all of it");
    assert!(plain.read(&mut [0]).await.is_err());
}

#[tokio::test]
async fn an_application_that_does_not_close_is_let_go_when_the_peer_has() {
    let patience = Patience {
        plain_ended: LONG,
        tls_ended: SHORT,
    };
    let (mut plain, mut peer, relay) = half_closed(patience).await;
    peer.write_all(b"all of it").await.unwrap();
    peer.shutdown().await.unwrap();
    let end = relay.await.unwrap();
    assert!(matches!(end, Err(Broken::HalfClosed)), "{end:?}");
    let mut got = Vec::new();
    plain.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"all of it");
    assert!(peer.read(&mut [0]).await.is_err());
}

#[tokio::test]
async fn the_applications_reset_is_seen_while_the_peer_does_not_read() {
    let patience = Patience {
        plain_ended: LONG,
        tls_ended: LONG,
    };
    let (mut plain, mut peer, relay) = half_closed(patience).await;
    let chunk = vec![7; 64 * 1024];
    while let Ok(written) = tokio::time::timeout(SHORT, plain.write(&chunk)).await {
        written.unwrap();
    }
    plain.set_zero_linger().unwrap();
    drop(plain);
    let end = tokio::time::timeout(10 * SHORT, relay).await.unwrap();
    assert!(matches!(end.unwrap(), Err(Broken::Io(_))));
    let mut got = Vec::new();
    assert!(peer.read_to_end(&mut got).await.is_err());
}
