//! The interception table, for both families, with the proxy alive and dead.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

use crate::support::*;

const EXAMPLE: (&str, &str) = (
    "CONTRAST_INGRESS_PROXY_CONFIG",
    "main#8001#false##metrics#8080#true",
);

fn pod_with_apps() -> (Net, Authority) {
    let net = Net::new();
    for (port, name) in [(8001, "main"), (8080, "metrics"), (9090, "other")] {
        app(&net.pod(), &format!("[::]:{port}"), name);
    }
    (net, Authority::new())
}

#[test]
fn the_example_of_the_guide_on_both_families() {
    let (net, authority) = pod_with_apps();
    let (web, backend) = (authority.issue("web"), authority.issue("backend"));
    let mesh = Mesh::start(&net.pod(), &web, &[EXAMPLE]);
    for (ip, peer) in POD.into_iter().zip(PEER) {
        let from = net.peer();
        assert_eq!(
            plain(&from, ip, 8080),
            Outcome::Answer(format!("metrics {peer}")),
            "{ip}"
        );
        assert!(
            tls(&from, ip, 8001, &backend, false).answered("main"),
            "{ip}"
        );
        assert!(
            tls(&from, ip, 9090, &backend, true).answered("other"),
            "{ip}"
        );
        // Refused with the alert that says so.
        let refused = tls(&from, ip, 9090, &backend, false);
        assert!(refused.alert("CertificateRequired"), "{ip}: {refused:?}");
        // Plain text gets a TLS alert and never the application.
        for (port, name) in [(8001, "main"), (9090, "other")] {
            let got = plain(&from, ip, port);
            assert!(got != Outcome::Silence && !got.answered(name), "{got:?}");
        }
        // The ports of the mesh itself are closed to everybody.
        for port in [15006, 15007] {
            assert_eq!(plain(&from, ip, port), Outcome::Closed, "{ip}");
        }
    }
    // Within the pod nothing is intercepted.
    for ip in ["127.0.0.1", "::1", POD[0], POD[1]] {
        assert!(plain(&net.pod(), ip, 9090).answered("other"), "{ip}");
    }
    assert_eq!(
        mesh.metric("nacre_mesh_handshakes_total{direction=\"ingress\"}"),
        4
    );
    assert!(mesh.metric("nacre_mesh_refused_total{direction=\"ingress\",reason=\"direct\"}") >= 4);
}

#[test]
fn hundreds_of_listed_ports() {
    let (net, authority) = pod_with_apps();
    let mut entries = vec!["main#8001#false".to_owned(), "metrics#8080#true".to_owned()];
    entries.extend((0..300).map(|n| format!("p{n}#{}#{}", 20_000 + n, n % 2 == 0)));
    let ingress = entries.join("##");
    let certs = authority.issue("web");
    let env = [("CONTRAST_INGRESS_PROXY_CONFIG", ingress.as_str())];
    let _mesh = Mesh::start(&net.pod(), &certs, &env);
    assert!(plain(&net.peer(), POD[0], 8080).answered("metrics"));
    assert!(tls(&net.peer(), POD[0], 8001, &certs, false).answered("main"));
    assert!(tls(&net.peer(), POD[0], 9090, &certs, true).answered("other"));
}

#[test]
fn plain_text_for_the_application_does_not_leave_the_pod() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let _mesh = Mesh::start(&net.pod(), &certs, &[]);
    let (pod, peer) = (net.pod(), net.peer());
    let ip = |namespace: &str, arguments: &str| {
        let mut command = vec!["ip", "-n", namespace];
        command.extend(arguments.split(' '));
        run(&command)
    };
    // What comes for a foreign address is the pod's, and what goes there leaves.
    ip(&peer, "route add 203.0.113.0/24 via 192.0.2.1");
    ip(&pod, "rule add iif eth0 lookup 100");
    ip(&pod, "route add local 203.0.113.0/24 dev lo table 100");
    ip(&pod, "route add 203.0.113.0/24 via 192.0.2.2");
    let nft = |command: &str| run(&["ip", "netns", "exec", &peer, "nft", command]);
    nft(
        "add table ip seen; add chain ip seen in { type filter hook prerouting priority 0; }; add rule ip seen in ip daddr 203.0.113.7 tcp dport 9090 counter",
    );
    let before = nft("list table ip seen");
    assert!(before.contains("packets 0 "), "{before}");
    let config = client(&certs, true);
    let shook = inside(&peer, move || {
        let stream = dial("203.0.113.7:9090".parse().unwrap()).unwrap();
        let mut stream = session(stream, config);
        stream.conn.complete_io(&mut stream.sock).unwrap();
        // Longer than the mesh needs to begin a connection.
        std::thread::sleep(Duration::from_millis(500));
    });
    shook.join().unwrap();
    let after = nft("list table ip seen");
    assert!(after.contains("packets 0 "), "{after}");
    let counted = run(&["ip", "netns", "exec", &pod, "nft", "list", "ruleset"]);
    let dropped = counted
        .lines()
        .find(|line| line.contains("mark 0x6e616373"))
        .unwrap();
    assert!(!dropped.contains("packets 0 "), "{dropped}");
}

