//! A kernel without nf_tables.
//!
//! The kernel of the test has it, so the mesh runs behind a seccomp filter that answers to its netlink
//! socket what such a kernel answers.

use std::path::Path;

use nacre_mesh::nft;

use crate::support::*;

/// Lets `socket(AF_NETLINK, _, NETLINK_NETFILTER)` fail with EPROTONOSUPPORT and starts a program.
const WITHOUT_NF_TABLES: &str = r#"
import ctypes, os, struct, sys
def op(code, k, jt=0, jf=0): return struct.pack("<HBBI", code, jt, jf, k)
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
code = b"".join([
    op(LOAD, 0), op(EQUAL, 41, 0, 5),        # the number of socket(2) on x86-64
    op(LOAD, 16), op(EQUAL, 16, 0, 3),       # AF_NETLINK
    op(LOAD, 32), op(EQUAL, 12, 0, 1),       # NETLINK_NETFILTER
    op(RETURN, 0x00050000 | 93),             # EPROTONOSUPPORT
    op(RETURN, 0x7fff0000),
])
held = ctypes.create_string_buffer(code)
program = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("seccomp: %s" % os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// A mesh that has no nf_tables.
pub fn behind_the_filter(namespace: &str, certs: &Path, env: &[(&str, &str)]) -> Mesh {
    let program = env!("CARGO_BIN_EXE_nacre-mesh");
    Mesh::spawn_by(
        &["/usr/bin/python3", "-c", WITHOUT_NF_TABLES, program],
        namespace,
        certs,
        env,
    )
}

#[test]
fn iptables_takes_over_and_closes_as_well() {
    let net = Net::new();
    let authority = Authority::new();
    for (port, name) in [(8001, "main"), (8080, "metrics"), (9090, "other")] {
        app(&net.pod(), &format!("[::]:{port}"), name);
    }
    let backend = authority.issue("backend");
    let example = (
        "CONTRAST_INGRESS_PROXY_CONFIG",
        "main#8001#false##metrics#8080#true",
    );
    let legacy = |arguments: &[&str]| {
        let pod = net.pod();
        let mut command = vec!["ip", "netns", "exec", &pod];
        command.extend(arguments);
        run(&command)
    };
    legacy(&["iptables-legacy", "-N", "NACRE_DEFAULT_DENY"]);
    legacy(&["iptables-legacy", "-A", "NACRE_DEFAULT_DENY", "-j", "DROP"]);
    legacy(&["iptables-legacy", "-A", "INPUT", "-j", "NACRE_DEFAULT_DENY"]);
    let mut mesh = behind_the_filter(&net.pod(), &authority.issue("web"), &[example]);
    mesh.wait();
    assert!(
        mesh.log().contains("iptables sets the rules"),
        "{}",
        mesh.log()
    );
    for ip in POD {
        let from = net.peer();
        assert!(plain(&from, ip, 8080).answered("metrics"), "{ip}");
        assert!(
            tls(&from, ip, 8001, &backend, false).answered("main"),
            "{ip}"
        );
        assert!(
            tls(&from, ip, 9090, &backend, true).answered("other"),
            "{ip}"
        );
        let refused = tls(&from, ip, 9090, &backend, false);
        assert!(refused.alert("CertificateRequired"), "{ip}: {refused:?}");
        assert_eq!(plain(&from, ip, 15006), Outcome::Closed, "{ip}");
    }
    // What somebody takes away comes back.
    for program in ["iptables-legacy", "ip6tables-legacy"] {
        legacy(&[program, "-t", "mangle", "-F"]);
    }
    let begin = std::time::Instant::now();
    while mesh.metric("nacre_mesh_rules_restored_total") == 0 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // A dead proxy lets nothing through.
    mesh.kill();
    for ip in POD {
        for port in [8001, 9090, 15006] {
            assert_eq!(
                hushed(&net.peer(), ip, port),
                Outcome::Silence,
                "{ip} {port}"
            );
        }
        assert!(plain(&net.peer(), ip, 8080).answered("metrics"), "{ip}");
    }
    // Another start leaves one set of rules.
    let mut mesh = behind_the_filter(&net.pod(), &authority.issue("web"), &[example]);
    mesh.wait();
    let listed = legacy(&["iptables-legacy-save", "-t", "mangle"]);
    let jumps = listed
        .lines()
        .filter(|line| line.starts_with("-A PREROUTING"));
    assert_eq!(
        jumps.collect::<Vec<_>>(),
        ["-A PREROUTING -j NACRE_MESH_IN"],
        "{listed}"
    );
    assert!(tls(&net.peer(), POD[0], 9090, &backend, true).answered("other"));
}

#[test]
fn with_neither_it_does_not_start() {
    let net = Net::new();
    let authority = Authority::new();
    app(&net.pod(), "[::]:9090", "other");
    let nowhere = ("PATH", "/nonexistent");
    let mut mesh = behind_the_filter(&net.pod(), &authority.issue("web"), &[nowhere]);
    assert_eq!(mesh.child.wait().unwrap().code(), Some(1));
    let log = mesh.log();
    assert!(
        log.contains("no nf_tables") && log.contains("CONFIG_NF_TABLES_INET"),
        "{log}"
    );
}

#[test]
fn an_expression_that_the_kernel_lacks_is_named_and_nothing_is_changed() {
    let net = Net::new();
    let ruleset = || run(&["ip", "netns", "exec", &net.pod(), "nft", "list", "ruleset"]);
    let looked = |expressions: &'static [(&'static str, &'static str)]| {
        inside(&net.pod(), || nft::require(expressions))
            .join()
            .unwrap()
    };
    looked(&nft::EXPRESSIONS).unwrap();
    // Wherever it stands, and the first of several.
    for expressions in [
        &[("meta", "CONFIG_NF_TABLES"), ("nacre", "CONFIG_NFT_NACRE")][..],
        &[
            ("nacre", "CONFIG_NFT_NACRE"),
            ("tproxy", "CONFIG_NFT_TPROXY"),
        ],
        &[
            ("tproxy", "CONFIG_NFT_TPROXY"),
            ("ct", "CONFIG_NFT_CT"),
            ("nacre", "CONFIG_NFT_NACRE"),
            ("counter", "CONFIG_NFT_COUNTER"),
            ("nobody", "CONFIG_NFT_NOBODY"),
        ],
    ] {
        assert_eq!(
            looked(expressions).unwrap_err().to_string(),
            "the kernel's nf_tables has no expression \"nacre\": use a guest kernel with CONFIG_NFT_NACRE"
        );
    }
    looked(&[]).unwrap();
    assert_eq!(ruleset(), "");
}
