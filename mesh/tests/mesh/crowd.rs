//! Strangers and members that take what they can get.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Socket, Type};

use crate::support::*;

/// The memory limit of the injected container.
const MEMORY: u64 = 64 << 20;
/// What the mesh makes of it where it has no egress entries.
const HANDSHAKES: usize = 320;
const ESTABLISHED: usize = 960;

/// A mesh that believes to have so much memory.
fn limited(net: &Net, certs: &Path, env: &[(&str, &str)]) -> Mesh {
    let program = env!("CARGO_BIN_EXE_nacre-mesh");
    let script = format!(
        "mount -t tmpfs none /sys/fs/cgroup && echo {MEMORY} > /sys/fs/cgroup/memory.max && exec {program}"
    );
    let mut mesh = Mesh::spawn_by(&["sh", "-c", &script], &net.pod(), certs, env);
    mesh.wait();
    mesh
}

/// Sockets with little room, so that the test itself needs little.
fn small_buffers(net: &Net) {
    for namespace in [net.pod(), net.peer()] {
        for name in ["tcp_rmem", "tcp_wmem"] {
            let set = format!("echo 4096 32768 32768 > /proc/sys/net/ipv4/{name}");
            run(&["ip", "netns", "exec", &namespace, "sh", "-c", &set]);
        }
    }
}

/// Connections that say this and then nothing.
fn silent(net: &Net, count: usize, says: Vec<u8>) -> Vec<TcpStream> {
    let open = move || {
        (0..count)
            .map(|_| {
                let mut stream = dial("192.0.2.1:9090".parse().unwrap()).unwrap();
                stream.write_all(&says).unwrap();
                stream
            })
            .collect()
    };
    inside(&net.peer(), open).join().unwrap()
}

