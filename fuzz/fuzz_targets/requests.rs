//! Any bytes as a request to the Coordinator: no panic, bounded time.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_requests.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::requests(bytes));
