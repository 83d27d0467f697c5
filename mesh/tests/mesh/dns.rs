//! Names: what DNS says is where a connection goes, and the certificate is who is there.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

use crate::support::*;

/// The addresses of the one name there is; each answer is good for one second.
type Addresses = Arc<Mutex<Vec<IpAddr>>>;

/// A name server in the pod, and the file that leads to it.
fn name_server(net: &Net, addresses: &[&str]) -> Addresses {
    let parse = |ip: &&str| ip.parse().unwrap();
    let addresses: Addresses = Arc::new(Mutex::new(addresses.iter().map(parse).collect()));
    let folder = Path::new("/etc/netns").join(net.pod());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
    let socket = inside(&net.pod(), || UdpSocket::bind("127.0.0.53:53").unwrap());
    let socket = socket.join().unwrap();
    let current = Arc::clone(&addresses);
    std::thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let reply = reply(&query[..length], &current.lock().unwrap());
            let _ = socket.send_to(&reply, from);
        }
    });
    addresses
}

/// RFC 1035, section 4: the same question, and the addresses of the type that was asked for.
fn reply(query: &[u8], addresses: &[IpAddr]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let wanted = u16::from_be_bytes([question[name + 1], question[name + 2]]);
    let answers = addresses.iter().filter_map(|ip| match (wanted, ip) {
        (1, IpAddr::V4(ip)) => Some(ip.octets().to_vec()),
        (28, IpAddr::V6(ip)) => Some(ip.octets().to_vec()),
        _ => None,
    });
    let answers: Vec<Vec<u8>> = answers.collect();
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
    reply.extend(question);
    for data in answers {
        reply.extend([0xc0, 12]);
        reply.extend(wanted.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 1, 0, data.len() as u8]);
        reply.extend(data);
    }
    reply
}

/// A TLS server of the mesh that answers with its name.
fn backend(net: &Net, ip: &str, certs: &Path, name: &'static str) {
    let address = SocketAddr::new(ip.parse().unwrap(), 4001);
    let config = server(certs);
    let listener = inside(&net.peer(), move || TcpListener::bind(address).unwrap());
    let listener = listener.join().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            std::thread::spawn(move || {
                if stream.read_exact(&mut [0; 6]).is_ok() {
                    let _ = stream.write_all(format!("{name}\n").as_bytes());
                }
            });
        }
    });
}

const EGRESS: (&str, &str) = (
    "CONTRAST_EGRESS_PROXY_CONFIG",
    "backend#127.0.0.2:4001#backend.test:4001",
);

#[test]
fn a_name_is_asked_for_again_when_its_time_is_over() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    backend(&net, PEER[0], &authority.issue("a"), "first");
    backend(&net, PEER[1], &authority.issue("b"), "second");
    let addresses = name_server(&net, &[PEER[0]]);
    let mesh = Mesh::start(&net.pod(), &certs, &[EGRESS]);
    assert!(
        plain(&net.pod(), "127.0.0.2", 4001).answered("first"),
        "{}",
        mesh.log()
    );
    *addresses.lock().unwrap() = vec![PEER[1].parse().unwrap()];
    let begin = Instant::now();
    while !plain(&net.pod(), "127.0.0.2", 4001).answered("second") {
        assert!(begin.elapsed() < 2 * PATIENCE, "{}", mesh.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    addresses.lock().unwrap().clear();
    while plain(&net.pod(), "127.0.0.2", 4001) != Outcome::Closed {
        assert!(begin.elapsed() < 4 * PATIENCE, "{}", mesh.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn every_address_is_tried_until_one_is_who_is_meant() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    // Nobody has the first, nobody listens at the second, a stranger answers at the third.
    backend(
        &net,
        PEER[1],
        &Authority::new().issue("backend"),
        "stranger",
    );
    backend(&net, PEER[0], &authority.issue("backend"), "right");
    let addresses = ["2001:db8:5::99", "192.0.2.1", PEER[1], PEER[0]];
    let _addresses = name_server(&net, &addresses);
    let mesh = Mesh::start(&net.pod(), &certs, &[EGRESS]);
    for _ in 0..3 {
        let begin = Instant::now();
        let answer = plain(&net.pod(), "127.0.0.2", 4001);
        assert!(answer.answered("right"), "{answer:?}: {}", mesh.log());
        // The kernel gives up on an address without an owner after three seconds.
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
    }
}

#[test]
fn a_name_in_the_hosts_file_is_nobody_elses_to_answer() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    backend(&net, PEER[0], &authority.issue("backend"), "named");
    let folder = Path::new("/etc/netns").join(net.pod());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("hosts"), format!("{} backend.test\n", PEER[0])).unwrap();
    // A name server that takes every question and answers none.
    std::fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
    let silent = inside(&net.pod(), || UdpSocket::bind("127.0.0.53:53").unwrap());
    let silent = silent.join().unwrap();
    let mesh = Mesh::start(&net.pod(), &certs, &[EGRESS]);
    let answer = plain(&net.pod(), "127.0.0.2", 4001);
    assert!(answer.answered("named"), "{answer:?}: {}", mesh.log());
    silent.set_nonblocking(true).unwrap();
    let asked = silent.recv_from(&mut [0; 1500]);
    assert!(asked.is_err(), "DNS was asked for {asked:?}");
}
