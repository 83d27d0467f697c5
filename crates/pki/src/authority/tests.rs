//! Every certificate is read and verified by others: rustls-webpki, OpenSSL and Go's `crypto/x509`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nacre_manifest::{Identity, PolicyEntry, PolicyHash, TrustDomain};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::*;
use crate::key::LeafKey;
use crate::secret::{Salt, Seed};

const NOW: u64 = 1_800_000_000;

fn authority() -> Authority {
    let (seed, salt) = (Seed::from_bytes([1; 32]), Salt::from_bytes([2; 32]));
    let root = seed.root_ca_key(&salt).unwrap();
    Authority::new(&root, P384Key::generate().unwrap(), NOW).unwrap()
}

fn entry(sans: &[&str]) -> PolicyEntry {
    let sans = sans.iter().map(|san| (*san).to_owned()).collect();
    PolicyEntry::new(Identity::new("shop", "Deployment", "web"), sans)
}

fn issue(authority: &Authority, entry: &PolicyEntry) -> (LeafKey, Vec<u8>) {
    let key = LeafKey::generate().unwrap();
    let request = CertificateRequest::verify(&key.request().unwrap()).unwrap();
    let profile =
        LeafProfile::new(PolicyHash::of(b"p"), entry, &TrustDomain::default(), None).unwrap();
    let leaf = authority.issue(&request, &profile, NOW).unwrap();
    (key, leaf)
}

fn verify(leaf: &[u8], between: &[&[u8]], anchor: &[u8], now: u64) -> Result<(), webpki::Error> {
    let leaf = CertificateDer::from(leaf);
    let anchor = CertificateDer::from(anchor);
    let anchors = [anchor_from_trusted_cert(&anchor).unwrap()];
    let between: Vec<_> = between
        .iter()
        .map(|der| CertificateDer::from(*der))
        .collect();
    let leaf = EndEntityCert::try_from(&leaf).unwrap();
    for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            usage,
            None,
            None,
        )?;
    }
    Ok(())
}

#[test]
fn webpki_accepts_leaves_under_root_and_mesh_ca() {
    let authority = authority();
    for sans in [
        &["web", "*"][..],
        &["192.0.2.1"],
        &["https://web.example"],
        &[],
    ] {
        let (_, leaf) = issue(&authority, &entry(sans));
        let between = [authority.intermediate()];
        assert_eq!(verify(&leaf, &between, authority.root(), NOW), Ok(()));
        assert_eq!(verify(&leaf, &[], authority.mesh_ca(), NOW), Ok(()));
        // What a server sends is the chain, whatever the client trusts.
        assert_eq!(verify(&leaf, &between, authority.mesh_ca(), NOW), Ok(()));
        assert!(verify(&leaf, &[], authority.root(), NOW).is_err());
        assert!(verify(&leaf, &[authority.mesh_ca()], authority.root(), NOW).is_err());
    }
}

#[test]
fn another_manifest_is_another_mesh_under_the_same_root() {
    let (one, other) = (authority(), authority());
    assert_eq!(one.root_spki(), other.root_spki());
    let (_, leaf) = issue(&one, &entry(&["web"]));
    assert!(verify(&leaf, &[], other.mesh_ca(), NOW).is_err());
    assert_eq!(
        verify(&leaf, &[one.intermediate()], other.root(), NOW),
        Ok(())
    );
}

#[test]
fn the_same_mesh_key_keeps_old_leaves_good() {
    // What a Coordinator that recovers from a peer does: certificates are new, keys are not.
    let one = authority();
    let scalar = one.mesh_key().to_scalar().unwrap();
    let (seed, salt) = (Seed::from_bytes([1; 32]), Salt::from_bytes([2; 32]));
    let root = seed.root_ca_key(&salt).unwrap();
    let again = Authority::new(&root, P384Key::from_scalar(&scalar).unwrap(), NOW + 9).unwrap();
    let (_, leaf) = issue(&one, &entry(&["web"]));
    assert_eq!(verify(&leaf, &[], again.mesh_ca(), NOW), Ok(()));
    assert_eq!(
        verify(&leaf, &[again.intermediate()], one.root(), NOW),
        Ok(())
    );
}