/// Has every connection of an application write for as long as the test lasts, and read nothing.
fn talk(mut streams: Vec<TcpStream>) {
    let chunk = vec![7; 64 * 1024];
    let begin = Instant::now();
    while begin.elapsed() < 20 * PATIENCE {
        for stream in &mut streams {
            let _ = stream.write(&chunk);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn strangers_that_stall_and_members_that_do_not_read_fit_into_the_memory() {
    let net = Net::new();
    small_buffers(&net);
    let authority = Authority::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let certs = authority.issue("web");
    let (ready, listens) = std::sync::mpsc::channel();
    inside(&net.pod(), move || {
        let listener = TcpListener::bind("[::]:9090").unwrap();
        ready.send(()).unwrap();
        let streams = (0..ESTABLISHED)
            .map(|_| {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(b"whole\n").unwrap();
                stream.set_nonblocking(true).unwrap();
                stream
            })
            .collect();
        talk(streams);
    });
    listens.recv().unwrap();
    let mesh = limited(&net, &certs, &[]);
    let config = client(&certs, true);
    let open = move || {
        (0..ESTABLISHED)
            .map(|_| {
                let stream = dial("192.0.2.1:9090".parse().unwrap()).unwrap();
                let mut stream = session(stream, config.clone());
                stream.read_exact(&mut [0; 6]).unwrap();
                stream.sock.set_nonblocking(true).unwrap();
                stream
            })
            .collect::<Vec<_>>()
    };
    let mut members = inside(&net.peer(), open).join().unwrap();
    // Nobody reads, so what the application writes is stuck as well.
    let chunk = vec![7; 64 * 1024];
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(2) {
        for member in &mut members {
            if !member.conn.wants_write() {
                member.conn.writer().write_all(&chunk).unwrap();
            }
            match member.conn.write_tls(&mut member.sock) {
                Ok(_) => last = Instant::now(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{}", mesh.log()),
            }
        }
    }
    // A ClientHello whose end does not come.
    let mut hello = vec![22, 3, 1, 0x40, 0, 1, 0, 0xff, 0];
    hello.resize(16_000, 0);
    let begin = Instant::now();
    let strangers = silent(&net, HANDSHAKES, hello);
    // All of them have a place until the first has to go.
    let all = (ESTABLISHED + HANDSHAKES) as u64;
    while mesh.metric("nacre_mesh_connections{direction=\"ingress\"}") < all {
        assert!(begin.elapsed() < Duration::from_secs(9), "{}", mesh.log());
    }
    let resident = mesh.resident_kib();
    // The rest is for the kernel's buffers.
    assert!(resident * 1024 < MEMORY / 4 * 3, "{resident} KiB");
    drop((members, strangers));
}

#[test]
fn a_long_handshake_is_not_kept() {
    let net = Net::new();
    let authority = Authority::new();
    let _mesh = Mesh::start(&net.pod(), &authority.issue("web"), &[]);
    // Records of one message that promises to be as long as one may be.
    let mut record = vec![22, 3, 1, 0x20, 0];
    record.resize(5 + 0x2000, 0);
    record[5..9].copy_from_slice(&[1, 0, 0xf0, 0]);
    let mut stream = silent(&net, 1, record.clone()).remove(0);
    record[5..9].fill(0);
    // Three of them are longer than what is kept, and shorter than the message.
    for _ in 0..2 {
        let _ = stream.write_all(&record);
    }
    // Sooner than a handshake times out.
    stream
        .set_read_timeout(Some(Duration::from_secs(3)))
        .unwrap();
    let read = stream.read(&mut [0; 64]);
    assert!(
        read.as_ref().is_ok()
            || read
                .as_ref()
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
        "it waits for more: {read:?}"
    );
}

#[test]
fn strangers_that_say_nothing_keep_only_strangers_out() {
    let net = Net::new();
    let authority = Authority::new();
    let (certs, far) = (authority.issue("web"), authority.issue("far"));
    app(&net.pod(), "[::]:9090", "app");
    app(&net.peer(), "192.0.2.2:7000", "far");
    let _far = Mesh::start(&net.peer(), &far, &[]);
    let egress = "far#127.0.0.9:7000#192.0.2.2:7000";
    let mesh = limited(&net, &certs, &[("CONTRAST_EGRESS_PROXY_CONFIG", egress)]);
    let config = client(&certs, true);
    let open = move || {
        let mut stream = session(dial("192.0.2.1:9090".parse().unwrap()).unwrap(), config);
        stream.write_all(b"hello\n").unwrap();
        stream.read_exact(&mut [0; 14]).unwrap();
        stream
    };
    let mut member = inside(&net.peer(), open).join().unwrap();
    // More than there are places in all.
    let mut strangers = silent(&net, 1500, Vec::new());
    let begin = Instant::now();
    let ingress = mesh.metric("nacre_mesh_connections{direction=\"ingress\"}");
    assert!(ingress <= 161, "{ingress}");
    // More often than once: the listener has a place in its hand.
    for _ in 0..3 {
        assert!(plain(&net.pod(), "127.0.0.9", 7000).answered("far"));
    }
    member.write_all(b"still").unwrap();
    let mut answer = [0; 5];
    member.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"still");
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    // Those who got a place lose it.
    strangers[0].set_read_timeout(Some(3 * PATIENCE)).unwrap();
    let read = strangers[0].read(&mut [0]);
    assert!(
        !read
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{read:?}"
    );
    drop(strangers);
    assert!(tls(&net.peer(), POD[0], 9090, &certs, true).answered("app"));
}

/// Opens connections that say this, one after each pause, until it is told to stop; none of them is closed
/// before many others have come.
fn flood(
    net: &Net,
    says: Vec<u8>,
    pause: Duration,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<usize>) {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = inside(&net.peer(), move || {
        let mut open = VecDeque::new();
        let mut count = 0;
        while !stopped.load(Ordering::Relaxed) {
            if let Ok(mut stream) = dial_within("192.0.2.1:9090".parse().unwrap(), PATIENCE) {
                let _ = stream.write_all(&says);
                open.push_back(stream);
                count += 1;
            }
            if open.len() > 2_000 {
                open.pop_front();
            }
            std::thread::sleep(pause);
        }
        count
    });
    (stop, flood)
}

/// An address of the peer from which nobody floods.
fn another_address(net: &Net) {
    let peer = net.peer();
    run(&[
        "ip",
        "-n",
        &peer,
        "addr",
        "add",
        "192.0.2.3/24",
        "dev",
        "eth0",
    ]);
}

/// How long so many callers from another address take, one after the other, the quickest first.
fn callers(
    net: &Net,
    count: usize,
    config: Arc<ClientConfig>,
) -> std::thread::Result<Vec<Duration>> {
    let mut times = inside(&net.peer(), move || {
        (0..count)
            .map(|_| {
                let begin = Instant::now();
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                let own: SocketAddr = "192.0.2.3:0".parse().unwrap();
                socket.bind(&own.into()).unwrap();
                let pod: SocketAddr = "192.0.2.1:9090".parse().unwrap();
                socket.connect_timeout(&pod.into(), PATIENCE).unwrap();
                let stream = TcpStream::from(socket);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut stream = session(stream, config.clone());
                stream.write_all(b"hello\n").unwrap();
                stream.read_exact(&mut [0; 14]).unwrap();
                begin.elapsed()
            })
            .collect::<Vec<_>>()
    })
    .join()?;
    times.sort();
    Ok(times)
}

/// Newcomers whose place went to another.
const GAVE_WAY: &str = "nacre_mesh_refused_total{direction=\"ingress\",reason=\"gave_way\"}";

/// Waits until the places for handshakes are full.
fn until_one_gave_way(mesh: &Mesh) {
    let begin = Instant::now();
    while mesh.metric(GAVE_WAY) == 0 {
        assert!(begin.elapsed() < 2 * PATIENCE, "{}", mesh.log());
    }
}

/// Members from another address while somebody floods the port with this.
fn a_flood(says: impl FnOnce(&Path) -> Vec<u8>, pause: Duration) {
    let net = Net::new();
    another_address(&net);
    let authority = Authority::new();
    let certs = authority.issue("web");
    app(&net.pod(), "[::]:9090", "app");
    let mesh = limited(&net, &certs, &[]);
    let (stop, flood) = flood(&net, says(&certs), pause);
    until_one_gave_way(&mesh);
    let members = callers(&net, 10, client(&certs, true));
    stop.store(true, Ordering::Relaxed);
    let count = flood.join().unwrap();
    let members = members.unwrap();
    // A place is had for at most 10 s, so without a share each of these would take a good part of that.
    assert!(members[5] < Duration::from_secs(1), "{members:?}");
    assert!(count > HANDSHAKES, "{count} strangers");
}

#[test]
fn a_flood_of_silent_connections_keeps_no_member_out() {
    a_flood(|_| Vec::new(), Duration::ZERO);
}

#[test]
fn a_flood_of_hellos_keeps_no_member_out() {
    let says = |certs: &Path| {
        let stranger = client(certs, false);
        let name = ServerName::try_from("web").unwrap();
        let mut hello = Vec::new();
        ClientConnection::new(stranger, name)
            .unwrap()
            .write_tls(&mut hello)
            .unwrap();
        hello
    };
    // Each costs a handshake's time, so that more of them would be a question of that.
    a_flood(says, Duration::from_millis(3));
}

#[test]
fn a_flood_in_which_a_handshake_is_finished_now_and_then_keeps_nobody_out() {
    const OFTEN: Duration = Duration::from_millis(400);
    let net = Net::new();
    another_address(&net);
    let authority = Authority::new();
    let certs = authority.issue("web");
    app(&net.pod(), "[::]:9090", "app");
    // Anybody can finish one here.
    let env = [("CONTRAST_INGRESS_PROXY_CONFIG", "main#9090#false")];
    let mesh = limited(&net, &certs, &env);
    let config = client(&certs, false);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, stranger) = (Arc::clone(&stop), config.clone());
    let flood = inside(&net.peer(), move || {
        let mut open = VecDeque::new();
        let (mut last, mut finished) = (Instant::now(), 0);
        while !stopped.load(Ordering::Relaxed) {
            if let Ok(stream) = dial_within("192.0.2.1:9090".parse().unwrap(), PATIENCE) {
                let mut stream = session(stream, stranger.clone());
                let _ = stream.conn.write_tls(&mut stream.sock);
                stream.sock.set_nonblocking(true).unwrap();
                open.push_back(stream);
            }
            if open.len() > 2_000 {
                open.pop_front();
            }
            // The oldest that still has its place, and an answer to its ClientHello.
            while last.elapsed() >= OFTEN
                && let Some(stream) = open.front_mut()
            {
                match stream.conn.complete_io(&mut stream.sock) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Ok(_) => {
                        finished += 1;
                        last = Instant::now();
                    }
                    Err(_) => {}
                }
                open.pop_front();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        finished
    });
    until_one_gave_way(&mesh);
    std::thread::sleep(Duration::from_secs(2));
    let honest = callers(&net, 10, config);
    stop.store(true, Ordering::Relaxed);
    let finished = flood.join().unwrap();
    let honest = honest.unwrap();
    assert!(honest[5] < Duration::from_secs(1), "{honest:?}, {finished}");
    assert!(finished > 3, "{finished} handshakes of the stranger");
}

#[test]
fn a_crowd_from_one_address_is_served_whole() {
    // Few more: where the machine is busy, handshakes come to their end in time all the same.
    const CROWD: usize = HANDSHAKES + 80;
    let net = Net::new();
    let authority = Authority::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let certs = authority.issue("web");
    app(&net.pod(), "[::]:9090", "app");
    let mesh = limited(&net, &certs, &[]);
    let config = client(&certs, true);
    inside(&net.peer(), move || {
        // More than there are places for handshakes, and all of them there before the first goes on.
        let mut crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let stream = dial_within("192.0.2.1:9090".parse().unwrap(), 4 * PATIENCE).unwrap();
                let mut stream = session(stream, config.clone());
                stream.conn.write_tls(&mut stream.sock).unwrap();
                stream
            })
            .collect();
        for stream in &mut crowd {
            stream.write_all(b"hello\n").unwrap();
            stream.read_exact(&mut [0; 14]).unwrap();
        }
    })
    .join()
    .unwrap();
    assert_eq!(mesh.metric(GAVE_WAY), 0, "{}", mesh.log());
}

#[test]
fn what_a_reader_does_not_read_does_not_pile_up_in_the_kernel() {
    const READERS: usize = 30;
    let net = Net::new();
    let authority = Authority::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let certs = authority.issue("web");
    let (ready, listens) = std::sync::mpsc::channel();
    inside(&net.pod(), move || {
        let listener = TcpListener::bind("[::]:9090").unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || while stream.write_all(&[7; 64 * 1024]).is_ok() {});
        }
    });
    listens.recv().unwrap();
    let _mesh = Mesh::start(&net.pod(), &certs, &[]);
    let config = client(&certs, true);
    let readers = inside(&net.peer(), move || {
        let open = |_| {
            let mut stream = session(
                dial("192.0.2.1:9090".parse().unwrap()).unwrap(),
                config.clone(),
            );
            // Enough for the kernel to give it the largest buffers.
            stream.read_exact(&mut vec![0; 3 << 20]).unwrap();
            stream
        };
        (0..READERS).map(open).collect::<Vec<_>>()
    })
    .join()
    .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    // Sockets of connections from outside, which are the mesh's.
    let sockets = run(&[
        "ip",
        "netns",
        "exec",
        &net.pod(),
        "ss",
        "-tmnHO",
        "state",
        "established",
    ]);
    let queued: Vec<u64> = sockets
        .lines()
        .filter(|line| line.contains("192.0.2.2"))
        .map(|line| {
            let (_, rest) = line.split_once(",w").unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(queued.len(), READERS, "{sockets}");
    let most = *queued.iter().max().unwrap();
    assert!(most < 3 << 19, "{most} bytes wait in a socket");
    assert!(most > 64 << 10, "{most} bytes: nothing waits");
    drop(readers);
}

/// Strangers with a place each on a port without client authentication, whose application then does this, and
/// newcomers after they have been quiet for so long.
fn a_full_door(then: fn(TcpStream), quiet: Duration) {
    /// What there is of the memory beside the other port.
    const PLACES: usize = 480;
    let net = Net::new();
    let authority = Authority::with(&rcgen::PKCS_ECDSA_P256_SHA256);
    let certs = authority.issue("web");
    let (ready, listens) = std::sync::mpsc::channel();
    inside(&net.pod(), move || {
        let listener = TcpListener::bind("[::]:9090").unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(b"whole\n").unwrap();
            then(stream);
        }
    });
    listens.recv().unwrap();
    let env = [("CONTRAST_INGRESS_PROXY_CONFIG", "main#9090#false")];
    let mesh = limited(&net, &certs, &env);
    let config = client(&certs, false);
    let open = move |count: usize| {
        let config = config.clone();
        let open = move |_| {
            let stream = dial_within("192.0.2.1:9090".parse().unwrap(), 4 * PATIENCE).unwrap();
            let mut stream = session(stream, config.clone());
            stream.read_exact(&mut [0; 6]).unwrap();
            stream
        };
        inside(&net.peer(), move || {
            (0..count).map(open).collect::<Vec<_>>()
        })
        .join()
        .unwrap()
    };
    let strangers = open(PLACES);
    std::thread::sleep(quiet);
    let newcomers = open(3);
    let gave_way = "nacre_mesh_broken_total{direction=\"ingress\",reason=\"gave_way\"}";
    assert_eq!(mesh.metric(gave_way), 3, "{}", mesh.log());
    let full = "nacre_mesh_refused_total{direction=\"ingress\",reason=\"full\"}";
    assert_eq!(mesh.metric(full), 0);
    drop((strangers, newcomers));
}

