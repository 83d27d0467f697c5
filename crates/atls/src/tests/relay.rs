//! Evidence that somebody in the middle passes on, or has kept.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use nacre_attest::CheckId;
use rustls::ServerConnection;

use super::timeouts::Unbound;
use super::{
    COORDINATOR, WORKLOAD, acceptor, connector, evidence_for, pipe, queue, raw_client, raw_server,
    references, refused_by,
};
use crate::binding::{Connection, EXPORTER_LABEL, Role};
use crate::key::OneKey;
use crate::stream::Attested;
use crate::wire::{self, ClientKind, MAX_FRAME, Message, Refusal};
use crate::{Admission, Appraise, AtlsError};

/// A key that more than its owner has.
struct Stolen(Vec<u8>);

impl Stolen {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        Self(pair.unwrap().as_ref().to_vec())
    }

    fn key(&self) -> OneKey {
        OneKey::from_pkcs8(&self.0).unwrap()
    }
}

/// A workload and a Coordinator whose keys are both known to whoever may be between them.
struct Both {
    client: Stolen,
    server: Stolen,
}

type Ended = (
    Result<Option<[u8; 32]>, AtlsError>,
    Result<[u8; 32], AtlsError>,
);

impl Both {
    fn new() -> Self {
        Self {
            client: Stolen::new(),
            server: Stolen::new(),
        }
    }

    /// How it ends for the server and for the client, which takes whatever `appraise` takes.
    async fn connect(&self, relayed: bool, appraise: &dyn Appraise) -> Ended {
        let (near, far) = pipe();
        let (to_near, to_far) = pipe();
        let (acceptor, connector, queue) = (acceptor(), connector(), queue(WORKLOAD));
        let workloads = std::sync::Arc::new(references(WORKLOAD));
        let admission = Admission::attested(ClientKind::Workload, workloads).unwrap();
        let (key, kind) = (self.client.key(), ClientKind::Workload);
        let (server_end, front, back) = match relayed {
            true => (to_far, Some(far), Some(to_near)),
            false => (far, None, None),
        };
        let serve = |kind| admission.of(kind);
        let (server, client, ()) = tokio::join!(
            acceptor.accept_as(self.server.key(), server_end, serve),
            connector.connect(key, near, kind, Some(&queue), appraise),
            async {
                if let (Some(front), Some(back)) = (front, back) {
                    self.relay(front, back).await;
                }
            }
        );
        let server = server.map(|accepted| match accepted {
            crate::Accepted::Attested(of) => Some(of.claims().host_data),
            crate::Accepted::Unattested(_) => None,
        });
        let client = client.map(|of: Attested<_>| of.claims().host_data);
        (server, client)
    }

    /// With the server's key towards the client, with the client's towards the server; every message as it is.
    async fn relay(&self, front: tokio::io::DuplexStream, back: tokio::io::DuplexStream) {
        let (front_key, back_key) = (self.server.key(), self.client.key());
        let (mut front, mut back) =
            tokio::join!(raw_server(front, &front_key), raw_client(back, &back_key));
        for up in [true, false, true, false] {
            let passed = match up {
                true => wire::read(&mut front, MAX_FRAME).await,
                false => wire::read(&mut back, MAX_FRAME).await,
            };
            // Whoever has refused says no more.
            let Ok(message) = passed else { break };
            let _ = match up {
                true => wire::write(&mut back, &message).await,
                false => wire::write(&mut front, &message).await,
            };
        }
    }
}

#[tokio::test]
async fn a_relay_with_the_keys_of_both_ends_is_seen_by_the_client() {
    let (both, coordinators) = (Both::new(), references(COORDINATOR));
    // The keys alone are no reason.
    let (server, client) = both.connect(false, &coordinators).await;
    assert_eq!(server.unwrap(), Some(WORKLOAD));
    assert_eq!(client.unwrap(), COORDINATOR);
    // Nor can keys or nonces tell the two connections of the relay apart: the exporter does.
    let (server, client) = both.connect(true, &coordinators).await;
    assert_eq!(refused_by(&client.unwrap_err()), Some(CheckId::ReportData));
    assert!(matches!(server, Err(AtlsError::Refused(Refusal::Evidence))));
}

#[tokio::test]
async fn a_relay_with_the_keys_of_both_ends_is_seen_by_the_server() {
    let both = Both::new();
    // A client that does not look what evidence is bound to, and proves itself to anybody.
    let (server, client) = both.connect(false, &Unbound).await;
    assert_eq!(server.unwrap(), Some(WORKLOAD));
    assert_eq!(client.unwrap(), COORDINATOR);
    let (server, client) = both.connect(true, &Unbound).await;
    assert_eq!(refused_by(&server.unwrap_err()), Some(CheckId::ReportData));
    assert!(matches!(client, Err(AtlsError::Refused(Refusal::Evidence))));
}

/// What a server on this session knows of the connection.
fn server_view(session: &ServerConnection, key: &OneKey, nonces: [[u8; 32]; 2]) -> Connection {
    Connection {
        server_spki: key.spki.clone(),
        client_spki: session.peer_certificates().unwrap()[0].to_vec(),
        nonce_client: nonces[0],
        nonce_server: nonces[1],
        exporter: session
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))
            .unwrap(),
    }
}

#[tokio::test]
async fn replayed_nonces_and_evidence_do_not_do() {
    // The server answers with the key, nonce and evidence of an earlier connection, and even the client's key is the
    // same one. All that is new are the client's nonce and the session.
    let (both, coordinators) = (Both::new(), references(COORDINATOR));
    let own = [2; 32];
    let mut recorded: Option<Message> = None;
    for again in [false, true] {
        let (near, far) = pipe();
        let connector = connector();
        let kind = ClientKind::Unattested;
        let (client, ()) = tokio::join!(
            connector.connect(both.client.key(), near, kind, None, &coordinators),
            async {
                let key = both.server.key();
                let mut tls = raw_server(far, &key).await;
                let hello = wire::read(&mut tls, MAX_FRAME).await.unwrap();
                let Message::ClientHello { nonce, .. } = hello else {
                    panic!("no hello")
                };
                let connection = server_view(tls.get_ref().1, &key, [nonce, own]);
                let message = recorded.get_or_insert_with(|| Message::ServerEvidence {
                    nonce: own,
                    evidence: evidence_for(COORDINATOR, &connection, Role::Server),
                });
                wire::write(&mut tls, message).await.unwrap();
                let _ = wire::read(&mut tls, MAX_FRAME).await;
                let _ = wire::write(&mut tls, &Message::Accept).await;
            }
        );
        match again {
            false => assert_eq!(client.unwrap().claims().host_data, COORDINATOR),
            true => assert_eq!(refused_by(&client.unwrap_err()), Some(CheckId::ReportData)),
        }
    }
}