#[test]
fn a_restored_authority_is_the_same_one() {
    let one = authority();
    let certificates = || CaCertificates {
        root: one.root().to_vec(),
        intermediate: one.intermediate().to_vec(),
        mesh: one.mesh_ca().to_vec(),
    };
    let mesh = || P384Key::from_pkcs8(&one.mesh_key().to_pkcs8().unwrap()).unwrap();
    let (seed, salt) = (Seed::from_bytes([1; 32]), Salt::from_bytes([2; 32]));
    let root = seed.root_ca_key(&salt).unwrap();
    let again = Authority::restore(&root, mesh(), certificates()).unwrap();
    assert_eq!(
        (again.root_pem(), again.mesh_ca_pem()),
        (one.root_pem(), one.mesh_ca_pem())
    );
    let (_, leaf) = issue(&again, &entry(&["web"]));
    let between = [one.intermediate()];
    assert_eq!(verify(&leaf, &between, one.root(), NOW), Ok(()));
    assert_eq!(verify(&leaf, &[], one.mesh_ca(), NOW), Ok(()));
    assert!(verify(&leaf, &[], one.mesh_ca(), NOW + 365 * DAY).is_err());

    let other = authority();
    let foreign = P384Key::generate().unwrap();
    let swapped = |change: fn(&mut CaCertificates, &Authority)| {
        let mut certificates = certificates();
        change(&mut certificates, &other);
        Authority::restore(&root, mesh(), certificates).unwrap_err()
    };
    for error in [
        Authority::restore(&foreign, mesh(), certificates()).unwrap_err(),
        Authority::restore(&root, P384Key::generate().unwrap(), certificates()).unwrap_err(),
        swapped(|certificates, other| certificates.mesh = other.mesh_ca().to_vec()),
        swapped(|certificates, other| certificates.intermediate = other.intermediate().to_vec()),
        swapped(|certificates, _| certificates.mesh = certificates.intermediate.clone()),
        swapped(|certificates, _| certificates.root = certificates.mesh.clone()),
        swapped(|certificates, _| certificates.root.push(0)),
    ] {
        assert!(matches!(error, PkiError::Foreign), "{error}");
    }
}

#[test]
fn a_leaf_lives_no_longer_than_a_year_and_its_ca() {
    let authority = authority();
    let (_, leaf) = issue(&authority, &entry(&["web"]));
    assert_eq!(
        verify(&leaf, &[], authority.mesh_ca(), NOW + LEAF_LIFETIME),
        Ok(())
    );
    assert!(verify(&leaf, &[], authority.mesh_ca(), NOW + 365 * DAY).is_err());
    assert!(verify(&leaf, &[], authority.mesh_ca(), NOW - BEFORE - 1).is_err());

    let late = NOW + CA_LIFETIME - 10;
    let key = LeafKey::generate().unwrap();
    let request = CertificateRequest::verify(&key.request().unwrap()).unwrap();
    let profile = LeafProfile::new(
        PolicyHash::of(b"p"),
        &entry(&["web"]),
        &TrustDomain::default(),
        None,
    );
    let leaf = authority.issue(&request, &profile.unwrap(), late).unwrap();
    assert_eq!(verify(&leaf, &[], authority.mesh_ca(), late + 10), Ok(()));
    assert!(verify(&leaf, &[], authority.mesh_ca(), late + 11).is_err());
}

#[test]
fn times_that_no_certificate_holds_are_refused() {
    let key = P384Key::generate().unwrap();
    let mesh = P384Key::generate().unwrap();
    let error = Authority::new(&key, mesh, u64::MAX).unwrap_err();
    assert!(matches!(error, PkiError::Time { .. }), "{error}");
}

