//! What an attacker between the ends, or at one of them, can try.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use nacre_attest::{CheckId, Evidence};
use nacre_sim::{Machine, MachineSpec};
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::{
    COORDINATOR, WORKLOAD, WORKLOAD_ROLE, acceptor, client_view, evidence_for, pipe, pki,
    raw_client, raw_server, references, refused_by,
};
use crate::AtlsError;
use crate::binding::{Connection, Role};
use crate::key::OneKey;
use crate::tls::{client_config, server_config, server_name};
use crate::wire::{self, ClientKind, MAX_FRAME, Message, Refusal, WireError};

/// A client that does everything right until it sends `third` instead of its evidence.
///
/// Gives what the server made of it and what the client read then.
async fn third_message(
    third: impl AsyncFnOnce(&mut client::TlsStream<DuplexStream>, &OneKey, [u8; 32], [u8; 32], Evidence),
) -> (AtlsError, Result<Message, WireError>) {
    let (near, far) = pipe();
    let (acceptor, workloads) = (acceptor(), references(WORKLOAD));
    let (server, answer) = tokio::join!(
        acceptor.accept_attested(far, ClientKind::Workload, &workloads),
        async {
            let key = OneKey::generate().unwrap();
            let mut tls = raw_client(near, &key).await;
            let nonce = [1; 32];
            let hello = Message::ClientHello {
                nonce,
                kind: ClientKind::Workload,
            };
            wire::write(&mut tls, &hello).await.unwrap();
            let Message::ServerEvidence {
                nonce: nonce_server,
                evidence,
            } = wire::read(&mut tls, MAX_FRAME).await.unwrap()
            else {
                panic!("no evidence")
            };
            third(&mut tls, &key, nonce, nonce_server, evidence).await;
            wire::read(&mut tls, MAX_FRAME).await
        },
    );
    (server.unwrap_err(), answer)
}

pub(super) fn is_refusal(answer: Result<Message, WireError>, refusal: Refusal) -> bool {
    matches!(answer, Ok(Message::Refusal(code)) if code == refusal)
}

async fn send_evidence(tls: &mut client::TlsStream<DuplexStream>, evidence: Evidence) {
    wire::write(tls, &Message::ClientEvidence { evidence })
        .await
        .unwrap();
}

#[tokio::test]
async fn reflected_evidence_is_seen() {
    // The workloads of this server may run what the server itself runs: only the role differs.
    let (near, far) = pipe();
    let (acceptor, same) = (acceptor(), references(COORDINATOR));
    let (server, ()) = tokio::join!(
        acceptor.accept_attested(far, ClientKind::Coordinator, &same),
        async {
            let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
            let hello = Message::ClientHello {
                nonce: [1; 32],
                kind: ClientKind::Coordinator,
            };
            wire::write(&mut tls, &hello).await.unwrap();
            let Message::ServerEvidence { evidence, .. } =
                wire::read(&mut tls, MAX_FRAME).await.unwrap()
            else {
                panic!("no evidence")
            };
            send_evidence(&mut tls, evidence).await;
            assert!(is_refusal(
                wire::read(&mut tls, MAX_FRAME).await,
                Refusal::Evidence
            ));
        },
    );
    assert_eq!(refused_by(&server.unwrap_err()), Some(CheckId::ReportData));
}

#[tokio::test]
async fn evidence_made_in_another_role_is_seen() {
    for role in [Role::Server, Role::Client(ClientKind::Coordinator)] {
        let (error, answer) = third_message(async |tls, key, nonce, nonce_server, _| {
            let connection = client_view(tls, key, nonce, nonce_server);
            send_evidence(tls, evidence_for(WORKLOAD, &connection, role)).await;
        })
        .await;
        assert_eq!(refused_by(&error), Some(CheckId::ReportData));
        assert!(is_refusal(answer, Refusal::Evidence));
    }
}

#[tokio::test]
async fn evidence_for_another_policy_hash_is_seen() {
    let (error, answer) = third_message(async |tls, key, nonce, nonce_server, _| {
        let connection = client_view(tls, key, nonce, nonce_server);
        send_evidence(tls, evidence_for([0x66; 32], &connection, WORKLOAD_ROLE)).await;
    })
    .await;
    assert_eq!(refused_by(&error), Some(CheckId::HostData));
    assert!(is_refusal(answer, Refusal::Evidence));
}

