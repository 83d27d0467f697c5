//! Any bytes as what comes with an image: no panic, what is read prints the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_registry.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::image(bytes));