/// Files as on the volume of a workload.
fn written() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let authority = authority();
    let (key, leaf) = issue(
        &authority,
        &entry(&["web.shop", "*", "192.0.2.1", "https://x.example"]),
    );
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let path = move |name: &str| root.join(name);
    fs::write(path("certChain.pem"), authority.chain_pem(&leaf)).unwrap();
    fs::write(path("mesh-ca.pem"), authority.mesh_ca_pem()).unwrap();
    fs::write(path("coordinator-root-ca.pem"), authority.root_pem()).unwrap();
    fs::write(path("key.pem"), key.to_pem().as_bytes()).unwrap();
    (folder, path)
}

/// A tool that `cargo xtask test` names; OpenSSL is looked up in the path as well.
fn tool(variable: &str, otherwise: Option<&str>) -> PathBuf {
    match (std::env::var_os(variable), otherwise) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(name)) => PathBuf::from(name),
        (None, None) => panic!("{variable} is not set: eval \"$(cargo xtask tools --env)\""),
    }
}

fn openssl(arguments: &[&str], files: &[&Path]) -> String {
    let output = Command::new(tool("NACRE_TEST_OPENSSL", Some("openssl")))
        .args(arguments)
        .args(files)
        .output()
        .expect("openssl can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn openssl_verifies_as_in_the_documentation() {
    let (_folder, path) = written();
    let chain = path("certChain.pem");
    let (mesh, root) = (path("mesh-ca.pem"), path("coordinator-root-ca.pem"));
    let at = NOW.to_string();
    for anchor in [&mesh, &root] {
        let anchor = anchor.to_str().unwrap();
        let chain_text = chain.to_str().unwrap();
        for purpose in ["sslserver", "sslclient"] {
            let arguments = [
                "verify",
                "-x509_strict",
                "-attime",
                &at,
                "-purpose",
                purpose,
                "-CAfile",
                anchor,
                "-untrusted",
                chain_text,
            ];
            assert!(openssl(&arguments, &[&chain]).ends_with(": OK\n"));
        }
    }
    let text = openssl(&["x509", "-noout", "-text", "-in"], &[&chain]);
    let hash = PolicyHash::of(b"p").to_string();
    for expected in [
        "Issuer: CN = system:coordinator:intermediate",
        &format!("serialNumber = {hash}"),
        "CN = web.shop",
        "DNS:web.shop, DNS:*, IP Address:192.0.2.1, URI:https://x.example, \
         URI:spiffe://nacre.local/ns/shop/Deployment/web",
        "Digital Signature",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "CA:FALSE",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
    let root_text = openssl(&["x509", "-noout", "-text", "-in"], &[&root]);
    for expected in [
        "CN = system:coordinator:root",
        "CA:TRUE, pathlen:1",
        "Certificate Sign",
    ] {
        assert!(
            root_text.contains(expected),
            "{expected:?} is not in\n{root_text}"
        );
    }
    // The key on the volume is the leaf's.
    let of_key = openssl(&["pkey", "-pubout", "-in"], &[&path("key.pem")]);
    let of_leaf = openssl(&["x509", "-noout", "-pubkey", "-in"], &[&chain]);
    assert_eq!(of_key, of_leaf);
}

#[test]
fn go_reads_and_verifies_every_certificate() {
    let (_folder, path) = written();
    let output = Command::new(tool("NACRE_TEST_X509", None))
        .arg(NOW.to_string())
        .args(
            [
                "certChain.pem",
                "key.pem",
                "mesh-ca.pem",
                "coordinator-root-ca.pem",
            ]
            .map(&path),
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let hash = PolicyHash::of(b"p");
    assert_eq!(
        text,
        format!(
            "subject SERIALNUMBER={hash},CN=web.shop\n\
             dns [web.shop *]\n\
             ip [192.0.2.1]\n\
             uri [https://x.example spiffe://nacre.local/ns/shop/Deployment/web]\n\
             under mesh-ca.pem 2\n\
             under coordinator-root-ca.pem 3\n"
        )
    );
}