#[tokio::test]
async fn evidence_of_another_connection_is_stale() {
    // All that can be the same is the same: keys, nonces, guest. The session is another one.
    let (error, _) = third_message(async |tls, key, nonce, nonce_server, _| {
        let (near, far) = pipe();
        let other_server = OneKey::generate().unwrap();
        let (other, _server) = tokio::join!(raw_client(near, key), raw_server(far, &other_server));
        let earlier = Connection {
            server_spki: client_view(tls, key, nonce, nonce_server).server_spki,
            ..client_view(&other, key, nonce, nonce_server)
        };
        send_evidence(tls, evidence_for(WORKLOAD, &earlier, WORKLOAD_ROLE)).await;
    })
    .await;
    assert_eq!(refused_by(&error), Some(CheckId::ReportData));
}

#[tokio::test]
async fn the_certificate_of_another_chip_does_not_do() {
    let spec = MachineSpec {
        hwid: vec![0x77; 64],
        ..MachineSpec::new(pki().product)
    };
    let other = Machine::with(pki(), spec).unwrap();
    let (error, _) = third_message(async |tls, key, nonce, nonce_server, _| {
        let connection = client_view(tls, key, nonce, nonce_server);
        let mut evidence = evidence_for(WORKLOAD, &connection, WORKLOAD_ROLE);
        evidence.vek.clone_from(&other.vek);
        send_evidence(tls, evidence).await;
    })
    .await;
    assert_eq!(refused_by(&error), Some(CheckId::VekHwid));
}

#[tokio::test]
async fn messages_out_of_turn_are_refused() {
    for message in [
        Message::ClientUnattested,
        Message::Accept,
        Message::ClientHello {
            nonce: [1; 32],
            kind: ClientKind::Workload,
        },
    ] {
        let (error, answer) =
            third_message(async |tls, _, _, _, _| wire::write(tls, &message).await.unwrap()).await;
        assert!(matches!(error, AtlsError::Unexpected { .. }), "{error}");
        assert!(is_refusal(answer, Refusal::Protocol));
    }
}

