//! The control plane's programs with simulated evidence, for tests and demonstrations.

use std::path::PathBuf;

use anyhow::Result;

use crate::{process, workspace};

/// Packages of `simulation/`, and the start gate that the initializer puts into pods.
const PACKAGES: [&str; 5] = [
    "nacre-gate",
    "nacre-sim-cli",
    "nacre-sim-coordinator",
    "nacre-sim-initializer",
    "nacre-sim-platform",
];

/// Builds them as tests are built, and says where they are.
pub(crate) fn build() -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet"]);
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)?;
    Ok(workspace::target()?.join("debug"))
}