#[test]
fn who_waits_for_nothing_gives_its_place_to_a_newcomer() {
    a_full_door(drop, Duration::from_secs(2));
}

#[test]
fn strangers_that_are_quiet_give_their_places_to_newcomers() {
    a_full_door(std::mem::forget, Duration::from_secs(12));
}

#[test]
fn an_egress_entry_that_nobody_answers_leaves_the_others_their_places() {
    let net = Net::new();
    let authority = Authority::new();
    let (certs, far) = (authority.issue("web"), authority.issue("far"));
    app(&net.peer(), "192.0.2.2:7000", "far");
    let _far = Mesh::start(&net.peer(), &far, &[]);
    let rules = "add table ip dead; add chain ip dead in { type filter hook prerouting priority -300; }; \
                 add rule ip dead in tcp dport 7001 drop";
    run(&["ip", "netns", "exec", &net.peer(), "nft", rules]);
    let egress = "far#127.0.0.9:7000#192.0.2.2:7000##dead#127.0.0.9:7001#192.0.2.2:7001";
    let mesh = limited(&net, &certs, &[("CONTRAST_EGRESS_PROXY_CONFIG", egress)]);
    // More than there are places for egress.
    let waiting = inside(&net.pod(), || {
        (0..700)
            .map(|_| dial("127.0.0.9:7001".parse().unwrap()).unwrap())
            .collect::<Vec<_>>()
    })
    .join()
    .unwrap();
    let begin = Instant::now();
    for _ in 0..3 {
        assert!(plain(&net.pod(), "127.0.0.9", 7000).answered("far"));
    }
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    // A quarter of the 640 is what one of two entries has to reach its other side.
    assert!(mesh.metric("nacre_mesh_connections{direction=\"egress\"}") <= 161);
    drop(waiting);
}
