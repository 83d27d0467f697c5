//! Any bytes as a stream of attested TLS: no panic, bounded memory, and what comes after a frame left alone.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_atls.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::reader(bytes));
