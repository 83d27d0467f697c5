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
    // As it is in the image: without what the benchmark itself needs of the same crates.
    process::run(images::static_cargo("build")?.args(["--quiet", "--package=nacre-mesh"]))?;
    let program = images::folder_of_programs()?.join("nacre-mesh");
    let mut cargo = workspace::cargo();
    cargo.arg("bench");
    cargo.args(["--package=nacre-mesh", "--bench=envoy"]);
    cargo
        .env(tools::ENVOY, envoy)
        .env("NACRE_BENCH_PROGRAM", program)
        .env("NACRE_BENCH_OUT", workspace::root().join("docs"));
    process::run(&mut cargo)
}
