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

/// Packages of the programs that render; whole flows take those of the images instead.
const RENDERERS: [&str; 3] = ["nacre-cli", "nacre-krm-fn", "nacre-post-renderer"];

/// Builds them as tests are built, and says where they are.
pub(crate) fn build() -> Result<PathBuf> {
    build_packages(&PACKAGES)
}

/// The same, and beside them the programs that render.
pub(crate) fn build_with_renderers() -> Result<PathBuf> {
    build_packages(&[&PACKAGES[..], &RENDERERS].concat())
}

fn build_packages(packages: &[&str]) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet"]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)?;
    Ok(workspace::target()?.join("debug"))
}
