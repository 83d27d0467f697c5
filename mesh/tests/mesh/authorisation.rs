//! Who may call whom, beyond membership: policy hashes, and leaves of the generation before.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::*;

fn hash(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// Writes what the Coordinator delivers about the generation before.
fn overlap(certs: &Path, previous: &Authority, policies: &[String]) {
    let list = serde_json::json!({"generation": 2, "policies": policies});
    fs::write(certs.join("mesh-previous-allowed.json"), list.to_string()).unwrap();
    fs::write(certs.join("mesh-ca-previous.pem"), previous.pem()).unwrap();
}

fn eventually(mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < 2 * PATIENCE, "never");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_peer_of_another_set_is_known_by_its_policy() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "app");
    let friend = authority.issue_with_policy("friend", &hash(0xaa));
    let other = authority.issue_with_policy("other", &hash(0xbb));
    let upper = authority.issue_with_policy("upper", &hash(0xaa).to_uppercase());
    let allow = format!("*={}", hash(0xaa));
    let mesh = Mesh::start(
        &net.pod(),
        &authority.issue("web"),
        &[("NACRE_MESH_INGRESS_ALLOW", &allow)],
    );
    assert!(tls(&net.peer(), POD[0], 9090, &friend, true).answered("app"));
    for stranger in [&other, &upper, &authority.issue("nobody")] {
        let refused = tls(&net.peer(), POD[0], 9090, stranger, true);
        assert!(refused.alert("AccessDenied"), "{refused:?}");
    }
    let log = mesh.log();
    assert!(
        log.contains(&hash(0xbb)) && log.contains(&id("other")),
        "who: {log}"
    );
    assert!(
        log.contains("not on the list") && log.contains("192.0.2.1:9090"),
        "why and where: {log}"
    );
}

#[test]
fn an_egress_entry_may_expect_a_policy() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.peer(), "[::]:7000", "far");
    let _far = Mesh::start(
        &net.peer(),
        &authority.issue_with_policy("far", &hash(0xcc)),
        &[],
    );
    let egress = "right#127.0.0.9:1#192.0.2.2:7000##wrong#127.0.0.9:2#192.0.2.2:7000";
    let peers = format!("right={},wrong={}", hash(0xcc), hash(0xdd));
    let _near = Mesh::start(
        &net.pod(),
        &authority.issue("near"),
        &[
            ("CONTRAST_EGRESS_PROXY_CONFIG", egress),
            ("NACRE_MESH_EGRESS_PEER", &peers),
        ],
    );
    assert!(plain(&net.pod(), "127.0.0.9", 1).answered("far"));
    assert_eq!(plain(&net.pod(), "127.0.0.9", 2), Outcome::Closed);
}

#[test]
fn leaves_of_the_generation_before_count_while_their_policy_is_listed() {
    let net = Net::new();
    let (old, new) = (Authority::new(), Authority::new());
    app(&net.pod(), "[::]:9090", "app");
    let kept = old.issue_with_policy("kept", &hash(1));
    let dropped = old.issue_with_policy("dropped", &hash(2));
    let anonymous = old.issue("anonymous");
    // They trust the new server, so that only the server can refuse.
    for certs in [&kept, &dropped, &anonymous] {
        fs::write(certs.join("mesh-ca.pem"), new.pem()).unwrap();
    }
    let certs = new.issue("web");
    overlap(&certs, &old, &[hash(1)]);
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let ask = |peer: &Path| tls(&net.peer(), POD[0], 9090, peer, true);
    assert!(ask(&kept).answered("app"));
    for peer in [&dropped, &anonymous] {
        let refused = ask(peer);
        assert!(refused.alert("AccessDenied"), "{refused:?}");
    }
    assert!(mesh.log().contains("generation before"), "{}", mesh.log());
    // One that was verified and remembered is out as soon as the list no longer has it,
    overlap(&certs, &old, &[hash(2)]);
    eventually(|| ask(&kept).alert("AccessDenied") && ask(&dropped).answered("app"));
    // and everybody when the files are gone, even where the others cannot be read.
    fs::write(certs.join("certChain.pem"), "torn").unwrap();
    fs::remove_file(certs.join("mesh-ca-previous.pem")).unwrap();
    eventually(|| matches!(ask(&dropped), Outcome::Tls(_)));
    assert!(tls(&net.peer(), POD[0], 9090, &new.issue("peer"), true).answered("app"));
}

