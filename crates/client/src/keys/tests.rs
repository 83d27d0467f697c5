//! Keys as `openssl` and this program write them.

use std::process::Command;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA256};
use nacre_history::Curve;

use super::*;

const PASSPHRASE: &str = "correct horse";

/// Runs `openssl`, whose absence fails the test: keys made by others are what this is about.
fn openssl(args: &str) -> String {
    let output = Command::new("openssl")
        .args(args.split_whitespace().map(|arg| arg.replace('+', " ")))
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn never() -> Option<Passphrase> {
    panic!("asked for a passphrase")
}

fn ask() -> Option<Passphrase> {
    Some(Zeroizing::new(PASSPHRASE.as_bytes().to_vec()))
}

fn check(key: &WorkloadKey, curve: Curve) {
    let signature = key.sign(b"message").unwrap();
    assert_eq!(signature.curve(), curve);
    assert_eq!(signature.key(), key.digest());
    assert!(signature.verify(b"message"));
    assert!(!signature.verify(b"other"));
}

#[test]
fn every_curve_and_every_form_of_openssl_signs() {
    for (name, curve) in [
        ("prime256v1", Curve::P256),
        ("secp384r1", Curve::P384),
        ("secp521r1", Curve::P521),
    ] {
        let sec1 = openssl(&format!("ecparam -genkey -name {name}"));
        assert!(sec1.contains("EC PARAMETERS"));
        check(&WorkloadKey::from_pem(&sec1, &mut never).unwrap(), curve);
        let args = format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{name}");
        check(
            &WorkloadKey::from_pem(&openssl(&args), &mut never).unwrap(),
            curve,
        );
    }
}

#[test]
fn encrypted_keys_open_with_their_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("key.pem");
    std::fs::write(
        &plain,
        openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
    )
    .unwrap();
    let open =
        WorkloadKey::from_pem(&std::fs::read_to_string(&plain).unwrap(), &mut never).unwrap();
    let base = format!(
        "pkcs8 -topk8 -in {} -passout pass:{}",
        plain.display(),
        "correct+horse"
    );
    for more in [
        "",
        "-v2 aes-256-cbc -v2prf hmacWithSHA256",
        "-v2 aes-128-cbc -v2prf hmacWithSHA1",
        "-v2 aes-192-cbc -v2prf hmacWithSHA512 -iter 70000",
        "-v2 aes-256-cbc -v2prf hmacWithSHA384",
    ] {
        let text = openssl(&format!("{base} {more}"));
        let key = WorkloadKey::from_pem(&text, &mut ask).unwrap();
        assert_eq!(key.spki(), open.spki(), "{more}");
        let wrong = WorkloadKey::from_pem(&text, &mut || Some(Zeroizing::new(b"other".to_vec())));
        assert_eq!(wrong.unwrap_err(), KeyError::WrongPassphrase, "{more}");
        let none = WorkloadKey::from_pem(&text, &mut || None);
        assert_eq!(none.unwrap_err(), KeyError::PassphraseNeeded, "{more}");
    }
    for (more, scheme) in [("-scrypt", "scrypt"), ("-v2 aria-256-cbc", "the cipher")] {
        let text = openssl(&format!("{base} {more}"));
        let error = WorkloadKey::from_pem(&text, &mut ask).unwrap_err();
        assert!(error.to_string().contains(scheme), "{error}");
        assert!(error.help().unwrap().contains("openssl pkcs8"));
    }
}

#[test]
fn the_traditional_encryption_is_refused_with_a_way_out() {
    let text = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    let error = WorkloadKey::from_pem(text, &mut never).unwrap_err();
    assert_eq!(error, KeyError::Traditional);
    assert!(error.help().unwrap().contains("openssl pkcs8 -topk8"));
}

#[test]
fn share_owners_keys_are_read_and_sign_in_both_forms() {
    let pkcs8 = openssl("genrsa 3072");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rsa.pem");
    std::fs::write(&path, &pkcs8).unwrap();
    let pkcs1 = openssl(&format!("rsa -traditional -in {}", path.display()));
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let keys = [&pkcs8, &pkcs1].map(|text| SeedshareKey::from_pem(text, &mut never).unwrap());
    assert_eq!(keys[0].public(), keys[1].public());
    assert_eq!(keys[0].public().bits(), 3072);
    for key in &keys {
        let signature = key.sign_pss(b"message").unwrap();
        let public = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.spki()).unwrap();
        public.verify_sig(b"message", &signature).unwrap();
    }
    let short = openssl("genrsa 1024");
    assert!(matches!(
        SeedshareKey::from_pem(&short, &mut never),
        Err(KeyError::NotRsa | KeyError::Unfit(_))
    ));
}

#[test]
fn what_is_no_key_is_told_apart() {
    let of = |text: &str| WorkloadKey::from_pem(text, &mut never).unwrap_err();
    assert_eq!(of("hello"), KeyError::NotPem);
    assert_eq!(of("-----BEGIN PRIVATE KEY-----\nAA"), KeyError::NotPem);
    assert_eq!(of(&encode("PRIVATE KEY", b"x")), KeyError::NotElliptic);
    assert_eq!(of(&encode("PUBLIC KEY", b"x")), KeyError::Public);
    let label = KeyError::Label {
        label: "CERTIFICATE".into(),
    };
    assert_eq!(of(&encode("CERTIFICATE", b"x")), label);
    let damaged = encode("ENCRYPTED PRIVATE KEY", b"x");
    assert_eq!(
        WorkloadKey::from_pem(&damaged, &mut ask).unwrap_err(),
        KeyError::Malformed
    );
    let rsa = openssl("genrsa 2048");
    assert_eq!(of(&rsa), KeyError::NotElliptic);
}

#[test]
fn printing_a_key_shows_nothing_private() {
    let pem = openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384");
    let key = WorkloadKey::from_pem(&pem, &mut never).unwrap();
    assert_eq!(format!("{key:?}"), format!("WorkloadKey({})", key.digest()));
}
