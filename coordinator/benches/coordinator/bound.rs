//! What the cryptography of one issuance costs on both sides.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    UnparsedPublicKey,
};
use aws_lc_rs::{digest, hmac};
use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;

use crate::{cpu, median};

/// Bytes of the handshake, which each end hashes.
const HANDSHAKE: usize = 3_200;
/// Bytes after it, sealed by one end and opened by the other: evidence both ways, request and certificates.
const SAID: usize = 10_700;

/// One kind of operation.
struct Part {
    what: &'static str,
    times: f64,
    call: Box<dyn FnMut()>,
    /// What one call took in each round, in microseconds.
    took: Vec<f64>,
}

/// All of it.
pub(crate) struct Bound(Vec<Part>);

impl Bound {
    pub(crate) fn new() -> Self {
        let mut parts = Vec::new();
        let mut add = |times: f64, what, call: Box<dyn FnMut()>| {
            parts.push(Part {
                what,
                times,
                call,
                took: Vec::new(),
            });
        };
        // As long as a report's signed part.
        let message = [9; 0x2a0];
        let p256 = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let p384 = || EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let random = SystemRandom::new;
        add(
            3.0,
            "P-256 key (one for each end, one certified)",
            Box::new(move || drop(black_box(p256()))),
        );
        add(
            1.0,
            "X25519MLKEM768, both ends",
            Box::new(|| {
                let client = X25519MLKEM768.start().unwrap();
                let server = X25519MLKEM768.start_and_complete(client.pub_key()).unwrap();
                black_box(client.complete(&server.pub_key).unwrap());
            }),
        );
        // RFC 8446, 7.1, for one end: 3 extractions, 7 secrets, 8 keys and nonces, 2 finished keys with their 2
        // codes, 2 exporters of 2 steps.
        add(
            52.0,
            "HMAC-SHA-384 (TLS key schedule, both ends)",
            Box::new(|| {
                let key = hmac::Key::new(hmac::HMAC_SHA384, &[7; 48]);
                black_box(hmac::sign(&key, &[9; 80]));
            }),
        );
        add(
            2.0,
            "SHA-384 of the handshake",
            Box::new(|| {
                black_box(digest::digest(&digest::SHA384, &[9; HANDSHAKE]));
            }),
        );
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
        add(
            1.0,
            "AES-256-GCM of what is said, sealed and opened",
            Box::new(move || {
                let mut said = vec![9; SAID];
                let nonce = || Nonce::assume_unique_for_key([0; 12]);
                key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut said)
                    .unwrap();
                black_box(key.open_in_place(nonce(), Aad::empty(), &mut said).unwrap());
            }),
        );
        let key = p256();
        add(
            3.0,
            "P-256 signature (two handshakes, CSR)",
            Box::new(move || {
                black_box(key.sign(&random(), &message).unwrap());
            }),
        );
        let key = p256();
        let signature = key.sign(&random(), &message).unwrap();
        add(
            3.0,
            "P-256 verification",
            Box::new(move || {
                let point = key.public_key().as_ref();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
                key.verify(&message, signature.as_ref()).unwrap();
            }),
        );
        let key = p384();
        add(
            3.0,
            "P-384 signature (two reports, leaf)",
            Box::new(move || {
                black_box(key.sign(&random(), &message).unwrap());
            }),
        );
        let key = p384();
        let signature = key.sign(&random(), &message).unwrap();
        let point = key.public_key().as_ref();
        let key = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).unwrap();
        add(
            2.0,
            "P-384 verification (two reports)",
            Box::new(move || key.verify_sig(&message, signature.as_ref()).unwrap()),
        );
        Self(parts)
    }

    /// Measures each part once more, and gives the sum, in microseconds.
    pub(crate) fn round(&mut self, calls: u32) -> f64 {
        let mut sum = 0.0;
        for part in &mut self.0 {
            let start = cpu();
            (0..calls).for_each(|_| (part.call)());
            let each = (cpu() - start).as_secs_f64() * 1e6 / f64::from(calls);
            part.took.push(each);
            sum += part.times * each;
        }
        sum
    }

    /// Prints the median of each part.
    pub(crate) fn print(&self) {
        println!("cryptography of one issuance, both sides on one core:");
        for part in &self.0 {
            let (times, what, each) = (part.times, part.what, median(&part.took));
            println!("  {times:>3} x {what:<46} {each:>8.1} us");
        }
    }
}
