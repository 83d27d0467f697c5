//! What the cryptography of one issuance costs on both sides.

use std::hint::black_box;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    UnparsedPublicKey,
};
use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;

use crate::cost;

/// Prints each part and gives the sum, in microseconds.
pub(crate) fn print() -> f64 {
    let random = SystemRandom::new();
    let mut sum = 0.0;
    let mut add = |times: f64, what: &str, cost: f64| {
        println!("  {times:>3} x {what:<44} {cost:>8.1} us");
        sum += times * cost;
    };
    println!("cryptography of one issuance, both sides on one core:");
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    // As long as a report's signed part.
    let message = [9; 0x2a0];
    let of256 = p256.sign(&random, &message).unwrap();
    let of384 = p384.sign(&random, &message).unwrap();
    let generate = cost(500, || {
        black_box(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap());
    });
    add(3.0, "P-256 key (one for each end, one certified)", generate);
    let exchange = cost(300, || {
        let client = X25519MLKEM768.start().unwrap();
        let server = X25519MLKEM768.start_and_complete(client.pub_key()).unwrap();
        black_box(client.complete(&server.pub_key).unwrap());
    });
    add(1.0, "X25519MLKEM768, both ends", exchange);
    // RFC 8446, 7.1, for one end: 3 extractions, 7 secrets, 8 keys and nonces, 2 finished keys with their 2 codes, 2
    // exporters of 2 steps.
    let secret = [7; 48];
    let step = cost(3000, || {
        let key = hmac::Key::new(hmac::HMAC_SHA384, &secret);
        black_box(hmac::sign(&key, &[9; 80]));
    });
    add(52.0, "HMAC-SHA-384 (TLS key schedule, both ends)", step);
    let sign256 = cost(500, || {
        black_box(p256.sign(&random, &message).unwrap());
    });
    add(3.0, "P-256 signature (two handshakes, CSR)", sign256);
    let point = p256.public_key().as_ref().to_vec();
    let verify256 = cost(500, || {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
        key.verify(&message, of256.as_ref()).unwrap();
    });
    add(3.0, "P-256 verification", verify256);
    let sign384 = cost(500, || {
        black_box(p384.sign(&random, &message).unwrap());
    });
    add(3.0, "P-384 signature (two reports, leaf)", sign384);
    let key = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, p384.public_key().as_ref()).unwrap();
    let verify384 = cost(500, || {
        key.verify_sig(&message, of384.as_ref()).unwrap();
    });
    add(2.0, "P-384 verification (two reports)", verify384);
    sum
}
