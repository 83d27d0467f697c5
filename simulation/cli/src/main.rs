//! SIMULATION: the nacre command for Coordinators with made-up evidence.
//!
//! The same library as `nacre`, with the root that `NACRE_SIM_PKI` names and manifests that name it. Never
//! for production: what it verifies proves nothing.

#![allow(clippy::print_stderr, reason = "a command-line program")]

use std::process::ExitCode;

use nacre_client::Trust;
use nacre_framing::environment::Environment;
use nacre_sim::program::{Platform, read_manifest};

/// Exit code for a wrong command line, environment included.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let trust = Platform::read(&|name| std::env::var(name).ok()).and_then(|platform| {
        eprintln!("nacre-sim: {}", platform.warning());
        Ok(Trust {
            verifier: platform.verifier()?,
            reader: read_manifest,
        })
    });
    match trust {
        Ok(trust) => nacre_cli::run(Environment::of_process(), trust),
        Err(error) => {
            eprintln!("nacre-sim: {error}");
            ExitCode::from(USAGE)
        }
    }
}
