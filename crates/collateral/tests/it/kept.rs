//! What a running program asks its server for, and how often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nacre_attest::{CollateralError, CollateralSource as _, Product, Timestamp, Verifier};
use nacre_collateral::{COLLATERAL, EVIDENCE, Guest, Kds, Kept, Options};
use nacre_sim::{CrlSpec, Machine, Pki, ReportSpec};

use crate::server::{Answer, Asked, Server, ok, status};
use crate::{request, sample};

fn options() -> Options {
    Options {
        request: Duration::from_secs(5),
        patience: Duration::ZERO,
        ..Options::default()
    }
}

fn pki() -> &'static Pki {
    Pki::of_process(Product::Genoa).unwrap()
}

/// A list made this many seconds ago and due in so many.
fn list(age: u64, due: u64) -> Vec<u8> {
    let now = Timestamp::now().0;
    let spec = CrlSpec {
        this_update: Timestamp(now - age),
        next_update: Some(Timestamp(now + due)),
        ..CrlSpec::new(&pki().ark).unwrap()
    };
    spec.sign(&pki().ark.key).unwrap()
}

fn kept(server: &Server, verifier: Verifier, refresh: Duration) -> Kept {
    let kds = Kds::at(&server.url, &options()).unwrap();
    Kept::refreshed_after(Box::new(kds), Arc::new(verifier), refresh)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_certificate_is_asked_for_once_and_only_a_genuine_one_is_kept() {
    let server = Server::new(|_| ok(sample("ms-genoa/vcek.der")));
    let source = kept(&server, Verifier::amd(), Duration::from_secs(60));
    for _ in 0..3 {
        let found = source.vek(&request("ms-genoa")).unwrap();
        assert_eq!(found.unwrap(), sample("ms-genoa/vcek.der"));
    }
    assert_eq!(server.count(), 1);
    // The same answer to another question is no certificate of that chip.
    let refused = source.vek(&request("ms-milan"));
    assert!(matches!(refused, Err(CollateralError::NotGenuine { .. })));
    assert_eq!(server.count(), 2);
}

#[test]
fn a_list_that_serves_is_replaced_beside_and_nobody_waits_for_the_server() {
    let old = list(900, 3600);
    let (first, second) = (old.clone(), list(5, 3600));
    let newer = second.clone();
    let slow = Duration::from_millis(1500);
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(move |_| {
        match answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => ok(first.clone()),
            1 => {
                std::thread::sleep(slow);
                ok(second.clone())
            }
            // Older than what was seen: never handed out.
            _ => ok(first.clone()),
        }
    });
    let verifier = pki().verifier().unwrap();
    let source = kept(&server, verifier, Duration::from_millis(50));
    let get = || source.crl(Product::Genoa).unwrap().unwrap();
    assert_eq!(get(), old);
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(get(), old);
    }
    assert!(start.elapsed() < slow, "{:?}", start.elapsed());
    eventually("the newer list", || get() == newer);
    eventually("it is asked again", || {
        assert_eq!(get(), newer);
        server.count() > 3
    });
}

#[test]
fn a_server_that_is_away_takes_nothing_away() {
    let list = list(900, 3600);
    let first = list.clone();
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let server =
        Server::new(
            move |_| match answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => ok(first.clone()),
                _ => status(503, ""),
            },
        );
    let verifier = pki().verifier().unwrap();
    let source = kept(&server, verifier, Duration::from_millis(20));
    for _ in 0..10 {
        assert_eq!(source.crl(Product::Genoa).unwrap(), Some(list.clone()));
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(server.count() > 1, "it was asked again");
    // Without a list there is an error, not an answer without one.
    let nothing = Server::new(|_| status(503, ""));
    let source = kept(&nothing, pki().verifier().unwrap(), Duration::from_secs(60));
    assert!(source.crl(Product::Genoa).is_err());
}