#[test]
fn the_predecessor_is_no_second_mesh_ca() {
    let net = Net::new();
    let (old, new) = (Authority::new(), Authority::new());
    app(&net.pod(), "[::]:9090", "app");
    let peer = old.issue_with_policy("peer", &hash(0xab));
    fs::write(peer.join("mesh-ca.pem"), new.pem()).unwrap();
    let certs = new.issue("web");
    // A list that cannot be read lets nobody in, and keeps nobody of the current generation out.
    overlap(&certs, &old, &[hash(0xab).to_uppercase()]);
    let allow = format!("9090={},8080={}", id("peer"), id("somebody-else"));
    let allowed = ("NACRE_MESH_INGRESS_ALLOW", allow.as_str());
    let mesh = Mesh::start(&net.pod(), &certs, &[allowed]);
    let refused = tls(&net.peer(), POD[0], 9090, &peer, true);
    assert!(matches!(refused, Outcome::Tls(_)), "{refused:?}");
    assert!(tls(&net.peer(), POD[0], 9090, &new.issue("peer"), true).answered("app"));
    // One that can be read does not stand above the allow-list.
    overlap(&certs, &old, &[hash(0xab)]);
    eventually(|| mesh.metric("nacre_mesh_certificate_reloads_total") == 1);
    assert!(tls(&net.peer(), POD[0], 9090, &peer, true).answered("app"));
    assert!(tls(&net.peer(), POD[0], 8080, &peer, true).alert("AccessDenied"));
}

#[test]
fn a_look_that_failed_does_not_close_the_overlap_for_good() {
    let net = Net::new();
    let (old, new) = (Authority::new(), Authority::new());
    app(&net.pod(), "[::]:9090", "app");
    let peer = old.issue_with_policy("peer", &hash(1));
    fs::write(peer.join("mesh-ca.pem"), new.pem()).unwrap();
    let certs = new.issue("web");
    overlap(&certs, &old, &[hash(1)]);
    let mesh = Mesh::start(&net.pod(), &certs, &[]);
    let ask = || tls(&net.peer(), POD[0], 9090, &peer, true);
    assert!(ask().answered("app"));
    let (chain, aside) = (certs.join("certChain.pem"), certs.join("aside"));
    fs::rename(&chain, &aside).unwrap();
    let failures = "nacre_mesh_certificate_reload_failures_total";
    eventually(|| mesh.metric(failures) > 1);
    assert!(matches!(ask(), Outcome::Tls(_)));
    fs::rename(&aside, &chain).unwrap();
    eventually(|| ask().answered("app"));
    // Said once, whatever the number of looks.
    let log = mesh.log();
    for line in ["not read again", "generation before are refused"] {
        assert_eq!(log.matches(line).count(), 1, "{log}");
    }
}

#[test]
fn many_who_are_not_wanted_do_not_fill_the_log() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "app");
    let allow = format!("*={}", id("somebody-else"));
    let allow = [("NACRE_MESH_INGRESS_ALLOW", allow.as_str())];
    let mesh = Mesh::start(&net.pod(), &authority.issue("web"), &allow);
    let elsewhere = Authority::new();
    let (member, stranger) = (authority.issue("member"), elsewhere.issue("stranger"));
    for _ in 0..60 {
        for peer in [&member, &stranger] {
            let _ = tls(&net.peer(), POD[0], 9090, peer, true);
        }
    }
    let log = mesh.log();
    assert!(log.contains(&id("member")), "{log}");
    // One line for each, twenty of a kind in ten seconds.
    let lines = log.lines().filter(|line| line.contains("unsaid")).count();
    assert!((2..=80).contains(&lines), "{lines} lines: {log}");
}
