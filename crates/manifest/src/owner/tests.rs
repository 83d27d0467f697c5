use super::*;

const P256: &str = include_str!("../../testdata/p256.pub");
const P384: &str = include_str!("../../testdata/p384.pub");
const P521: &str = include_str!("../../testdata/p521.pub");
const P384_COMPRESSED: &str = include_str!("../../testdata/p384-compressed.pub");
const SECP256K1: &str = include_str!("../../testdata/secp256k1.pub");
const ED25519: &str = include_str!("../../testdata/ed25519.pub");
const RSA_1024: &str = include_str!("../../testdata/rsa1024.pub");
const RSA_2048: &str = include_str!("../../testdata/rsa2048.pub");
const RSA_2048_PKCS1: &str = include_str!("../../testdata/rsa2048-pkcs1.pub");
const RSA_2048_HEX: &str = include_str!("../../testdata/rsa2048.hex");

#[test]
fn digests_of_workload_owners_are_those_of_openssl() {
    // openssl pkey -pubin -in FILE -outform DER | sha256sum
    let expected = [
        (
            P256,
            "87fc53912a1decb15e956dc804b01d94d7914d1e7738cd67cc764d40a86a797a",
        ),
        (
            P384,
            "80a96e694961a817044a030508f0372d8b49da19c0ef49a2840783e2ac2f88d5",
        ),
        (
            P521,
            "f4ac12a64a5ffe2b29509b71a79756f751d6a7361f067be8bfb53c605ccbab59",
        ),
    ];
    for (pem, digest) in expected {
        assert_eq!(KeyDigest::from_pem(pem).unwrap().to_string(), digest);
    }
}

#[test]
fn seedshare_keys_are_the_same_in_every_form() {
    let key = SeedshareOwnerKey::from_pem(RSA_2048).unwrap();
    assert_eq!(key.to_string(), RSA_2048_HEX.trim());
    assert_eq!(SeedshareOwnerKey::from_pem(RSA_2048_PKCS1), Ok(key.clone()));
    assert_eq!(RSA_2048_HEX.trim().parse(), Ok(key.clone()));
    assert_eq!(key.bits(), 2048);
}

#[test]
fn each_role_has_its_own_algorithm() {
    assert_eq!(
        KeyDigest::from_pem(RSA_2048),
        Err(OwnerKeyError::NotElliptic)
    );
    assert_eq!(
        KeyDigest::from_pem(ED25519),
        Err(OwnerKeyError::NotElliptic)
    );
    assert_eq!(
        KeyDigest::from_pem(SECP256K1),
        Err(OwnerKeyError::NotElliptic)
    );
    assert_eq!(
        KeyDigest::from_pem(P384_COMPRESSED),
        Err(OwnerKeyError::Point)
    );
    assert_eq!(
        SeedshareOwnerKey::from_pem(P384),
        Err(OwnerKeyError::NotRsa)
    );
    assert_eq!(
        SeedshareOwnerKey::from_pem(RSA_1024),
        Err(OwnerKeyError::RsaSize { bits: 1024 })
    );
    let wrong = Err(OwnerKeyError::Label {
        label: "RSA PUBLIC KEY".to_owned(),
    });
    assert_eq!(KeyDigest::from_pem(RSA_2048_PKCS1), wrong);
}

#[test]
fn private_keys_are_refused_and_not_repeated() {
    for label in [
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "RSA PRIVATE KEY",
    ] {
        let pem = format!("-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n");
        let error = KeyDigest::from_pem(&pem).unwrap_err();
        assert_eq!(error, OwnerKeyError::PrivateKey);
        assert!(!format!("{error} {error:?}").contains("c2VjcmV0"));
        assert_eq!(
            SeedshareOwnerKey::from_pem(&pem),
            Err(OwnerKeyError::PrivateKey)
        );
    }
    let with_headers = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nc2VjcmV0\n\
                        -----END EC PRIVATE KEY-----\n";
    assert_eq!(
        KeyDigest::from_pem(with_headers),
        Err(OwnerKeyError::PrivateKey)
    );
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let der = crate::pem::single(P384).unwrap().der;
    for end in 0..der.len() {
        assert!(KeyDigest::from_spki(&der[..end]).is_err(), "{end}");
    }
    let longer = [der.as_slice(), &[0]].concat();
    assert_eq!(
        KeyDigest::from_spki(&longer),
        Err(OwnerKeyError::Der(DerError::Trailing))
    );

    let pkcs1 = hex::decode(RSA_2048_HEX.trim()).unwrap();
    for end in 0..pkcs1.len() {
        assert!(
            SeedshareOwnerKey::from_pkcs1_der(&pkcs1[..end]).is_err(),
            "{end}"
        );
    }
}

#[test]
fn hex_keys_are_lower_case() {
    let upper = RSA_2048_HEX
        .trim()
        .to_ascii_uppercase()
        .parse::<SeedshareOwnerKey>();
    assert_eq!(upper, Err(OwnerKeyError::Hex));
    assert_eq!("zz".parse::<SeedshareOwnerKey>(), Err(OwnerKeyError::Hex));
}

#[test]
fn exponents_must_be_odd_and_above_one() {
    let mut der = hex::decode(RSA_2048_HEX.trim()).unwrap();
    let last = der.len() - 1;
    assert_eq!(der[last - 2..], [1, 0, 1]);
    der[last] = 0;
    assert_eq!(
        SeedshareOwnerKey::from_pkcs1_der(&der),
        Err(OwnerKeyError::RsaExponent)
    );
}
