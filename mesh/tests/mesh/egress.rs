//! From the application's loopback to a peer over mutual TLS.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use rustls::{ServerConnection, StreamOwned};

use crate::support::*;

/// A TLS server in a namespace that answers each line with its name and the client's id.
fn backend(namespace: &str, address: &str, certs: &Path) {
    let address: SocketAddr = address.parse().unwrap();
    let config = server(certs);
    let (sender, ready) = std::sync::mpsc::channel();
    inside(namespace, move || {
        let listener = TcpListener::bind(address).unwrap();
        sender.send(()).unwrap();
        for stream in listener.incoming() {
            let config = config.clone();
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let mut line = [0; 6];
                if stream.read_exact(&mut line).is_ok() {
                    let leaf = stream.conn.peer_certificates().unwrap()[0].clone();
                    let who = nacre_mesh::peer::Who::of(&leaf).id.unwrap();
                    let _ = stream.write_all(format!("backend {who}\n").as_bytes());
                }
            });
        }
    });
    ready.recv().unwrap();
}

#[test]
fn the_example_of_the_guide() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let backend_certs = authority.issue("backend");
    for ip in PEER {
        let address = if ip.contains(':') {
            format!("[{ip}]:4001")
        } else {
            format!("{ip}:4001")
        };
        backend(&net.peer(), &address, &backend_certs);
    }
    let egress = format!(
        "backend#127.0.0.2:4001#{}:4001##six#127.0.0.3:4001#[{}]:4001",
        PEER[0], PEER[1]
    );
    let _mesh = Mesh::start(
        &net.pod(),
        &certs,
        &[("CONTRAST_EGRESS_PROXY_CONFIG", &egress)],
    );
    for listener in ["127.0.0.2", "127.0.0.3"] {
        let answer = plain(&net.pod(), listener, 4001);
        assert_eq!(
            answer,
            Outcome::Answer(format!("backend {}", id("web"))),
            "{listener}"
        );
    }
}

#[test]
fn the_other_side_must_be_of_the_mesh_and_the_one_that_is_meant() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    backend(&net.peer(), "192.0.2.2:4001", &authority.issue("backend"));
    backend(
        &net.peer(),
        "192.0.2.2:4002",
        &Authority::new().issue("backend"),
    );
    let egress = "right#127.0.0.2:1#192.0.2.2:4001##wrong#127.0.0.2:2#192.0.2.2:4001##foreign#127.0.0.2:3#192.0.2.2:4002##nobody#127.0.0.2:4#192.0.2.2:4003";
    let peers = format!("right={},wrong={}", id("backend"), id("somebody-else"));
    let mesh = Mesh::start(
        &net.pod(),
        &certs,
        &[
            ("CONTRAST_EGRESS_PROXY_CONFIG", egress),
            ("NACRE_MESH_EGRESS_PEER", &peers),
        ],
    );
    assert!(plain(&net.pod(), "127.0.0.2", 1).answered("backend"));
    for port in [2, 3, 4] {
        let address = SocketAddr::from(([127, 0, 0, 2], port));
        let read = inside(&net.pod(), move || {
            TcpStream::connect(address)?.read(&mut [0])
        });
        // Not an empty answer.
        assert_eq!(
            read.join().unwrap().unwrap_err().kind(),
            ErrorKind::ConnectionReset,
            "{port}"
        );
    }
    for reason in ["unwanted", "handshake", "unreachable"] {
        let name = format!("nacre_mesh_refused_total{{direction=\"egress\",reason=\"{reason}\"}}");
        assert_eq!(mesh.metric(&name), 1, "{reason}: {}", mesh.log());
    }
}

#[test]
fn a_mesh_does_not_call_itself() {
    let net = Net::new();
    let authority = Authority::new();
    // By address, round about, to a port on all addresses, and to the one for probes.
    let egress = "a#127.0.0.2:1#127.0.0.2:1##b#127.0.0.2:2#127.0.0.2:3##c#127.0.0.2:3#127.0.0.2:2##d#127.0.0.2:4#192.0.2.1:15006##e#127.0.0.2:5#127.0.0.1:15090";
    let env = [("CONTRAST_EGRESS_PROXY_CONFIG", egress)];
    let mesh = Mesh::start(&net.pod(), &authority.issue("web"), &env);
    for port in 1..=5 {
        assert_eq!(plain(&net.pod(), "127.0.0.2", port), Outcome::Closed);
    }
    for (direction, begun) in [("egress", 5), ("ingress", 0)] {
        let name = format!("nacre_mesh_connections_total{{direction=\"{direction}\"}}");
        assert_eq!(mesh.metric(&name), begun, "{}", mesh.log());
    }
    assert_eq!(
        mesh.log()
            .matches("is a listener of this mesh itself")
            .count(),
        5,
        "{}",
        mesh.log()
    );
}

