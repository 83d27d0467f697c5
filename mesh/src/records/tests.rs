use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs as lc;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite};

use super::*;
use crate::session::Session;

const SUITES: [SupportedCipherSuite; 3] = [
    lc::cipher_suite::TLS13_AES_128_GCM_SHA256,
    lc::cipher_suite::TLS13_AES_256_GCM_SHA384,
    lc::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

fn configs(suite: SupportedCipherSuite) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["web".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut provider = lc::default_provider();
    provider.cipher_suites = vec![suite];
    let provider = Arc::new(provider);
    let versions = [&rustls::version::TLS13];
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    server.send_tls13_tickets = 0;
    (Arc::new(client), Arc::new(server))
}

fn client(config: Arc<ClientConfig>) -> Session {
    UnbufferedClientConnection::new(config, ServerName::try_from("web").unwrap())
        .unwrap()
        .into()
}

/// What one side has to say to what came.
fn step(side: &mut Session, incoming: &mut Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let used = side.advance(incoming, &mut out).unwrap();
    incoming.drain(..used);
    out
}

/// Both sides ours.
fn pair() -> (Records, Records) {
    let (ours, theirs) = configs(SUITES[0]);
    let mut client = client(ours);
    let mut server = Session::from(UnbufferedServerConnection::new(theirs).unwrap());
    let (mut up, mut down) = (Vec::new(), Vec::new());
    while client.common().is_handshaking() || server.common().is_handshaking() {
        up.extend(step(&mut client, &mut down));
        down.extend(step(&mut server, &mut up));
    }
    (
        client.into_records().unwrap(),
        server.into_records().unwrap(),
    )
}

/// Ours against rustls' usual connection, with what the latter has said behind the handshake.
fn with_rustls(
    suite: SupportedCipherSuite,
    tickets: usize,
) -> (Records, ServerConnection, Vec<u8>) {
    let (ours, theirs) = configs(suite);
    let mut theirs = (*theirs).clone();
    theirs.send_tls13_tickets = tickets;
    let mut client = client(ours);
    let mut server = ServerConnection::new(Arc::new(theirs)).unwrap();
    let mut down = Vec::new();
    while client.common().is_handshaking() || server.is_handshaking() {
        give(&mut server, &step(&mut client, &mut down)).unwrap();
        while server.wants_write() {
            server.write_tls(&mut down).unwrap();
        }
    }
    (client.into_records().unwrap(), server, down)
}

fn give(server: &mut ServerConnection, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        server.read_tls(&mut bytes).unwrap();
        server.process_new_packets()?;
    }
    Ok(())
}

