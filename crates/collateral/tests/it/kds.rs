//! AMD's service: addresses, limits, outages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nacre_attest::{CollateralError, CollateralSource as _, Product, Verifier};
use nacre_collateral::{Kds, Options};

use crate::server::{Answer, Asked, Server, ok, status, wait};
use crate::{REAL, request, sample};

fn options(patience: Duration) -> Options {
    Options {
        request: Duration::from_secs(5),
        patience,
        back_off: Duration::from_millis(20),
        ca_files: Vec::new(),
    }
}

/// Answers with the certificates of real machines at the addresses AMD documents.
fn amd(asked: &Asked) -> Answer {
    let found = REAL
        .iter()
        .find(|folder| asked.path == request(folder).kds_path());
    match found {
        Some(folder) => ok(sample(&format!("{folder}/vcek.der"))),
        None => status(404, "unknown"),
    }
}

/// These first, then what AMD has.
fn after(first: &'static [(u16, Option<u64>)]) -> Server {
    let count = AtomicUsize::new(0);
    Server::new(
        move |asked| match first.get(count.fetch_add(1, Ordering::SeqCst)) {
            Some((code, Some(seconds))) => wait(*code, *seconds),
            Some((code, None)) => status(*code, "not now"),
            None => amd(asked),
        },
    )
}

#[test]
fn certificates_of_real_machines_are_found_and_genuine() {
    let server = Server::new(amd);
    let kds = Kds::at(&server.url, &options(Duration::ZERO)).unwrap();
    for folder in REAL {
        let request = request(folder);
        let vek = kds.vek(&request).unwrap().unwrap();
        assert!(Verifier::amd().is_vek_of(&request, &vek), "{folder}");
    }
    let mut other = request("ms-genoa");
    other.tcb.snp += 1;
    assert_eq!(kds.vek(&other).unwrap(), None);
    let genuine = sample("ms-genoa/vcek.der");
    assert!(!Verifier::amd().is_vek_of(&other, &genuine));
    assert!(!Verifier::amd().is_vek_of(&request("ms-milan"), &genuine));
    // Altered certificates of `negative` are certificates, but nobody's.
    for file in ["test-vcek-invalid-legacy.der", "test-vcek-invalid-new.der"] {
        let altered = sample(&format!("negative/{file}"));
        assert!(!Verifier::amd().is_vek_of(&request("ms-milan"), &altered));
    }
}

#[test]
fn what_passes_is_asked_again() {
    let server = after(&[(429, None), (503, None), (500, None)]);
    let kds = Kds::at(&server.url, &options(Duration::from_secs(20))).unwrap();
    assert!(kds.vek(&request("ms-milan")).unwrap().is_some());
    let asked = server.asked();
    let pauses: Vec<_> = asked
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    assert_eq!(pauses.len(), 3);
    for (pause, least) in pauses.iter().zip([20, 40, 80]) {
        assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
    }
}

#[test]
fn retry_after_is_kept_to() {
    let server = after(&[(429, Some(1))]);
    let kds = Kds::at(&server.url, &options(Duration::from_secs(20))).unwrap();
    assert!(kds.vek(&request("ms-turin")).unwrap().is_some());
    let asked = server.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1));
}

#[test]
fn a_wait_beyond_patience_is_said_and_remembered() {
    let server = after(&[(429, Some(100))]);
    let kds = Kds::at(&server.url, &options(Duration::from_secs(40))).unwrap();
    let began = Instant::now();
    for _ in 0..3 {
        let error = kds.vek(&request("ms-milan")).unwrap_err();
        let CollateralError::Throttled { seconds } = error else {
            panic!("{error:?}")
        };
        assert!((80..=100).contains(&seconds), "{seconds}");
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(server.count(), 1, "it is not asked again before its time");
}

#[test]
fn outages_end_in_an_error_not_in_an_endless_loop() {
    let server = Server::new(|_| status(503, "away"));
    let kds = Kds::at(&server.url, &options(Duration::from_millis(300))).unwrap();
    let error = kds.crl(Product::Genoa).unwrap_err();
    assert!(matches!(error, CollateralError::Server { .. }), "{error}");
    assert!((2..10).contains(&server.count()));
    assert_eq!(server.asked()[0].path, "/vcek/v1/Genoa/crl");
    let nobody = Kds::at("http://127.0.0.1:1", &options(Duration::ZERO)).unwrap();
    assert!(nobody.vek(&request("ms-milan")).is_err());
}

#[test]
fn refusals_long_answers_and_redirects_are_errors_at_once() {
    let patient = options(Duration::from_secs(20));
    let answers: [fn() -> Answer; 3] = [
        || status(403, "no"),
        || ok(vec![0; 1 << 20]),
        || Answer {
            headers: vec![("location", "http://127.0.0.1:1/".into())],
            ..status(302, "")
        },
    ];
    for answer in answers {
        let server = Server::new(move |_| answer());
        let kds = Kds::at(&server.url, &patient).unwrap();
        let began = Instant::now();
        assert!(kds.vek(&request("ms-milan")).is_err());
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(server.count(), 1);
    }
}