#[test]
fn two_meshes_carry_bytes_whole() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.peer(), "[::]:7000", "far");
    let _far = Mesh::start(&net.peer(), &authority.issue("far"), &[]);
    let _near = Mesh::start(
        &net.pod(),
        &authority.issue("near"),
        &[(
            "CONTRAST_EGRESS_PROXY_CONFIG",
            "far#127.0.0.9:7000#192.0.2.2:7000",
        )],
    );
    let sent: Vec<u8> = (0..8_000_000u32).map(|n| (n * 7 + n / 251) as u8).collect();
    let expected = sent.clone();
    let received = inside(&net.pod(), move || {
        let mut stream = dial("127.0.0.9:7000".parse().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(b"hello\n").unwrap();
            writer.write_all(&sent).unwrap();
            // Half-close: the far application sees the end and still answers.
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        writing.join().unwrap();
        received
    })
    .join()
    .unwrap();
    let line = received.iter().position(|byte| *byte == b'\n').unwrap();
    assert!(
        received.starts_with(b"far 192.0.2.2"),
        "the application sees its own pod"
    );
    assert!(
        received[line + 1..] == expected,
        "{} of {}",
        received.len() - line - 1,
        expected.len()
    );
}

#[test]
fn strict_egress_lets_out_only_what_is_listed() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.peer(), "[::]:7000", "unlisted");
    backend(&net.peer(), "192.0.2.2:4001", &authority.issue("backend"));
    let certs = authority.issue("web");
    // Where ingress is disabled, egress is as strict.
    for ingress in ["", "DISABLED"] {
        let env = [
            ("CONTRAST_INGRESS_PROXY_CONFIG", ingress),
            (
                "CONTRAST_EGRESS_PROXY_CONFIG",
                "far#127.0.0.9:4001#192.0.2.2:4001",
            ),
            ("NACRE_MESH_STRICT_EGRESS", "true"),
        ];
        let _mesh = Mesh::start(&net.pod(), &certs, &env);
        assert!(plain(&net.pod(), "127.0.0.9", 4001).answered("backend"));
        for ip in PEER {
            assert_eq!(hushed(&net.pod(), ip, 7000), Outcome::Silence, "{ip}");
        }
        // Not even where the mesh itself may go: only the mesh may.
        assert_eq!(hushed(&net.pod(), PEER[0], 4001), Outcome::Silence);
    }
}

#[test]
fn one_whom_the_other_side_does_not_want_hears_why() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.peer(), "[::]:7000", "far");
    let allow = format!("*={}", id("somebody-else"));
    let allow = [("NACRE_MESH_INGRESS_ALLOW", allow.as_str())];
    let _far = Mesh::start(&net.peer(), &authority.issue("far"), &allow);
    let egress = "far#127.0.0.9:7000#192.0.2.2:7000";
    let env = [("CONTRAST_EGRESS_PROXY_CONFIG", egress)];
    let near = Mesh::start(&net.pod(), &authority.issue("near"), &env);
    for _ in 0..5 {
        assert_eq!(plain(&net.pod(), "127.0.0.9", 7000), Outcome::Closed);
    }
    let denied = "nacre_mesh_refused_total{direction=\"egress\",reason=\"denied\"}";
    assert_eq!(near.metric(denied), 5, "{}", near.log());
    assert!(near.log().contains("AccessDenied"), "{}", near.log());
}

#[test]
fn bytes_are_counted_while_the_connection_is_open() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.peer(), "[::]:7000", "far");
    let far = Mesh::start(&net.peer(), &authority.issue("far"), &[]);
    let egress = "far#127.0.0.9:7000#192.0.2.2:7000";
    let env = [("CONTRAST_EGRESS_PROXY_CONFIG", egress)];
    let near = Mesh::start(&net.pod(), &authority.issue("near"), &env);
    let stream = inside(&net.pod(), || {
        let mut stream = dial("127.0.0.9:7000".parse().unwrap()).unwrap();
        stream.write_all(b"hello\n").unwrap();
        stream.read_exact(&mut [0; 14]).unwrap();
        stream
    })
    .join()
    .unwrap();
    for (mesh, direction, received, sent) in [(&near, "egress", 14, 6), (&far, "ingress", 6, 14)] {
        for (name, bytes) in [("received", received), ("sent", sent)] {
            let name = format!("nacre_mesh_{name}_bytes_total{{direction=\"{direction}\"}}");
            assert_eq!(mesh.metric(&name), bytes, "{name}");
        }
    }
    // One that is reset is counted as broken on both sides.
    rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
    for (mesh, direction) in [(&near, "egress"), (&far, "ingress")] {
        let name = format!("nacre_mesh_broken_total{{direction=\"{direction}\",reason=\"reset\"}}");
        let begin = std::time::Instant::now();
        while mesh.metric(&name) == 0 {
            assert!(begin.elapsed() < PATIENCE, "{}", mesh.http("/metrics"));
        }
    }
}
