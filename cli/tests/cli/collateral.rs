//! `nacre collateral fetch`, and what is fetched used without network.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use nacre_attest::{Product, Timestamp};
use nacre_sim::{CrlSpec, Machine};

use crate::common::TestEnvironment;
use crate::live::{pki, run_simulated};

fn data(path: &str) -> String {
    format!(
        "{}/../crates/attest/tests/data/{path}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// The part of AMD's address that names a chip.
fn chip(report: &[u8], length: usize) -> String {
    let id: String = report[0x1a0..0x1a0 + length]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("/{id}?")
}

/// AMD's service on loopback, with the certificates of two machines; what it was asked.
fn service() -> (String, Arc<Mutex<Vec<String>>>) {
    let machines = [("ms-genoa", 64), ("ms-turin", 8)].map(|(sample, length)| {
        let read = |file| std::fs::read(data(&format!("{sample}/{file}"))).unwrap();
        (chip(&read("report.bin"), length), read("vcek.der"))
    });
    answering(move |path| {
        match machines.iter().find(|(chip, _)| path.contains(chip)) {
            Some((_, vcek)) => (200, vcek.clone()),
            // Signed by nobody AMD knows.
            None if path.ends_with("/crl") => (200, b"no list".to_vec()),
            None => (404, Vec::new()),
        }
    })
}

/// A service on loopback, which answers a path with a status and a body; what it was asked.
fn answering(
    answer: impl Fn(&str) -> (u16, Vec<u8>) + Send + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
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
            let (status, body) = answer(&path);
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

/// The same program with the roots of the simulation, whose lists can be made.
#[test]
fn a_revocation_list_is_fetched_kept_and_never_replaced_by_an_older_one() {
    let machine = Machine::new(pki()).unwrap();
    let report = machine.sign(&machine.report()).unwrap();
    let (id, vek) = (chip(&report, 64), machine.vek.clone());
    let spec = CrlSpec::new(&pki().ark).unwrap();
    let earlier = |seconds| CrlSpec {
        this_update: Timestamp(spec.this_update.0 - seconds),
        ..spec.clone()
    };
    let sign = |spec: &CrlSpec| spec.sign(&pki().ark.key).unwrap();
    let (old, new) = (sign(&earlier(100)), sign(&spec));
    let forged = spec.sign(&pki().ask.key).unwrap();
    let list = Arc::new(Mutex::new(old.clone()));
    let served = Arc::clone(&list);
    let (url, asked) = answering(move |path| match path {
        "/vcek/v1/Genoa/crl" => (200, served.lock().unwrap().clone()),
        _ if path.contains(&id) => (200, vek.clone()),
        _ => (404, Vec::new()),
    });
    let environment = TestEnvironment::empty();
    environment.write("report.bin", &report);
    let run = |args: &[&str]| {
        let args = args.iter().map(|arg| (*arg).to_owned());
        run_simulated(&environment, args.collect())
    };
    let fetch = ["collateral", "fetch", "report.bin", "--kds", &url];
    let verify = [
        "verify-report",
        "report.bin",
        "--collateral",
        "collateral",
        "--genuine-only",
    ];
    let none: Vec<String> = Vec::new();
    let kept = || {
        let files = environment.files();
        let kept = files
            .iter()
            .filter(|(path, _)| path.starts_with("collateral"));
        let mut kept: Vec<_> = kept.map(|(_, bytes)| bytes.clone()).collect();
        kept.sort();
        kept
    };
    let with = |list: &Vec<u8>| {
        let mut both = vec![list.clone(), machine.vek.clone()];
        both.sort();
        both
    };

    assert_eq!(run(&fetch), (0, none.clone()));
    assert_eq!(kept(), with(&old));
    assert_eq!(run(&verify), (0, none.clone()));
    // The list is asked for each time, the certificate once.
    list.lock().unwrap().clone_from(&new);
    assert_eq!(run(&fetch), (0, none.clone()));
    assert_eq!(kept(), with(&new));
    let asked = asked.lock().unwrap().clone();
    let lists = asked.iter().filter(|path| path.ends_with("/crl")).count();
    assert_eq!((lists, asked.len()), (2, 3), "{asked:?}");
    // An older list, or one that the root has not signed, replaces nothing.
    list.lock().unwrap().clone_from(&old);
    assert_eq!(run(&fetch), (0, none.clone()));
    assert_eq!(kept(), with(&new));
    list.lock().unwrap().clone_from(&forged);
    assert_eq!(run(&fetch), (1, vec!["NCR0931".to_owned()]));
    assert_eq!(kept(), with(&new));
    assert_eq!(run(&verify), (0, none.clone()));
    // What it revokes is refused by what was fetched.
    let revoking = CrlSpec {
        this_update: Timestamp(spec.this_update.0 + 100),
        revoked: vec![pki().ask.serial.clone()],
        ..spec.clone()
    };
    list.lock().unwrap().clone_from(&sign(&revoking));
    assert_eq!(run(&fetch), (0, none.clone()));
    assert_eq!(run(&verify), (3, vec!["NCR1083".to_owned()]));
    // Alone, without a report.
    let alone = [
        "collateral",
        "fetch",
        "--product",
        "Genoa",
        "--out",
        "lists",
        "--kds",
        &url,
    ];
    assert_eq!(run(&alone), (0, none));
    assert_eq!(pki().product, Product::Genoa);
}
