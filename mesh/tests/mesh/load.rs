//! Much of everything.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::support::*;

/// Keys of which many can be used in a test.
fn quick() -> Authority {
    Authority::with(&rcgen::PKCS_ECDSA_P256_SHA256)
}

/// Whether a connection came to be at all.
#[derive(PartialEq, Eq, Debug)]
enum Request {
    Answered,
    NotAccepted,
    Lost(String),
}

/// One connection with one request.
fn request(config: &Arc<ClientConfig>) -> Request {
    // Longer than the kernel waits before it tries a second time.
    let patience = Duration::from_millis(2500);
    let Ok(stream) = dial_within("192.0.2.1:9090".parse().unwrap(), patience) else {
        return Request::NotAccepted;
    };
    stream.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let mut stream = session(stream, Arc::clone(config));
    let mut answer = [0; 14];
    match stream
        .write_all(b"hello\n")
        .and_then(|()| stream.read_exact(&mut answer))
    {
        Ok(()) => Request::Answered,
        Err(error) => Request::Lost(error.to_string()),
    }
}

/// Requests from several threads until told to stop or until nothing is accepted any more.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(net: &Net, config: &Arc<ClientConfig>, threads: usize) -> Self {
        let (stop, answered) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU32::new(0)),
        );
        let threads = (0..threads)
            .map(|_| {
                let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
                let config = Arc::clone(config);
                inside(&net.peer(), move || {
                    let mut lost = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match request(&config) {
                            Request::Answered => {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Request::NotAccepted => break,
                            Request::Lost(why) => lost.push(why),
                        }
                    }
                    lost
                })
            })
            .collect();
        Self {
            stop,
            answered,
            threads,
        }
    }

    fn answered(&self) -> u32 {
        self.answered.load(Ordering::Relaxed)
    }

    /// What went wrong.
    fn end(self) -> Vec<String> {
        self.threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    }
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() {
    let net = Net::new();
    let authority = quick();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let config = client(&certs, true);
    let rounds = |count: u32| {
        let left = Arc::new(AtomicU32::new(count));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (left, config) = (Arc::clone(&left), Arc::clone(&config));
                inside(&net.peer(), move || {
                    while left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                        .is_ok()
                    {
                        assert_eq!(request(&config), Request::Answered);
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    };
    rounds(500);
    let (fds, memory) = (mesh.descriptors(), mesh.resident_kib());
    rounds(10_000);
    let begin = Instant::now();
    while mesh.descriptors() > fds {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} descriptors, {fds} before",
            mesh.descriptors()
        );
    }
    let now = mesh.resident_kib();
    assert!(now < memory + 2048, "{now} KiB, {memory} before");
    assert_eq!(
        mesh.metric("nacre_mesh_connections{direction=\"ingress\"}"),
        0
    );
    assert!(mesh.metric("nacre_mesh_handshakes_total{direction=\"ingress\"}") >= 10_500);
}

#[test]
fn a_thousand_idle_connections_take_little_and_give_it_back() {
    const MANY: usize = 1000;
    let net = Net::new();
    let authority = quick();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let config = client(&certs, true);
    assert_eq!(
        inside(&net.peer(), {
            let config = Arc::clone(&config);
            move || request(&config)
        })
        .join()
        .unwrap(),
        Request::Answered
    );
    let idle = mesh.resident_kib();
    let mut open = inside(&net.peer(), move || {
        (0..MANY)
            .map(|_| {
                let stream = dial("192.0.2.1:9090".parse().unwrap()).unwrap();
                let mut stream = session(stream, Arc::clone(&config));
                stream.write_all(b"hello\n").unwrap();
                stream.read_exact(&mut [0; 14]).unwrap();
                stream
            })
            .collect::<Vec<_>>()
    })
    .join()
    .unwrap();
    assert_eq!(
        mesh.metric("nacre_mesh_connections{direction=\"ingress\"}"),
        MANY as u64
    );
    let full = mesh.resident_kib();
    assert!(
        (full - idle) / MANY as u64 <= 12,
        "{idle} KiB idle, {full} KiB with {MANY}"
    );
    // They still work, the first as well as the last.
    for stream in [0, MANY / 2, MANY - 1] {
        open[stream].write_all(b"still").unwrap();
        open[stream].read_exact(&mut [0; 5]).unwrap();
    }
    drop(open);
    let begin = Instant::now();
    // All but what of the program's code is in memory since then, and blocks with something in them.
    while mesh.resident_kib() > idle + (full - idle) / 2 {
        assert!(
            begin.elapsed() < 2 * PATIENCE,
            "{} KiB, {idle} before, {full} in between",
            mesh.resident_kib()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn certificates_change_under_load_and_nobody_notices() {
    let net = Net::new();
    let authority = quick();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let load = Load::start(&net, &client(&certs, true), 4);
    let reloads = || mesh.metric("nacre_mesh_certificate_reloads_total");
    let begin = Instant::now();
    while reloads() < 3 {
        assert!(begin.elapsed() < 6 * PATIENCE, "{}", mesh.log());
        // File by file, so that it is read in between at times.
        authority.issue("web");
        std::thread::sleep(Duration::from_millis(300));
    }
    let answered = load.answered();
    load.stop.store(true, Ordering::Relaxed);
    assert_eq!(load.end(), Vec::<String>::new());
    assert!(answered > 100, "{answered}");
}

#[test]
fn sigterm_under_load_loses_no_accepted_request() {
    let net = Net::new();
    let authority = quick();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let mut mesh = Mesh::start(&net.pod(), &certs, &[]);
    let load = Load::start(&net, &client(&certs, true), 8);
    let begin = Instant::now();
    while load.answered() < 200 {
        assert!(begin.elapsed() < 4 * PATIENCE, "{}", mesh.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    mesh.terminate();
    // Each goes on until it is not accepted any more.
    assert_eq!(load.end(), Vec::<String>::new());
    assert_eq!(mesh.child.wait().unwrap().code(), Some(0), "{}", mesh.log());
    assert!(!mesh.log().contains("connections cut"), "{}", mesh.log());
    assert_eq!(hushed(&net.peer(), POD[0], 9090), Outcome::Silence);
}

#[test]
fn a_full_connection_table_opens_nothing() {
    let net = Net::new();
    let authority = quick();
    app(&net.pod(), "[::]:9090", "app");
    let certs = authority.issue("web");
    let _mesh = Mesh::start(&net.pod(), &certs, &[]);
    let number = |name: &str| -> u64 {
        let file = format!("/proc/sys/net/netfilter/{name}");
        let text = run(&["ip", "netns", "exec", &net.pod(), "cat", &file]);
        text.trim().parse().unwrap()
    };
    // A slow machine fills it as well, so what is in it stays.
    let longer = "echo 600 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout";
    run(&["ip", "netns", "exec", &net.pod(), "sh", "-c", longer]);
    let most = number("nf_conntrack_max");
    // The pod itself sends, because what comes in unasked is not remembered.
    let filling = inside(&net.pod(), move || {
        let mut left = most + most / 8;
        for _ in 0..16 {
            let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
            for port in 1..=u16::MAX {
                let _ = socket.send_to(b"x", ("192.0.2.2", port));
                left = left.saturating_sub(1);
                if left == 0 {
                    return;
                }
            }
        }
    });
    let mut fullest = 0;
    while !filling.is_finished() {
        fullest = fullest.max(number("nf_conntrack_count"));
        // It may wait for a place, but it does not get around the mesh.
        assert!(!hushed(&net.peer(), POD[0], 9090).answered("app"));
    }
    filling.join().unwrap();
    let reached = fullest.max(number("nf_conntrack_count"));
    assert!(reached * 10 >= most * 9, "{reached} of {most}");
    assert!(!hushed(&net.peer(), POD[0], 9090).answered("app"));
    let answer = tls(&net.peer(), POD[0], 9090, &certs, true);
    assert!(
        answer.answered("app") || answer == Outcome::Silence,
        "{answer:?}"
    );
}
