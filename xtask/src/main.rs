//! Builds, tests and demonstrates Nacre: `cargo xtask COMMAND`.
//!
//! What the tests need from outside is installed here at pinned versions, so that a fresh clone on a
//! machine with Rust, Go and Python is enough.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: its output is its purpose"
)]

mod agent;
mod bench;
mod book;
mod demo;
mod docker;
mod fuzz;
mod images;
mod packages;
mod process;
mod simulation;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--fast]        everything that has to hold before a change lands;
                       --fast leaves out whole flows and the tools they take
  test --cluster       only the tests that need a kube-apiserver, which it builds and starts
  tools [--list|--env] install the external tools of the tests, or say which they are,
                       or print the variables by which the tests find them
  demo [control|mesh]  the shop through real kustomize and Helm: diff and manifest, no cluster; then
                       Coordinators and pods from `set` to recovery with simulated evidence, then two
                       pods that talk through the mesh; with a word only that part
  bench                speed, memory and size, each against its limit
  bench policy         policies by the agent's engine, self-check; beside genpolicy where NACRE_PEER names its policies
  bench attestation    evidence beside another verifier, attested connections beside plain ones
  bench coordinator    issuance, setting, memory and start of the Coordinator
  bench mesh           the mesh against Envoy in the same slot, with a plot; needs root
  fuzz [SECONDS] [TARGET…]
                       each target of fuzz/, or those named, guided by coverage, for so long (60 s)
  codegen              write the documents that come from code
  agent-schema KATA    write the messages of Kata's agent as data for a test, from a checkout of Kata
  images [--examples|--insecure]
                       static programs, their images as OCI layouts in target/images, with sizes,
                       SBOMs and licences; --examples: those of the workloads in examples/ instead, to
                       lock them; --insecure: those that trust simulated hardware, for tests only
  book                 the documentation as a site in target/book, by mdBook, with its diagrams
  packages             Helm plugin, chart, Argo CD's plugin image, man pages and completions in
                       target/packages, from the programs that `images` built
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::run(test::Extent::Everything),
        ["test", "--fast"] => test::run(test::Extent::WithoutFlows),
        ["test", "--cluster"] => test::run(test::Extent::Cluster),
        ["tools"] => tools::install().map(|_| ()),
        ["tools", "--list"] => tools::list(),
        ["tools", "--env"] => tools::print_environment(),
        ["demo"] => demo::run()
            .and_then(|()| demo::control())
            .and_then(|()| demo::mesh()),
        ["demo", "control"] => demo::control(),
        ["demo", "mesh"] => demo::mesh(),
        ["bench"] => bench::run(),
        ["bench", "policy"] => bench::policy(),
        ["bench", "attestation"] => bench::attestation(),
        ["bench", "coordinator"] => bench::coordinator(),
        ["bench", "mesh"] => bench::mesh(),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["codegen"] => test::codegen(),
        ["agent-schema", kata] => agent::write(kata),
        ["packages"] => packages::build(&tools::install_only(&["NACRE_TEST_KUSTOMIZE"])?),
        ["book"] => book::build(&tools::install_only(&[tools::MDBOOK, tools::DOT])?).map(|_| ()),
        ["images"] => images::build(),
        ["images", "--examples"] => images::build_examples(),
        ["images", "--insecure"] => images::build_insecure(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("I do not know `{}`\n\n{USAGE}", arguments.join(" ")),
    }
}
