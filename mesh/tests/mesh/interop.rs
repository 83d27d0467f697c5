//! Others on either side: a real HTTP application, curl, openssl, nginx, Envoy.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::*;
use crate::tools::*;

const EXAMPLE: (&str, &str) = (
    "CONTRAST_INGRESS_PROXY_CONFIG",
    "main#8001#false##metrics#8080#true",
);

/// An HTTP server on the three ports of the guide's example.
fn http_app(net: &Net, authority: &Authority) -> Running {
    let servers = [(8001, "main"), (8080, "metrics"), (9090, "other")].map(|(port, name)| {
        format!("server {{ listen {port}; listen [::]:{port}; return 200 \"{name}\\n\"; }}")
    });
    let folder = authority.dir.path().join("app");
    nginx(&net.pod(), &folder, &servers.join("\n"), "127.0.0.1:9090")
}

/// Runs a program in a namespace; its status and everything it has printed.
fn ask(namespace: &str, command: &[&str], input: &str) -> (i32, String) {
    let mut child = Command::new("/usr/sbin/ip")
        .args(["netns", "exec", namespace, "timeout", "20"])
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn curl(namespace: &str, certs: &Path, with_certificate: bool, url: &str) -> (i32, String) {
    let curl = tool("NACRE_TEST_CURL", "curl");
    let file = |name: &str| certs.join(name).display().to_string();
    let (authority, chain, key) = (file("mesh-ca.pem"), file("certChain.pem"), file("key.pem"));
    let mut command = vec![
        curl.to_str().unwrap(),
        "-sS",
        "--max-time",
        "5",
        "--cacert",
        &authority,
        "--connect-to",
        "web:8001:192.0.2.1:8001",
        "--connect-to",
        "web:9090:[2001:db8:5::1]:9090",
        "--connect-to",
        "web:8080:192.0.2.1:8080",
    ];
    if with_certificate {
        command.extend(["--cert", &chain, "--key", &key]);
    }
    command.push(url);
    ask(namespace, &command, "")
}

#[test]
fn the_example_of_the_guide_with_curl() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let _app = http_app(&net, &authority);
    let _mesh = Mesh::start(&net.pod(), &certs, &[EXAMPLE]);
    let peer = authority.issue("peer");
    let curl = |with, url| curl(&net.peer(), &peer, with, url);
    assert_eq!(curl(false, "https://web:8001/"), (0, "main\n".to_owned()));
    assert_eq!(curl(false, "http://web:8080/"), (0, "metrics\n".to_owned()));
    assert_eq!(curl(true, "https://web:9090/"), (0, "other\n".to_owned()));
    // 56: the alert comes after the handshake of TLS 1.3 is done for the client.
    let (status, said) = curl(false, "https://web:9090/");
    assert!(
        status == 56 && said.contains("certificate required"),
        "{status} {said}"
    );
    for url in ["http://web:8001/", "http://web:9090/"] {
        let (status, said) = curl(true, url);
        assert!(
            status != 0 && !said.contains("main") && !said.contains("other"),
            "{url}: {status} {said}"
        );
    }
}

#[test]
fn openssl_on_either_side() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let peer = authority.issue("peer");
    let openssl = tool("NACRE_TEST_OPENSSL", "openssl");
    let openssl = openssl.to_str().unwrap();
    let file = |name: &str| peer.join(name).display().to_string();
    let (authority_file, chain, key) =
        (file("mesh-ca.pem"), file("certChain.pem"), file("key.pem"));

    let _app = http_app(&net, &authority);
    let mut serve = Command::new(openssl);
    serve.args([
        "s_server",
        "-accept",
        "192.0.2.2:4001",
        "-cert",
        &chain,
        "-key",
        &key,
        "-www",
    ]);
    serve.args([
        "-CAfile",
        &authority_file,
        "-Verify",
        "4",
        "-verify_return_error",
        "-tls1_3",
    ]);
    let log = authority.dir.path().join("s_server");
    let server = Running::start(&net.peer(), &mut serve, log, "192.0.2.2:4001");
    let egress = (
        "CONTRAST_EGRESS_PROXY_CONFIG",
        "backend#127.0.0.2:4001#192.0.2.2:4001",
    );
    let _mesh = Mesh::start(&net.pod(), &certs, &[EXAMPLE, egress]);

    let client = |more: &[&str]| {
        let mut command = vec![
            openssl,
            "s_client",
            "-connect",
            "192.0.2.1:9090",
            // Until the application closes, not until there is no more input.
            "-ign_eof",
            "-servername",
            "web",
        ];
        command.extend(["-CAfile", &authority_file, "-verify_return_error"]);
        command.extend(more);
        ask(&net.peer(), &command, "GET / HTTP/1.0\r\n\r\n")
    };
    let identity = ["-cert", &chain, "-key", &key];
    let (_, said) = client(&identity);
    assert!(said.contains("other") && said.contains("TLSv1.3"), "{said}");
    let (_, said) = client(&[]);
    assert!(
        said.contains("certificate required") && !said.contains("other\n"),
        "{said}"
    );
    let (status, said) = client(&["-tls1_2", "-cert", &chain, "-key", &key]);
    assert!(status != 0 && said.contains("protocol version"), "{said}");

    let (status, said) = ask(
        &net.pod(),
        &["curl", "-sS", "--max-time", "5", "http://127.0.0.2:4001/"],
        "",
    );
    assert!(
        status == 0 && said.contains("TLSv1.3"),
        "{said} {}",
        server.output()
    );
}