fn said(server: &mut ServerConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn sealed(records: &mut Records, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in plain.chunks(PLAIN) {
        let mut slot = vec![0xff; SLOT];
        slot[HEADER..HEADER + part.len()].copy_from_slice(part);
        let length = records.seal(&mut slot, part.len()).unwrap();
        out.extend_from_slice(&slot[..length]);
    }
    out
}

fn opened(records: &mut Records, bytes: &mut [u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let length = bytes.len();
    let opened = records
        .open(bytes, &mut Vec::new(), |piece| {
            plain.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
    assert_eq!(opened.used, length);
    plain
}

fn read(server: &mut ServerConnection) -> Vec<u8> {
    use std::io::Read as _;
    let mut plain = Vec::new();
    // There is no more at the moment.
    let _ = server.reader().read_to_end(&mut plain);
    plain
}

#[test]
fn rustls_understands_and_is_understood() {
    use std::io::Write as _;
    for suite in SUITES {
        let (mut ours, mut server, mut down) = with_rustls(suite, 3);
        // Its tickets are passed over.
        assert_eq!(opened(&mut ours, &mut down), b"");
        for length in [0, 1, 100, PLAIN - 1, PLAIN, PLAIN + 1, 3 * PLAIN] {
            let plain: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            // It keeps one record at most.
            for part in plain.chunks(PLAIN) {
                give(&mut server, &sealed(&mut ours, part)).unwrap();
                assert!(read(&mut server) == part);
            }
            server.writer().write_all(&plain).unwrap();
            assert!(opened(&mut ours, &mut said(&mut server)) == plain);
        }
        server.send_close_notify();
        let mut bytes = said(&mut server);
        let end = ours.open(&mut bytes, &mut Vec::new(), |_| Ok(())).unwrap();
        assert!(end.finished);
        let mut out = Vec::new();
        ours.close(&mut out).unwrap();
        give(&mut server, &out).unwrap();
        assert!(server.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn keys_change_before_they_are_used_up() {
    for suite in SUITES {
        let (mut ours, mut server, _) = with_rustls(suite, 0);
        ours.limit = RESERVE + 5;
        let mut changed = 0;
        for number in 0..20u8 {
            let mut out = Vec::new();
            ours.renew(&mut out).unwrap();
            changed += usize::from(!out.is_empty());
            out.extend(sealed(&mut ours, &[number]));
            give(&mut server, &out).unwrap();
            assert_eq!(read(&mut server), [number]);
        }
        assert_eq!(changed, 3);
        // Who does not change them does not go on.
        ours.limit = ours.sending.number;
        assert!(ours.seal(&mut [0; SLOT], 1).is_err());
    }
}

#[test]
fn the_peer_may_ask_for_new_keys() {
    use std::io::Write as _;
    let (mut ours, mut server, _) = with_rustls(SUITES[0], 0);
    for round in 0..5u8 {
        server.refresh_traffic_keys().unwrap();
        server.refresh_traffic_keys().unwrap();
        server.writer().write_all(&[round]).unwrap();
        assert_eq!(opened(&mut ours, &mut said(&mut server)), [round]);
        // One answer is enough for both.
        let (mut out, mut again) = (Vec::new(), Vec::new());
        ours.renew(&mut out).unwrap();
        ours.renew(&mut again).unwrap();
        assert!(!out.is_empty() && again.is_empty());
        out.extend(sealed(&mut ours, &[round]));
        give(&mut server, &out).unwrap();
        assert_eq!(read(&mut server), [round]);
    }
}

/// What the server says to these records of a client, and the client's reason to end.
fn refusal(says: impl FnOnce(&mut Records) -> Vec<u8>) -> (String, String) {
    let (mut client, mut server) = pair();
    let mut bytes = says(&mut client);
    let mut alert = Vec::new();
    let reason = server
        .open(&mut bytes, &mut alert, |_| Ok(()))
        .expect_err("refused");
    assert_eq!(reason.kind(), ErrorKind::InvalidData);
    let heard = client
        .open(&mut alert, &mut Vec::new(), |_| Ok(()))
        .map_or_else(|error| error.to_string(), |_| "nothing".to_owned());
    (reason.to_string(), heard)
}

fn spoken(kind: ContentType, messages: &[&[u8]]) -> (String, String) {
    refusal(|client| {
        let mut out = Vec::new();
        for message in messages {
            client.say(kind, message, &mut out).unwrap();
        }
        out
    })
}

#[test]
fn what_is_wrong_is_refused_with_an_alert() {
    let unexpected = "received fatal alert: UnexpectedMessage";
    let hears = |(_, heard): (String, String), alert: &str| assert_eq!(heard, alert);

    // Not from the peer, or not as the peer sent it.
    for place in [1, 2, HEADER, 20] {
        hears(
            refusal(|client| {
                let mut bytes = sealed(client, b"seventeen letters");
                bytes[place] ^= 1;
                bytes
            }),
            "received fatal alert: BadRecordMac",
        );
    }
    // Once more.
    hears(
        refusal(|client| {
            let bytes = sealed(client, b"a");
            [bytes.clone(), bytes].concat()
        }),
        "received fatal alert: BadRecordMac",
    );
    hears(
        refusal(|_| vec![23, 3, 3, 0, 0]),
        "received fatal alert: BadRecordMac",
    );
    // In plain text.
    hears(refusal(|_| vec![21, 3, 3, 0, 2, 1, 0]), unexpected);
    hears(refusal(|_| vec![20, 3, 3, 0, 1, 1]), unexpected);
    hears(
        refusal(|_| vec![23, 3, 3, 0x41, 1]),
        "received fatal alert: RecordOverflow",
    );
    // Nothing but padding, or too much plaintext.
    hears(spoken(ContentType::from(0), &[&[0; 20]]), unexpected);
    hears(
        refusal(|client| {
            let mut slot = vec![b'x'; SLOT + 1];
            let kind = ContentType::ApplicationData;
            let length = client.seal_as(kind, &mut slot, PLAIN + 1).unwrap();
            slot.truncate(length);
            slot
        }),
        "received fatal alert: RecordOverflow",
    );
    hears(spoken(ContentType::ChangeCipherSpec, &[&[1]]), unexpected);
    hears(spoken(ContentType::Alert, &[&[1]]), unexpected);
    hears(spoken(ContentType::Alert, &[&[1, 0, 0]]), unexpected);

    let handshake = ContentType::Handshake;
    hears(spoken(handshake, &[&[]]), unexpected);
    // A ticket from a client, a second ClientHello, a long key update, one that says neither.
    hears(spoken(handshake, &[&[4, 0, 0, 1, 0]]), unexpected);
    hears(spoken(handshake, &[&[1, 0, 0, 1, 0]]), unexpected);
    hears(spoken(handshake, &[&[24, 0, 0, 2, 0, 0]]), unexpected);
    hears(
        spoken(handshake, &[&[24, 0, 0, 1, 2]]),
        "received fatal alert: IllegalParameter",
    );
    // Something else in the same record, or between the pieces.
    hears(spoken(handshake, &[&[24, 0, 0, 1, 0, 24]]), unexpected);
    hears(
        refusal(|client| {
            let mut out = Vec::new();
            client.say(handshake, &[24, 0], &mut out).unwrap();
            out.extend(sealed(client, b"between"));
            out
        }),
        unexpected,
    );
    // An alert of the peer is not answered.
    let (reason, heard) = spoken(ContentType::Alert, &[&[2, 40]]);
    assert_eq!(reason, "received fatal alert: HandshakeFailure");
    assert_eq!(heard, "nothing");
}

#[test]
fn key_updates_without_end_are_refused() {
    let (mut client, mut server) = pair();
    let mut update = |server: &mut Records| {
        let mut out = Vec::new();
        client.asked = true;
        client.renew(&mut out).unwrap();
        let result = server.open(&mut out, &mut Vec::new(), |_| Ok(()));
        (result, sealed(&mut client, b"data"))
    };
    // With data between them there is no end.
    for _ in 0..2 * MOST_EMPTY {
        let (result, mut data) = update(&mut server);
        result.unwrap();
        assert_eq!(opened(&mut server, &mut data), b"data");
    }
    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    for _ in 0..MOST_EMPTY {
        client.asked = true;
        client.renew(&mut out).unwrap();
    }
    server.open(&mut out, &mut Vec::new(), |_| Ok(())).unwrap();
    out.clear();
    client.asked = true;
    client.renew(&mut out).unwrap();
    assert!(server.open(&mut out, &mut Vec::new(), |_| Ok(())).is_err());
}

/// Opens this once more than it may come without data.
fn how_many(by_client: bool, mut says: impl FnMut(&mut Records, &mut Vec<u8>)) -> usize {
    let (client, server) = pair();
    let (mut speaker, mut listener) = match by_client {
        true => (client, server),
        false => (server, client),
    };
    for taken in 0..200 {
        let mut out = Vec::new();
        says(&mut speaker, &mut out);
        if listener
            .open(&mut out, &mut Vec::new(), |_| Ok(()))
            .is_err()
        {
            return taken;
        }
    }
    200
}

#[test]
fn what_carries_nothing_does_not_come_without_end() {
    let most = usize::from(MOST_EMPTY);
    let user_canceled = |records: &mut Records, out: &mut Vec<u8>| {
        records.say(ContentType::Alert, &[1, 90], out).unwrap();
    };
    assert_eq!(how_many(true, user_canceled), most);
    let empty = |records: &mut Records, out: &mut Vec<u8>| {
        records.say(ContentType::ApplicationData, b"", out).unwrap();
    };
    assert_eq!(how_many(true, empty), most);
    let ticket = |records: &mut Records, out: &mut Vec<u8>| {
        records
            .say(ContentType::Handshake, &[4, 0, 0, 1, 0], out)
            .unwrap();
    };
    assert_eq!(how_many(false, ticket), most);
    // One does not make up for the other.
    let update = |records: &mut Records, out: &mut Vec<u8>| {
        records.asked = true;
        records.renew(out).unwrap();
        empty(records, out);
    };
    assert_eq!(how_many(true, update), most / 2);
    let data = |records: &mut Records, out: &mut Vec<u8>| {
        empty(records, out);
        out.extend(sealed(records, b"data"));
    };
    assert_eq!(how_many(true, data), 200);
}

#[test]
fn a_ticket_is_not_longer_than_its_fields() {
    let ticket = |length: u8| {
        move |records: &mut Records, out: &mut Vec<u8>| {
            records
                .say(ContentType::Handshake, &[4, length, 0, 0], out)
                .unwrap();
        }
    };
    assert!(how_many(false, ticket(2)) > 0);
    assert_eq!(how_many(false, ticket(3)), 0);
}

#[test]
fn a_message_may_come_in_pieces() {
    let (mut client, mut server) = pair();
    let mut out = Vec::new();
    for byte in [24, 0, 0, 1, 0] {
        client
            .say(ContentType::Handshake, &[byte], &mut out)
            .unwrap();
    }
    client.sending = Half::new(client.next.sending().unwrap()).unwrap();
    out.extend(sealed(&mut client, b"new keys"));
    assert_eq!(opened(&mut server, &mut out), b"new keys");
}

#[test]
fn records_come_one_byte_at_a_time() {
    let (mut client, mut server) = pair();
    let bytes = sealed(&mut client, b"slowly");
    let (mut incoming, mut plain) = (Vec::new(), Vec::new());
    for byte in bytes {
        incoming.push(byte);
        let opened = server
            .open(&mut incoming, &mut Vec::new(), |piece| {
                plain.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        incoming.drain(..opened.used);
    }
    assert_eq!(plain, b"slowly");
    assert!(incoming.is_empty());
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_left_alone() {
    let (ours, theirs) = configs(SUITES[0]);
    let mut client = client(ours);
    let mut server = Session::from(UnbufferedServerConnection::new(theirs).unwrap());
    let mut up = step(&mut client, &mut Vec::new());
    let mut down = step(&mut server, &mut up);
    up = step(&mut client, &mut down);
    let mut client = client.into_records().unwrap();
    up.extend(sealed(&mut client, b"with the Finished"));
    step(&mut server, &mut up);
    assert!(!server.common().is_handshaking());
    let mut server = server.into_records().unwrap();
    assert_eq!(opened(&mut server, &mut up), b"with the Finished");
}