/// Otherwise each report of a guest whose server is away waits for it.
#[test]
fn that_there_is_nothing_is_remembered_for_a_while() {
    let away = Server::new(|_| status(503, ""));
    let source = kept(&away, pki().verifier().unwrap(), Duration::from_secs(60));
    let first = source.crl(Product::Genoa).unwrap_err().to_string();
    for _ in 0..5 {
        let again = source.crl(Product::Genoa).unwrap_err();
        assert_eq!(again.to_string(), first);
    }
    assert_eq!(away.count(), 1, "one question for one list");
    assert!(source.crl(Product::Milan).is_err());
    assert_eq!(away.count(), 2, "another list is another question");
    for _ in 0..5 {
        assert!(source.vek(&request("ms-genoa")).is_err());
    }
    assert_eq!(away.count(), 3, "one question for one certificate");
    assert!(source.vek(&request("ms-milan")).is_err());
    assert_eq!(away.count(), 4);
    // A server that knows of nothing has not failed, and is asked no more often.
    let empty = Server::new(|_| status(404, ""));
    let source = kept(&empty, pki().verifier().unwrap(), Duration::from_secs(60));
    for _ in 0..5 {
        assert_eq!(source.vek(&request("ms-genoa")).unwrap(), None);
        assert_eq!(source.crl(Product::Genoa).unwrap(), None);
    }
    assert_eq!(empty.count(), 2);
}

#[test]
fn a_server_that_is_back_is_asked_again() {
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let server =
        Server::new(
            move |_| match answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => status(503, ""),
                _ => ok(sample("ms-genoa/vcek.der")),
            },
        );
    let source = kept(&server, Verifier::amd(), Duration::from_millis(300));
    let get = || source.vek(&request("ms-genoa"));
    assert!(get().is_err());
    assert!(get().is_err());
    assert_eq!(server.count(), 1);
    eventually("the certificate", || {
        get().is_ok_and(|found| found.is_some())
    });
    assert!(get().unwrap().is_some());
    assert_eq!(server.count(), 2);
}

#[test]
fn a_list_that_is_due_makes_the_caller_wait() {
    let (due, fresh) = (list(900, 1), list(5, 3600));
    let (first, second) = (due.clone(), fresh.clone());
    let answers = std::sync::atomic::AtomicUsize::new(0);
    let server =
        Server::new(
            move |_| match answers.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => ok(first.clone()),
                _ => ok(second.clone()),
            },
        );
    let verifier = pki().verifier().unwrap();
    let source = kept(&server, verifier, Duration::from_millis(10));
    assert_eq!(source.crl(Product::Genoa).unwrap(), Some(due));
    std::thread::sleep(Duration::from_millis(2100));
    assert_eq!(source.crl(Product::Genoa).unwrap(), Some(fresh));
    assert_eq!(server.count(), 2);
}

/// As a program in a guest without any certificate beside its reports.
#[test]
fn a_guest_asks_its_server_once_for_all_its_reports() {
    let machine = Machine::new(pki()).unwrap();
    let (vek, list) = (machine.vek.clone(), pki().crl().unwrap());
    let server = Server::new(move |asked: &Asked| -> Answer {
        if let Some((_, text)) = asked.path.split_once("/aa/evidence?runtime_data=") {
            let mut report_data = [0; 64];
            report_data[..text.len()].copy_from_slice(text.as_bytes());
            let report = ReportSpec {
                report_data,
                ..machine.report()
            };
            let report = machine.sign(&report).unwrap();
            return ok(crate::agent::answer(crate::agent::new_form(&report), None));
        }
        ok(match asked.path.ends_with("/crl") {
            true => list.clone(),
            false => vek.clone(),
        })
    });
    let guest = Guest::from_env(|name| match name {
        EVIDENCE => Some(format!("coco-aa={}/aa/evidence", server.url)),
        COLLATERAL => Some(format!("kds={}", server.url)),
        _ => None,
    });
    let verifier = Arc::new(pki().verifier().unwrap());
    let source = guest.unwrap().open(&verifier).unwrap();
    for round in 0..5 {
        let evidence = nacre_attest::ReportSource::evidence(&source, &[round; 64]).unwrap();
        assert!(evidence.crl.is_some());
    }
    assert_eq!(server.count(), 5 + 2);
}
