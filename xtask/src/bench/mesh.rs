//! `cargo xtask bench mesh`: the mesh against a real Envoy in the same slot.

use anyhow::{Context as _, Result, bail};

use crate::{images, process, tools, workspace};

/// Builds the mesh and its benchmark as releases are built, and runs it. Variables:
/// `NACRE_BENCH_RUNS` (5), `NACRE_BENCH_CPU_SECONDS` (1 for each measurement), `NACRE_BENCH_ONLY` (a
/// part of a row's name).
pub(crate) fn run() -> Result<()> {
    let is_root = process::output(std::process::Command::new("id").arg("-u"))?.trim() == "0";
    if !is_root {
        bail!("namespaces and rules need root: run this as root");
    }
    let mut environment = tools::install_only(&[tools::ENVOY, "NACRE_TEST_IP", "NACRE_TEST_NFT"])?;
    let envoy = environment.remove(tools::ENVOY).context("no Envoy")?;
    let mut cargo = images::static_cargo("bench")?;
    cargo.args(["--package=nacre-mesh", "--bench=envoy"]);
    cargo
        .env(tools::ENVOY, envoy)
        .env("NACRE_BENCH_OUT", workspace::root().join("docs"));
    process::run(&mut cargo)
}
