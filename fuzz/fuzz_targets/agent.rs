//! Any bytes as an answer of the attestation agent: no panic, bounded time, never accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_attest.rs"]
#[allow(dead_code, reason = "each target uses one of its functions")]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::agent(bytes));
