//! Any bytes as an object of a history: no panic, read one way only.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_history.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::objects(bytes));
