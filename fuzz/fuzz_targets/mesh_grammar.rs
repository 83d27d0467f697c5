//! Any text as a mesh annotation.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../exercise_mesh.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::grammar(bytes));
