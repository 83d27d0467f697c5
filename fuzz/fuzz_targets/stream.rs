//! Any bytes as a stream: no panic, bounded time, printed as read, edits proved.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_krm.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::stream(bytes));
