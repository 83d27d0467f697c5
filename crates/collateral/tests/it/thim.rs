//! Azure's service.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_attest::{CollateralError, CollateralSource as _, Product};
use nacre_collateral::{Options, Thim};

use crate::server::{Server, ok, status, wait};
use crate::{request, sample};

fn options() -> Options {
    Options {
        request: Duration::from_secs(5),
        patience: Duration::ZERO,
        ..Options::default()
    }
}

/// As Azure documents it: PEM, the chain, the firmware as hex, seconds as text.
fn answer(folder: &str, seconds: &str) -> String {
    let body = STANDARD.encode(sample(&format!("{folder}/vcek.der")));
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    );
    serde_json::json!({
        "vcekCert": pem,
        "tcbm": "DB18000000000004",
        "certificateChain": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "cacheControl": seconds,
    })
    .to_string()
}

#[test]
fn the_certificate_of_this_machine_is_found_and_kept_for_its_time() {
    let server = Server::new(|_| ok(answer("attrs-az-milan-v3", "86400")));
    let thim = Thim::at(&server.url, &options()).unwrap();
    let wanted = request("attrs-az-milan-v3");
    for _ in 0..3 {
        let vek = thim.vek(&wanted).unwrap();
        assert_eq!(vek.unwrap(), sample("attrs-az-milan-v3/vcek.der"));
    }
    assert_eq!(server.count(), 1);
    let asked = server.asked();
    assert_eq!(asked[0].path, "/metadata/THIM/amd/certification");
    assert_eq!(asked[0].header("metadata"), Some("true"));
    assert_eq!(thim.crl(Product::Milan).unwrap(), None);
}

#[test]
fn an_answer_that_holds_no_longer_is_asked_for_again() {
    let server = Server::new(|_| ok(answer("attrs-az-milan-v3", "0")));
    let thim = Thim::at(&server.url, &options()).unwrap();
    for _ in 0..2 {
        assert!(thim.vek(&request("attrs-az-milan-v3")).unwrap().is_some());
    }
    assert_eq!(server.count(), 2);
}

#[test]
fn the_certificate_of_another_machine_is_none() {
    let server = Server::new(|_| ok(answer("ms-milan", "86400")));
    let thim = Thim::at(&server.url, &options()).unwrap();
    assert_eq!(thim.vek(&request("attrs-az-milan-v3")).unwrap(), None);
}

#[test]
fn other_answers_are_errors() {
    let wanted = request("attrs-az-milan-v3");
    for body in ["", "{}", "[]", r#"{"vcekCert":"no PEM"}"#] {
        let server = Server::new(move |_| ok(body));
        let thim = Thim::at(&server.url, &options()).unwrap();
        let error = thim.vek(&wanted).unwrap_err();
        assert!(
            matches!(error, CollateralError::Server { .. }),
            "{body}: {error}"
        );
    }
    let server = Server::new(|_| status(500, "no"));
    assert!(
        Thim::at(&server.url, &options())
            .unwrap()
            .vek(&wanted)
            .is_err()
    );
    let server = Server::new(|_| wait(429, 9));
    let thim = Thim::at(&server.url, &options()).unwrap();
    let error = thim.vek(&wanted).unwrap_err();
    assert!(matches!(error, CollateralError::Throttled { seconds: 9 }));
}
