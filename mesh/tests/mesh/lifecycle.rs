//! Start, certificates that change, load, memory, and the end.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::*;

fn resident_kib(mesh: &Mesh) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors(mesh: &Mesh) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", mesh.child.id()))
        .unwrap()
        .count()
}

#[test]
fn every_mistake_is_reported_and_nothing_is_touched() {
    let net = Net::new();
    let authority = Authority::new();
    let mut mesh = Mesh::spawn(
        &net.pod(),
        &authority.issue("web"),
        &[
            ("CONTRAST_INGRESS_PROXY_CONFIG", "a#65537#true"),
            ("CONTRAST_ADMIN_PORT", "x"),
        ],
    );
    assert_eq!(mesh.child.wait().unwrap().code(), Some(2));
    let log = mesh.log();
    assert!(
        log.contains("CONTRAST_INGRESS_PROXY_CONFIG: at character 3")
            && log.contains("CONTRAST_ADMIN_PORT"),
        "{log}"
    );
    assert_eq!(
        run(&["ip", "netns", "exec", &net.pod(), "nft", "list", "tables"]),
        ""
    );
}

#[test]
fn unusable_certificates_keep_it_from_starting() {
    let net = Net::new();
    let authority = Authority::new();
    let empty = authority.dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let mismatched = authority.issue("a");
    std::fs::copy(
        authority.issue("b").join("key.pem"),
        mismatched.join("key.pem"),
    )
    .unwrap();
    let cases = [
        (empty, "no certificates"),
        (mismatched, "key.pem"),
        (authority.issue_for("late", -5), "expired"),
    ];
    for (certs, reason) in cases {
        let mut mesh = Mesh::spawn(&net.pod(), &certs, &[]);
        assert_eq!(mesh.child.wait().unwrap().code(), Some(1));
        assert!(mesh.log().contains(reason), "{reason}: {}", mesh.log());
        assert_eq!(
            run(&["ip", "netns", "exec", &net.pod(), "nft", "list", "tables"]),
            ""
        );
    }
}

#[test]
fn new_certificates_are_taken_without_dropping_connections() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let config = client(&certs, true);
    let (first, second) = {
        let open = || {
            let config = config.clone();
            inside(&net.peer(), move || {
                let mut stream = session(dial("192.0.2.1:9090".parse().unwrap()).unwrap(), config);
                stream.write_all(b"hello\n").unwrap();
                let mut answer = [0; 14];
                stream.read_exact(&mut answer).unwrap();
                let leaf = stream.conn.peer_certificates().unwrap()[0].clone();
                (stream, leaf)
            })
            .join()
            .unwrap()
        };
        let first = open();
        authority.issue("web");
        let begin = Instant::now();
        while mesh.metric("nacre_mesh_certificate_reloads_total") == 0 {
            assert!(begin.elapsed() < 2 * PATIENCE, "{}", mesh.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        (first, open())
    };
    assert_ne!(first.1, second.1);
    let mut stream = first.0;
    stream.write_all(b"still here").unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still here");
}

#[test]
fn the_start_gate_is_told() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let told = certs.join(nacre_mesh::run::READY);
    let _mesh = Mesh::start(&net.pod(), &certs, &[]);
    let begin = Instant::now();
    while !told.exists() {
        assert!(begin.elapsed() < PATIENCE);
    }
    let tables = run(&["ip", "netns", "exec", &net.pod(), "nft", "list", "tables"]);
    assert!(tables.contains("nacre_mesh"), "the rules came first");
}

#[test]
fn an_expired_certificate_closes_the_door() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "app");
    let peer = authority.issue("peer");
    let mesh = Mesh::start(&net.pod(), &authority.issue_for("web", 3), &[]);
    assert!(tls(&net.peer(), POD[0], 9090, &peer, true).answered("app"));
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(tls(&net.peer(), POD[0], 9090, &peer, true), Outcome::Closed);
    assert!(mesh.http("/ready").starts_with("HTTP/1.1 503"));
}

#[test]
fn many_connections_leave_nothing_behind() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let config = client(&certs, true);
    let rounds = |count: usize| {
        let config = config.clone();
        inside(&net.peer(), move || {
            for _ in 0..count {
                let mut stream = session(
                    dial("192.0.2.1:9090".parse().unwrap()).unwrap(),
                    config.clone(),
                );
                stream.write_all(b"hello\n").unwrap();
                let mut answer = [0; 3];
                stream.read_exact(&mut answer).unwrap();
            }
        })
        .join()
        .unwrap();
    };
    rounds(100);
    let (fds, memory) = (descriptors(&mesh), resident_kib(&mesh));
    rounds(1000);
    let begin = Instant::now();
    while descriptors(&mesh) > fds {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} descriptors, {fds} before",
            descriptors(&mesh)
        );
    }
    assert!(
        resident_kib(&mesh) < memory + 4096,
        "{} KiB, {memory} before",
        resident_kib(&mesh)
    );
}

#[test]
fn sigterm_lets_open_requests_finish() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mut mesh = Mesh::start(&net.pod(), &certs, &[]);
    let config = client(&certs, true);
    let mut stream = inside(&net.peer(), move || {
        let mut stream = session(dial("192.0.2.1:9090".parse().unwrap()).unwrap(), config);
        stream.write_all(b"hello\n").unwrap();
        let mut answer = [0; 14];
        stream.read_exact(&mut answer).unwrap();
        stream
    })
    .join()
    .unwrap();
    mesh.terminate();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(
        mesh.child.try_wait().unwrap(),
        None,
        "it waits for the open connection"
    );
    stream.write_all(b"late").unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"late");
    stream.conn.send_close_notify();
    let _ = stream.flush();
    drop(stream);
    assert_eq!(mesh.child.wait().unwrap().code(), Some(0));
    // What was protected stays closed.
    assert_eq!(plain(&net.peer(), POD[0], 9090), Outcome::Silence);
}
