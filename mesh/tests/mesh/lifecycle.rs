//! Start, certificates that change, load, memory, and the end.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::support::*;

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
    // The chain of before, the CA of now.
    let torn = authority.issue("torn");
    std::fs::write(torn.join("mesh-ca.pem"), Authority::new().pem()).unwrap();
    let cases = [
        (empty, "no certificates"),
        (mismatched, "key.pem"),
        (torn, "not issued by"),
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
}

#[test]
fn the_start_gate_is_not_told_where_the_rules_cannot_be_set() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    // Everything before the rules works: it needs NET_RAW.
    let program = env!("CARGO_BIN_EXE_nacre-mesh");
    let without = [
        "setpriv",
        "--bounding-set",
        "-net_admin",
        "--inh-caps",
        "-net_admin",
        program,
    ];
    let mut mesh = Mesh::spawn_by(&without, &net.pod(), &certs, &[]);
    assert_eq!(mesh.child.wait().unwrap().code(), Some(1));
    let log = mesh.log();
    assert!(
        log.contains("setting the rules needs the capability NET_ADMIN"),
        "{log}"
    );
    assert!(!certs.join(nacre_mesh::run::READY).exists());
}

#[test]
fn probes_that_say_nothing_keep_others_waiting_for_a_second() {
    let net = Net::new();
    let authority = Authority::new();
    let mesh = Mesh::start(&net.pod(), &authority.issue("web"), &[]);
    let silent = inside(&net.pod(), || {
        let open = |_| std::net::TcpStream::connect("127.0.0.1:15090").unwrap();
        (0..32).map(open).collect::<Vec<_>>()
    });
    let silent = silent.join().unwrap();
    let begin = Instant::now();
    assert!(mesh.http("/ready").starts_with("HTTP/1.1 200"));
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    drop(silent);
}

#[test]
fn what_it_is_not_asked_for_starts_no_mesh() {
    let run = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_nacre-mesh"))
            .args(arguments)
            .env("NACRE_MESH_TLS_DIR", "/nonexistent")
            .output()
            .unwrap()
    };
    for arguments in [&["prob"][..], &["--help"], &["probe", "more"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("usage: "));
    }
    let version = run(&["--version"]);
    assert!(version.status.success());
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert_eq!(
        version,
        format!("nacre-mesh {}\n", env!("CARGO_PKG_VERSION"))
    );
    // Where certificates were looked for is said as it was asked.
    let output = run(&[]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("no certificates in /nonexistent"), "{log}");
}

#[test]
fn the_program_probes_itself() {
    let net = Net::new();
    let authority = Authority::new();
    let pod = net.pod();
    let probe = |port: &str| {
        let program = env!("CARGO_BIN_EXE_nacre-mesh");
        std::process::Command::new("ip")
            .args(["netns", "exec", &pod, program, "probe"])
            .env("CONTRAST_ADMIN_PORT", port)
            .status()
            .unwrap()
            .success()
    };
    assert!(!probe("9901"));
    let admin = ("CONTRAST_ADMIN_PORT", "9901");
    let plain_port = ("CONTRAST_INGRESS_PROXY_CONFIG", "admin#9901#true");
    let mut mesh = Mesh::spawn(&pod, &authority.issue("web"), &[admin, plain_port]);
    let begin = Instant::now();
    while !probe("9901") {
        assert!(begin.elapsed() < PATIENCE, "{}", mesh.log());
    }
    // Both families, from outside, because it was asked for and listed.
    for ip in POD {
        let address = std::net::SocketAddr::new(ip.parse().unwrap(), 9901);
        let reply = inside(&net.peer(), move || {
            let mut stream = dial(address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).unwrap();
            reply
        });
        assert!(
            reply
                .join()
                .unwrap()
                .contains("nacre_mesh_connections_limit"),
            "{ip}"
        );
    }
    mesh.kill();
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
    assert_eq!(hushed(&net.peer(), POD[0], 9090), Outcome::Silence);
}

/// What a read has said.
type End = Result<usize, ErrorKind>;

/// A connection that is open both through the ingress and the egress of a mesh, and what its ends read
/// when the mesh has gone.
fn what_the_applications_read(env: &[(&str, &str)], end: impl FnOnce(&mut Mesh)) -> [End; 2] {
    let net = Net::new();
    let authority = Authority::new();
    let far = authority.issue("far");
    let (served, at_service) = std::sync::mpsc::channel();
    let (ready, listens) = std::sync::mpsc::channel();
    inside(&net.pod(), move || {
        let listener = std::net::TcpListener::bind("[::]:9090").unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
        stream.write_all(b"whole\n").unwrap();
        served.send(stream.read(&mut [0]).map_err(|error| error.kind()))
    });
    listens.recv().unwrap();
    app(&net.peer(), "192.0.2.2:7000", "far");
    let _far = Mesh::start(&net.peer(), &far, &[]);
    let mut all = vec![(
        "CONTRAST_EGRESS_PROXY_CONFIG",
        "far#127.0.0.9:7000#192.0.2.2:7000",
    )];
    all.extend_from_slice(env);
    let mut mesh = Mesh::start(&net.pod(), &authority.issue("web"), &all);
    let caller = inside(&net.peer(), {
        let config = client(&far, true);
        move || {
            let mut stream = session(dial("192.0.2.1:9090".parse().unwrap()).unwrap(), config);
            stream.write_all(b"hello\n").unwrap();
            stream.read_exact(&mut [0; 6]).unwrap();
            stream
        }
    });
    let _caller = caller.join().unwrap();
    let mut dialled = inside(&net.pod(), || {
        let mut stream = dial("127.0.0.9:7000".parse().unwrap()).unwrap();
        stream.write_all(b"hello\n").unwrap();
        stream.read_exact(&mut [0; 14]).unwrap();
        stream
    })
    .join()
    .unwrap();
    end(&mut mesh);
    let at_dialler = dialled.read(&mut [0]).map_err(|error| error.kind());
    [at_service.recv_timeout(PATIENCE).unwrap(), at_dialler]
}

#[test]
fn a_mesh_that_is_killed_resets_the_applications() {
    let read = what_the_applications_read(&[], Mesh::kill);
    assert_eq!(read, [Err(ErrorKind::ConnectionReset); 2]);
}

#[test]
fn what_is_open_when_the_drain_ends_is_reset() {
    let read = what_the_applications_read(&[("NACRE_MESH_DRAIN_SECONDS", "1")], |mesh| {
        mesh.terminate();
        assert_eq!(mesh.child.wait().unwrap().code(), Some(0));
        assert!(mesh.log().contains("connections cut"), "{}", mesh.log());
    });
    assert_eq!(read, [Err(ErrorKind::ConnectionReset); 2]);
}
