//! Any bytes as a layer: no panic, bounded memory.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_registry.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::layer(bytes));