#[test]
fn nginx_on_either_side() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let peer = authority.issue("peer");
    let _app = http_app(&net, &authority);
    let egress = (
        "CONTRAST_EGRESS_PROXY_CONFIG",
        "backend#127.0.0.2:4001#192.0.2.2:4001",
    );
    let _mesh = Mesh::start(&net.pod(), &certs, &[EXAMPLE, egress]);
    let dir = peer.display();
    let both = format!(
        "server {{ listen 192.0.2.2:4001 ssl; ssl_certificate {dir}/certChain.pem; \
         ssl_certificate_key {dir}/key.pem; ssl_client_certificate {dir}/mesh-ca.pem; ssl_verify_client on; \
         ssl_protocols TLSv1.3; location / {{ return 200 \"backend $ssl_client_verify\\n\"; }} }}\n\
         server {{ listen 127.0.0.1:4002; location / {{ proxy_pass https://192.0.2.1:9090; \
         proxy_ssl_certificate {dir}/certChain.pem; proxy_ssl_certificate_key {dir}/key.pem; \
         proxy_ssl_trusted_certificate {dir}/mesh-ca.pem; proxy_ssl_verify on; proxy_ssl_name web; \
         proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3; }} }}"
    );
    let folder = authority.dir.path().join("nginx");
    let nginx = nginx(&net.peer(), &folder, &both, "127.0.0.1:4002");
    let get = |namespace: &str, url| ask(namespace, &["curl", "-sS", "--max-time", "5", url], "");
    let (status, said) = get(&net.pod(), "http://127.0.0.2:4001/");
    assert_eq!(
        (status, said.as_str()),
        (0, "backend SUCCESS\n"),
        "{}",
        nginx.output()
    );
    let (status, said) = get(&net.peer(), "http://127.0.0.1:4002/");
    assert_eq!(
        (status, said.as_str()),
        (0, "other\n"),
        "{}",
        nginx.output()
    );
}

#[test]
fn envoy_on_either_side() {
    let net = Net::new();
    let authority = Authority::new();
    let certs = authority.issue("web");
    let peer = authority.issue("peer");
    app(&net.pod(), "[::]:9090", "app");
    app(&net.peer(), "127.0.0.1:7000", "behind-envoy");
    let egress = (
        "CONTRAST_EGRESS_PROXY_CONFIG",
        "backend#127.0.0.2:4001#192.0.2.2:4001",
    );
    let _mesh = Mesh::start(&net.pod(), &certs, &[egress]);
    let server = Envoy {
        listen: ("192.0.2.2", 4001),
        transparent: false,
        to: ("127.0.0.1", 7000),
        serve: Some(&peer),
        connect: None,
    };
    let server = server.start(&net.peer(), &authority.dir.path().join("envoy-server"));
    assert!(
        plain(&net.pod(), "127.0.0.2", 4001).answered("behind-envoy"),
        "{}",
        server.output()
    );
    let client = Envoy {
        listen: ("127.0.0.1", 4002),
        transparent: false,
        to: ("192.0.2.1", 9090),
        serve: None,
        connect: Some(&peer),
    };
    let client = client.start(&net.peer(), &authority.dir.path().join("envoy-client"));
    assert!(
        plain(&net.peer(), "127.0.0.1", 4002).answered("app"),
        "{}",
        client.output()
    );
}