#[test]
fn the_other_side_of_tls_is_asked_whether_it_is_there() {
    let (net, authority) = pod_with_apps();
    app(&net.peer(), "192.0.2.2:7000", "far");
    let (certs, far) = (authority.issue("web"), authority.issue("far"));
    let _far = Mesh::start(&net.peer(), &far, &[]);
    let egress = "far#127.0.0.9:7000#192.0.2.2:7000";
    let env = [("CONTRAST_EGRESS_PROXY_CONFIG", egress)];
    let _mesh = Mesh::start(&net.pod(), &certs, &env);
    let config = client(&certs, true);
    let _in = inside(&net.peer(), move || {
        let mut stream = session(dial("192.0.2.1:9090".parse().unwrap()).unwrap(), config);
        stream.write_all(b"hello\n").unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream
    })
    .join()
    .unwrap();
    let _out = inside(&net.pod(), || {
        let mut stream = dial("127.0.0.9:7000".parse().unwrap()).unwrap();
        stream.write_all(b"hello\n").unwrap();
        stream.read_exact(&mut [0; 14]).unwrap();
        stream
    })
    .join()
    .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let sockets = run(&["ip", "netns", "exec", &net.pod(), "ss", "-tonH"]);
    for (mine, theirs) in [
        ("192.0.2.1]:9090", "192.0.2.2]"),
        ("192.0.2.1:", "192.0.2.2:7000"),
    ] {
        let socket = sockets
            .lines()
            .find(|line| line.contains(mine) && line.contains(theirs))
            .unwrap_or_else(|| panic!("{mine} {theirs} in {sockets}"));
        assert!(socket.contains("timer:(keepalive,"), "{socket}");
    }
}

#[test]
fn a_dead_proxy_means_no_traffic() {
    let (net, authority) = pod_with_apps();
    let mut mesh = Mesh::start(&net.pod(), &authority.issue("web"), &[EXAMPLE]);
    mesh.kill();
    for ip in POD {
        for port in [8001, 9090, 15006, 15007] {
            assert_eq!(
                hushed(&net.peer(), ip, port),
                Outcome::Silence,
                "{ip} {port}"
            );
        }
        assert!(plain(&net.peer(), ip, 8080).answered("metrics"), "{ip}");
    }
}

#[test]
fn strangers_and_the_expired_are_refused() {
    let (net, authority) = pod_with_apps();
    let mesh = Mesh::start(&net.pod(), &authority.issue("web"), &[EXAMPLE]);
    let elsewhere = Authority::new();
    let foreign = elsewhere.issue("web");
    // It presents its own certificate, but trusts our CA, so that only the server can refuse.
    std::fs::copy(
        authority.dir.path().join("web/mesh-ca.pem"),
        foreign.join("mesh-ca.pem"),
    )
    .unwrap();
    let refused = tls(&net.peer(), POD[0], 9090, &foreign, true);
    assert!(
        refused.alert("UnknownCA") || refused.alert("DecryptError"),
        "{refused:?}"
    );
    let expired = authority.issue_for("late", -10);
    let refused = tls(&net.peer(), POD[0], 9090, &expired, true);
    assert!(refused.alert("CertificateExpired"), "{refused:?}");
    assert_eq!(
        mesh.metric("nacre_mesh_refused_total{direction=\"ingress\",reason=\"handshake\"}"),
        2
    );
}

#[test]
fn only_listed_peers_get_in() {
    let (net, authority) = pod_with_apps();
    let (friend, other) = (authority.issue("friend"), authority.issue("other"));
    let allow = format!("9090={},*={}", id("friend"), id("other"));
    let mesh = Mesh::start(
        &net.pod(),
        &authority.issue("web"),
        &[("NACRE_MESH_INGRESS_ALLOW", &allow)],
    );
    assert!(tls(&net.peer(), POD[0], 9090, &friend, true).answered("other"));
    let refused = tls(&net.peer(), POD[0], 9090, &other, true);
    assert!(refused.alert("AccessDenied"), "{refused:?}");
    // The other ports have the other list, and a verified leaf is asked again each time.
    assert!(tls(&net.peer(), POD[0], 8080, &other, true).answered("metrics"));
    assert!(tls(&net.peer(), POD[0], 8080, &friend, true).alert("AccessDenied"));
    assert_eq!(
        mesh.metric("nacre_mesh_refused_total{direction=\"ingress\",reason=\"unwanted\"}"),
        2
    );
    assert!(
        mesh.log().contains(&id("other")),
        "the log says who: {}",
        mesh.log()
    );
}

