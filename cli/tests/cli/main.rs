//! The `nacre` command, run as a process: one file for each command.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod attest;
mod bad_input;
mod cluster;
mod collateral;
mod common;
mod coordinator;
mod denied;
mod deploy;
mod flows;
mod generate;
mod help;
mod hostile;
mod init;
mod install;
mod interrupted;
mod live;
mod lock;
mod places;
mod policies;
mod review;
mod terminal;

/// A test file that no `mod` line names would silently not run.
#[test]
fn every_file_is_run() {
    let source = include_str!("main.rs");
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name == "main" || source.contains(&format!("mod {name};\n")),
            "{name}"
        );
    }
}
