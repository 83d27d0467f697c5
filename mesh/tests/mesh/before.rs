//! Connections that were open before the rules.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendFlags, send};

use crate::fallback::behind_the_filter;
use crate::support::*;

const EXAMPLE: (&str, &str) = (
    "CONTRAST_INGRESS_PROXY_CONFIG",
    "main#8001#false##metrics#8080#true",
);

fn pod_with_app() -> (Net, Authority) {
    let net = Net::new();
    app(&net.pod(), "[::]:9090", "other");
    (net, Authority::new())
}

/// A connection of the peer to the pod: its end, and the application's.
fn connection(net: &Net, address: &str) -> (TcpStream, TcpStream) {
    let address: SocketAddr = address.parse().unwrap();
    let listener = inside(&net.pod(), move || TcpListener::bind(address).unwrap())
        .join()
        .unwrap();
    let theirs = inside(&net.peer(), move || dial(address).unwrap())
        .join()
        .unwrap();
    (theirs, listener.accept().unwrap().0)
}

/// What comes within a second.
fn heard(stream: &mut TcpStream) -> String {
    stream
        .set_read_timeout(Some(Duration::from_millis(1000)))
        .unwrap();
    let mut buffer = [0; 64];
    let read = stream.read(&mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// Each way an application may speak first after the rules, on a protected port and on a plain one.
fn nothing_is_said_in_plain_text(start: impl Fn(&Net, &Path) -> Mesh, loose: bool) {
    let net = Net::new();
    let authority = Authority::new();
    // Whether connection tracking takes the middle of a connection for the beginning of one.
    let set = format!(
        "echo {} > /proc/sys/net/netfilter/nf_conntrack_tcp_loose",
        u8::from(loose)
    );
    run(&["ip", "netns", "exec", &net.pod(), "sh", "-c", &set]);
    let address = |ip: &str, port: u16| SocketAddr::new(ip.parse().unwrap(), port).to_string();
    let early: Vec<_> = POD
        .into_iter()
        .flat_map(|ip| [9090, 9091, 8080].map(|port| (ip, port)))
        .map(|(ip, port)| (ip, port, connection(&net, &address(ip, port))))
        .collect();
    let _mesh = start(&net, &authority.issue("web"));
    for (ip, port, (mut theirs, mut ours)) in early {
        if port == 9090 {
            // The end comes with the last bytes.
            send(&ours, b"secret", SendFlags::MORE).unwrap();
            ours.shutdown(std::net::Shutdown::Write).unwrap();
        } else {
            ours.write_all(b"secret").unwrap();
        }
        let expected = if port == 8080 { "secret" } else { "" };
        assert_eq!(heard(&mut theirs), expected, "{ip} {port} loose: {loose}");
        if port == 8080 {
            theirs.write_all(b"answer").unwrap();
            assert_eq!(heard(&mut ours), "answer", "{ip} {port} loose: {loose}");
        }
    }
}

#[test]
fn nothing_is_said_in_plain_text_with_nftables() {
    for loose in [true, false] {
        let start = |net: &Net, certs: &Path| Mesh::start(&net.pod(), certs, &[EXAMPLE]);
        nothing_is_said_in_plain_text(start, loose);
    }
}

#[test]
fn nothing_is_said_in_plain_text_with_iptables() {
    for loose in [true, false] {
        let start = |net: &Net, certs: &Path| {
            let mut mesh = behind_the_filter(&net.pod(), certs, &[EXAMPLE]);
            mesh.wait();
            mesh
        };
        nothing_is_said_in_plain_text(start, loose);
    }
}

#[test]
fn a_connection_from_before_the_rules_does_not_go_on_in_plain_text() {
    let (net, authority) = pod_with_app();
    let certs = authority.issue("web");
    let mut early = inside(&net.peer(), || {
        dial("192.0.2.1:9090".parse().unwrap()).unwrap()
    })
    .join()
    .unwrap();
    early.write_all(b"hello\n").unwrap();
    let mut answer = [0; 5];
    early.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"other");
    let _mesh = Mesh::start(&net.pod(), &certs, &[EXAMPLE]);
    let mut rest = Vec::new();
    early
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let _ = early.read_to_end(&mut rest);
    early.write_all(b"secret").unwrap();
    rest.clear();
    let _ = early.read_to_end(&mut rest);
    assert_eq!(rest, b"", "the application still answers");
}

#[test]
fn an_application_that_talks_on_an_old_connection_is_not_heard() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    // It talks all the time, so connection tracking may see its packets first.
    let (sender, ready) = std::sync::mpsc::channel();
    inside(&net.pod(), move || {
        let listener = std::net::TcpListener::bind("192.0.2.1:9090").unwrap();
        sender.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        while stream.write_all(b"secret ").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    ready.recv().unwrap();
    let mut early = inside(&net.peer(), || {
        dial("192.0.2.1:9090".parse().unwrap()).unwrap()
    })
    .join()
    .unwrap();
    let mut buffer = vec![0; 1 << 20];
    assert!(early.read(&mut buffer).unwrap() > 0);
    let _mesh = Mesh::start(&net.pod(), &certs, &[EXAMPLE]);
    early
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    while early
        .read(&mut buffer)
        .is_ok_and(|read| read == buffer.len())
    {}
    early
        .set_read_timeout(Some(Duration::from_millis(1000)))
        .unwrap();
    let after = early.read(&mut buffer);
    assert!(
        after.as_ref().is_err(),
        "{after:?} bytes of plain text after the rules"
    );
}
