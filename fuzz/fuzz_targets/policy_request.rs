//! Any request against the shipped rules: no panic, no evaluation over 50 ms, nothing else runs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_policy.rs"]
mod exercise;

/// Bound of one evaluation in a release build.
const LIMIT_MS: u128 = 50;

fuzz_target!(|bytes: &[u8]| {
    // Twice, because the machine may do something else at the same time.
    if exercise::request(bytes).as_millis() > LIMIT_MS {
        let again = exercise::request(bytes).as_millis();
        assert!(again <= LIMIT_MS, "{again} ms");
    }
});
