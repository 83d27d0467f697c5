//! TLS below 1.3, from either end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use rustls::{AlertDescription, PeerIncompatible};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{COORDINATOR, acceptor, connector, pipe, references, timeouts};
use crate::{AtlsError, dial};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_tls_1_2_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor().accept_unattested(stream).await.err()
    });
    let output = tokio::task::spawn_blocking(move || {
        Command::new("openssl")
            .args(["s_client", "-connect", &address, "-tls1_2"])
            .args(["-alpn", "nacre-atls/1"])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("protocol version"), "{said}");
    assert!(matches!(
        server.await.unwrap(),
        Some(AtlsError::Handshake(_))
    ));
}

/// What the TLS library says of a handshake that failed.
fn reason(error: &AtlsError) -> Option<&rustls::Error> {
    match error {
        AtlsError::Handshake(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// A program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_server_of_tls_1_2_is_refused() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut files = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
    for (file, text) in files
        .iter_mut()
        .zip([cert.pem(), signing_key.serialize_pem()])
    {
        file.write_all(text.as_bytes()).unwrap();
    }
    let mut openssl = Program(
        Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_2", "-www"])
            .args(["-alpn", "nacre-atls/1", "-cert"])
            .arg(files[0].path())
            .arg("-key")
            .arg(files[1].path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let lines = BufReader::new(openssl.0.stdout.take().unwrap()).lines();
    let address = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned))
        .expect("openssl s_server says where it listens");
    let stream = dial(&address, timeouts().handshake).await.unwrap();
    let (connector, coordinators) = (connector(), references(COORDINATOR));
    let client = connector.connect_unattested(stream, &coordinators).await;
    let error = client.unwrap_err();
    let told = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
    assert_eq!(reason(&error), Some(&told), "{error:?}");
}

#[tokio::test]
async fn an_answer_in_tls_1_2_is_refused() {
    // A ServerHello of TLS 1.2, to a client that has not offered it.
    let (near, mut far) = pipe();
    let (connector, coordinators) = (connector(), references(COORDINATOR));
    let (client, said) = tokio::join!(connector.connect_unattested(near, &coordinators), async {
        let mut head = [0; 5];
        far.read_exact(&mut head).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        far.read_exact(&mut hello).await.unwrap();
        // Behind type, length, version and random: the session id, which is given back.
        let id = &hello[38..][..1 + usize::from(hello[38])];
        // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression, no extensions.
        let body = [&[3, 3][..], &[7; 32], id, &[0xc0, 0x2b, 0, 0, 0]].concat();
        let length = u8::try_from(body.len()).unwrap();
        let record = [&[0x16, 3, 3, 0, length + 4, 2, 0, 0, length], &body[..]].concat();
        far.write_all(&record).await.unwrap();
        let mut said = Vec::new();
        far.read_to_end(&mut said).await.unwrap();
        said
    });
    let error = client.unwrap_err();
    let refused =
        rustls::Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig);
    assert_eq!(reason(&error), Some(&refused), "{error:?}");
    // A fatal alert: protocol_version (RFC 8446 §6).
    assert_eq!(said, [0x15, 3, 3, 0, 2, 2, 70]);
}
