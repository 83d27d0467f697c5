//! `nacre collateral fetch`, and what is fetched used without network.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::common::TestEnvironment;

fn data(path: &str) -> String {
    format!(
        "{}/../crates/attest/tests/data/{path}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// AMD's service on loopback, with the certificates of two machines; what it was asked.
fn service() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let remembered = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            lines.find(|line| line.as_ref().unwrap().is_empty());
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let chip = |sample: &str| {
                let report = std::fs::read(data(&format!("{sample}/report.bin"))).unwrap();
                let length = if sample == "ms-turin" { 8 } else { 64 };
                let id: String = report[0x1a0..0x1a0 + length]
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                id
            };
            let found = ["ms-genoa", "ms-turin"]
                .into_iter()
                .find(|sample| path.contains(&format!("/{}?", chip(sample))));
            let (status, body) = match found {
                Some(sample) => (
                    200,
                    std::fs::read(data(&format!("{sample}/vcek.der"))).unwrap(),
                ),
                // Signed by nobody AMD knows.
                None if path.ends_with("/crl") => (200, b"no list".to_vec()),
                None => (404, Vec::new()),
            };
            remembered.lock().unwrap().push(path);
            let head = format!(
                "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    });
    (url, asked)
}

#[test]
fn what_is_fetched_verifies_reports_without_network() {
    let (url, asked) = service();
    let environment = TestEnvironment::empty();
    let (genoa, turin) = (data("ms-genoa/report.bin"), data("ms-turin/report.bin"));
    let fetch = [
        "collateral",
        "fetch",
        &genoa,
        &turin,
        "--out",
        "kept",
        "--without-crl",
        "--kds",
        &url,
    ];
    let done = environment.run(&fetch).success();
    assert!(
        done.stdout.contains("VCEK of Genoa chip "),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout.ends_with("kept: 2 in place\n"),
        "{}",
        done.stdout
    );
    assert!(asked.lock().unwrap()[0].contains("blSPL="));
    // Certificates are the same for ever: nobody is asked again.
    environment.run(&fetch).success();
    assert_eq!(asked.lock().unwrap().len(), 2);
    for (report, baseline) in [(&genoa, "2025-02"), (&turin, "2026-11")] {
        let verify = [
            "verify-report",
            report,
            "--collateral",
            "kept",
            "--without-crl",
            "--genuine-only",
            "--at",
            "2026-11-23",
            "--tcb-baseline",
            baseline,
        ];
        let done = environment.run(&verify).success();
        assert!(done.stdout.contains("ok   NCR1038"), "{}", done.stdout);
    }
    // A list is asked for by default, and the directory has none.
    let verify = [
        "verify-report",
        &turin,
        "--collateral",
        "kept",
        "--genuine-only",
    ];
    let done = environment.run(&verify);
    assert_eq!(done.code, Some(3));
    assert!(done.stderr.contains("NCR1075"), "{}", done.stderr);
    let other = data("ms-milan/report.bin");
    let done = environment.run(&["verify-report", &other, "--collateral", "kept"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("NCR0930"), "{}", done.stderr);
}

#[test]
fn what_amd_has_not_signed_is_not_kept() {
    let (url, _) = service();
    let environment = TestEnvironment::empty();
    let done = environment.run(&["collateral", "fetch", "--product", "Genoa", "--kds", &url]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("NCR0931"), "{}", done.stderr);
    assert!(
        done.stderr.contains("no genuine revocation list"),
        "{}",
        done.stderr
    );
    assert!(!environment.exists("collateral"));
}

#[test]
fn what_cannot_be_had_is_said() {
    let (url, _) = service();
    let environment = TestEnvironment::empty();
    let fetch = |report: &str, url: &str| {
        let report = data(report);
        environment.run(&[
            "collateral",
            "fetch",
            &report,
            "--kds",
            url,
            "--patience",
            "0",
        ])
    };
    for (report, url, code, text) in [
        (
            "ms-milan/report.bin",
            url.as_str(),
            "NCR0931",
            "does not know it",
        ),
        (
            "ms-milan/report.bin",
            "http://127.0.0.1:1",
            "NCR0931",
            "127.0.0.1:1",
        ),
        ("ms-milan/vcek.der", &url, "NCR0930", "is no report"),
        (
            "gosev-milan-v2/report.bin",
            &url,
            "NCR0930",
            "does not name its processor",
        ),
        (
            "trustee-milan-vlek-v3/report.bin",
            &url,
            "NCR0930",
            "comes from its host only",
        ),
    ] {
        let done = fetch(report, url);
        assert_eq!(done.code, Some(1), "{}", done.stderr);
        assert!(
            done.stderr.contains(code) && done.stderr.contains(text),
            "{}",
            done.stderr
        );
    }
    let done = environment.run(&["collateral", "fetch"]);
    assert_eq!(done.code, Some(2));
}