#[tokio::test]
async fn truncated_and_oversized_messages_are_refused() {
    let (error, answer) = third_message(async |tls, key, nonce, nonce_server, _| {
        let connection = client_view(tls, key, nonce, nonce_server);
        let evidence = evidence_for(WORKLOAD, &connection, WORKLOAD_ROLE);
        let mut bytes = Message::ClientEvidence { evidence }.encode();
        bytes.pop();
        let length = u32::try_from(bytes.len()).unwrap();
        tls.write_all(&[&length.to_be_bytes()[..], &bytes].concat())
            .await
            .unwrap();
        tls.flush().await.unwrap();
    })
    .await;
    assert!(
        matches!(
            error,
            AtlsError::Wire {
                source: WireError::Evidence(_),
                ..
            }
        ),
        "{error}"
    );
    assert!(is_refusal(answer, Refusal::Protocol));

    for length in [MAX_FRAME + 1, 0xffff_ffff] {
        let length = u32::try_from(length).unwrap();
        let (error, answer) = third_message(async |tls, _, _, _, _| {
            tls.write_all(&length.to_be_bytes()).await.unwrap();
            tls.flush().await.unwrap();
        })
        .await;
        let AtlsError::Wire {
            source: WireError::TooLong { .. },
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert!(is_refusal(answer, Refusal::Protocol));
    }

    let (error, _) = third_message(async |tls, _, _, _, _| {
        tls.write_all(&[0, 0, 0, 100, 3]).await.unwrap();
        tls.shutdown().await.unwrap();
    })
    .await;
    assert!(
        matches!(
            error,
            AtlsError::Wire {
                source: WireError::Io(_),
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn frames_before_evidence_is_due_are_short() {
    let (near, far) = pipe();
    let acceptor = acceptor();
    let (server, ()) = tokio::join!(acceptor.accept_unattested(far), async {
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        tls.write_all(&65_u32.to_be_bytes()).await.unwrap();
        tls.flush().await.unwrap();
        let answer = wire::read(&mut tls, MAX_FRAME).await;
        assert!(is_refusal(answer, Refusal::Protocol));
    });
    assert!(matches!(
        server.unwrap_err(),
        AtlsError::Wire {
            source: WireError::TooLong {
                bytes: 65,
                most: 64
            },
            ..
        }
    ));
}

#[tokio::test]
async fn http_before_the_exchange_is_over_is_refused() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // Instead of the exchange.
    let (near, far) = pipe();
    let acceptor = acceptor();
    let (server, ()) = tokio::join!(acceptor.accept_unattested(far), async {
        let mut tls = raw_client(near, &OneKey::generate().unwrap()).await;
        tls.write_all(PREFACE).await.unwrap();
        tls.flush().await.unwrap();
        assert!(is_refusal(
            wire::read(&mut tls, MAX_FRAME).await,
            Refusal::Protocol
        ));
    });
    assert!(matches!(
        server.unwrap_err(),
        AtlsError::Wire {
            source: WireError::TooLong { .. },
            ..
        }
    ));
    // Behind good evidence, before the answer to it.
    let (error, answer) = third_message(async |tls, key, nonce, nonce_server, _| {
        let connection = client_view(tls, key, nonce, nonce_server);
        let evidence = evidence_for(WORKLOAD, &connection, WORKLOAD_ROLE);
        let bytes = Message::ClientEvidence { evidence }.encode();
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        tls.write_all(&[&length[..], &bytes, PREFACE].concat())
            .await
            .unwrap();
        tls.flush().await.unwrap();
    })
    .await;
    assert!(matches!(error, AtlsError::Premature), "{error}");
    assert!(is_refusal(answer, Refusal::Protocol));
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    // Both ends keep one configuration and the client would resume if it could.
    let key = OneKey::generate().unwrap();
    let server = server_config(&key).unwrap();
    let mut client = (*client_config(&key).unwrap()).clone();
    client.resumption = rustls::client::Resumption::in_memory_sessions(8);
    client.enable_early_data = true;
    let client = Arc::new(client);
    for _ in 0..3 {
        let (near, far) = pipe();
        let (mut here, mut there) = tokio::try_join!(
            TlsConnector::from(client.clone()).connect(server_name(), near),
            TlsAcceptor::from(server.clone()).accept(far),
        )
        .unwrap();
        // Tickets would come with the first data.
        there.write_all(b"data").await.unwrap();
        there.flush().await.unwrap();
        let mut data = [0; 4];
        here.read_exact(&mut data).await.unwrap();
        let (_, session) = here.get_ref();
        assert_eq!(session.tls13_tickets_received(), 0);
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert!(!session.is_early_data_accepted());
    }
}

#[tokio::test]
async fn another_protocol_name_or_none_is_refused() {
    for names in [vec![b"h2".to_vec()], vec![]] {
        let (near, far) = pipe();
        let acceptor = acceptor();
        let mut config = (*client_config(&OneKey::generate().unwrap()).unwrap()).clone();
        config.alpn_protocols = names;
        let connector = TlsConnector::from(Arc::new(config));
        let (server, _) = tokio::join!(acceptor.accept_unattested(far), async {
            let mut tls = connector.connect(server_name(), near).await?;
            wire::write(
                &mut tls,
                &Message::ClientHello {
                    nonce: [1; 32],
                    kind: ClientKind::Unattested,
                },
            )
            .await
            .map_err(std::io::Error::other)?;
            let _ = wire::read(&mut tls, MAX_FRAME).await;
            Ok::<_, std::io::Error>(())
        });
        let error = server.unwrap_err();
        assert!(
            matches!(
                error,
                AtlsError::Handshake(_) | AtlsError::Incomplete { .. }
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_client_without_a_key_is_refused() {
    let (near, far) = pipe();
    let acceptor = acceptor();
    let config = client_config(&OneKey::generate().unwrap()).unwrap();
    let mut without = (*config).clone();
    without.client_auth_cert_resolver =
        Arc::new(rustls::client::AlwaysResolvesClientRawPublicKeys::new(
            Arc::new(rustls::sign::CertifiedKey::new(
                Vec::new(),
                rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&pkcs8()).unwrap(),
            )),
        ));
    let connector = TlsConnector::from(Arc::new(without));
    let (server, _) = tokio::join!(
        acceptor.accept_unattested(far),
        connector.connect(server_name(), near)
    );
    assert!(server.is_err());
}

fn pkcs8() -> rustls::pki_types::PrivateKeyDer<'static> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .unwrap();
    rustls::pki_types::PrivatePkcs8KeyDer::from(document.as_ref().to_vec()).into()
}
