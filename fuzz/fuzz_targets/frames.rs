//! Any bytes as a message of the attested TLS exchange: no panic, read one way only.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_atls.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::frames(bytes));
