//! Any bytes as a private key in PEM, encrypted or not: no panic, one way to read it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_client.rs"]
#[allow(dead_code, reason = "each target is one of its functions")]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::key(bytes));
