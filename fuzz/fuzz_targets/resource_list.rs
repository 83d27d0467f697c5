//! Any bytes as a ResourceList: items changed and added, results set.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../exercise_krm.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::resource_list(bytes));
