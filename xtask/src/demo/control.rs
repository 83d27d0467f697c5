//! The control plane from `set` to recovery, with simulated evidence: the flows `control` of the tests,
//! which print what they do.

use anyhow::{Result, bail};

use crate::tools;
use crate::{simulation, workspace};

/// Runs the flows one after the other, for everybody to see.
pub(crate) fn run() -> Result<()> {
    let tools = tools::install_only(&["NACRE_TEST_KUSTOMIZE", "NACRE_TEST_OPENSSL"])?;
    let programs = simulation::build()?;
    for flow in [
        "control::from_set_to_recovery",
        "control::three_coordinators_one_dies_and_nobody_notices",
    ] {
        let mut cargo = workspace::cargo();
        cargo.args([
            "test",
            "--quiet",
            "--package=nacre-tests",
            "--test=flows",
            "--",
        ]);
        cargo.args(["--exact", "--nocapture", flow]);
        cargo
            .envs(&tools)
            .env("NACRE_TEST_SIMULATION", &programs)
            .env("NACRE_TEST_PROGRAMS", &programs);
        if !cargo.status()?.success() {
            bail!("{flow} failed");
        }
    }
    Ok(())
}