#[test]
fn inbound_udp_is_dropped_unless_let_in() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let server = inside(&net.pod(), || UdpSocket::bind("192.0.2.1:5000").unwrap())
        .join()
        .unwrap();
    server
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let client = inside(&net.peer(), || UdpSocket::bind("192.0.2.2:5001").unwrap())
        .join()
        .unwrap();
    let mut buffer = [0; 16];
    {
        let _mesh = Mesh::start(&net.pod(), &certs, &[]);
        client.send_to(b"x", "192.0.2.1:5000").unwrap();
        assert!(server.recv(&mut buffer).is_err());
        // Answers to what the pod sends do come.
        server.send_to(b"q", "192.0.2.2:5001").unwrap();
        client.recv(&mut buffer).unwrap();
        client.send_to(b"a", "192.0.2.1:5000").unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 1);
    }
    let net = Net::new();
    let server = inside(&net.pod(), || UdpSocket::bind("192.0.2.1:5000").unwrap())
        .join()
        .unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = inside(&net.peer(), || UdpSocket::bind("192.0.2.2:5001").unwrap())
        .join()
        .unwrap();
    let _mesh = Mesh::start(&net.pod(), &certs, &[("NACRE_MESH_INBOUND_UDP", "allow")]);
    client.send_to(b"x", "192.0.2.1:5000").unwrap();
    assert_eq!(server.recv(&mut buffer).unwrap(), 1);
}

#[test]
fn disabled_touches_nothing() {
    let (net, authority) = pod_with_apps();
    let _mesh = Mesh::start(
        &net.pod(),
        &authority.issue("web"),
        &[("CONTRAST_INGRESS_PROXY_CONFIG", "DISABLED")],
    );
    assert!(plain(&net.peer(), POD[0], 9090).answered("other"));
    // The kubelet's probe of the sidecar.
    assert_eq!(plain(&net.peer(), POD[0], 15006), Outcome::Closed);
    assert_eq!(
        run(&["ip", "netns", "exec", &net.pod(), "nft", "list", "tables"]),
        ""
    );
}

#[test]
fn rules_are_set_again_when_flushed() {
    let (net, authority) = pod_with_apps();
    let env = [EXAMPLE, ("NACRE_MESH_LOG", "debug")];
    let mesh = Mesh::start(&net.pod(), &authority.issue("web"), &env);
    let looked = || mesh.log().matches("looking for an expression").count();
    assert_eq!(
        looked(),
        nacre_mesh::nft::EXPRESSIONS.len(),
        "{}",
        mesh.log()
    );
    run(&["ip", "netns", "exec", &net.pod(), "nft", "flush", "ruleset"]);
    let begin = std::time::Instant::now();
    while mesh.metric("nacre_mesh_rules_restored_total") == 0 {
        assert!(begin.elapsed() < PATIENCE);
    }
    // The pod is open until they are set, so nothing comes before that.
    assert_eq!(
        looked(),
        nacre_mesh::nft::EXPRESSIONS.len(),
        "{}",
        mesh.log()
    );
    assert!(!hushed(&net.peer(), POD[0], 9090).answered("other"));
    assert!(mesh.http("/ready").starts_with("HTTP/1.1 200"));
}

#[test]
fn the_default_deny_of_a_guest_is_lifted_with_the_rules() {
    let (net, authority) = pod_with_apps();
    let pod = net.pod();
    let nft = |command: &str| run(&["ip", "netns", "exec", &pod, "nft", command]);
    nft(
        "add table inet nacre_default_deny; add chain inet nacre_default_deny input { type filter hook input priority 0; policy drop; }",
    );
    assert_eq!(hushed(&net.peer(), POD[0], 8080), Outcome::Silence);
    let _mesh = Mesh::start(&pod, &authority.issue("web"), &[EXAMPLE]);
    assert!(plain(&net.peer(), POD[0], 8080).answered("metrics"));
    assert_eq!(nft("list tables").trim(), "table inet nacre_mesh");
}

#[test]
fn the_default_deny_is_lifted_where_ingress_is_disabled() {
    let (net, authority) = pod_with_apps();
    let pod = net.pod();
    let nft = |command: &str| run(&["ip", "netns", "exec", &pod, "nft", command]);
    nft(
        "add table inet nacre_default_deny; add chain inet nacre_default_deny input { type filter hook input priority 0; policy drop; }",
    );
    let disabled = ("CONTRAST_INGRESS_PROXY_CONFIG", "DISABLED");
    let _mesh = Mesh::start(&pod, &authority.issue("web"), &[disabled]);
    assert!(plain(&net.peer(), POD[0], 9090).answered("other"));
    assert_eq!(nft("list tables"), "");
}

#[test]
fn the_rules_are_what_the_documentation_says() {
    let (net, authority) = pod_with_apps();
    let strict = ("NACRE_MESH_STRICT_EGRESS", "true");
    let _mesh = Mesh::start(&net.pod(), &authority.issue("web"), &[EXAMPLE, strict]);
    let listed = run(&[
        "ip",
        "netns",
        "exec",
        &net.pod(),
        "nft",
        "-n",
        "list",
        "ruleset",
    ]);
    // Counters count, and versions of nft differ in how they write priorities.
    let rules: Vec<String> = listed
        .lines()
        .map(|line| {
            let (rule, counter) = line
                .trim()
                .split_once(" packets")
                .unwrap_or((line.trim(), ""));
            match counter.rsplit_once(' ') {
                Some((_, verdict)) => format!("{rule} {verdict}"),
                None => rule.to_owned(),
            }
        })
        .filter(|line| !line.starts_with("type filter hook"))
        .collect();
    insta::assert_snapshot!(rules.join("\n"));
}
