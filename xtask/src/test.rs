//! `cargo xtask test`: the gate before a change lands.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::tools::{self, Environment};
use crate::{book, docker, images, packages, process, simulation, workspace};

/// How much to test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Everything,
    /// No whole flows, and so none of the tools that take long to build.
    WithoutFlows,
    /// Only what needs a kube-apiserver.
    Cluster,
}

/// Test programs with a module `cluster` that plain `cargo test` leaves out. They are asked of the whole workspace: so
/// they are linked with the dependencies that the other tests have built.
const CLUSTER_TESTS: &[&str] = &[
    "--test=cli",
    "--test=cluster",
    "--test=flows",
    "--test=it",
    "--test=store",
];

/// Runs every step in order; the first that fails ends the run.
pub(crate) fn run(extent: Extent) -> Result<()> {
    let mut report = Report::default();
    let done = steps(extent, &mut report);
    report.print();
    done
}

/// Writes the documents that come from code; their test is also their writer.
pub(crate) fn codegen() -> Result<()> {
    let mut cargo = tests(
        &["--package=nacre-tests", "--lib", "documents"],
        &Environment::new(),
    );
    process::run(cargo.env("NACRE_BLESS", "1"))
}

fn steps(extent: Extent, report: &mut Report) -> Result<()> {
    let whole = extent == Extent::Everything;
    if extent == Extent::Cluster {
        let environment = report.step("tools of the cluster", tools::install_for_cluster)?;
        return cluster(&environment, report);
    }
    report.step("format", || {
        process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
    })?;
    report.step("clippy", || {
        let mut clippy = workspace::cargo();
        clippy.args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]);
        process::run(&mut clippy)
    })?;
    let environment = match extent {
        Extent::Everything => report.step("tools", tools::install)?,
        _ => report.step("tools of the crates", tools::install_for_crates)?,
    };
    report.tests(
        "tests of the crates",
        tests(&["--workspace", "--exclude=nacre-tests"], &environment),
    )?;
    report.tests(
        "rules of the workspace",
        tests(&["--package=nacre-tests", "--lib"], &environment),
    )?;
    if whole {
        report.step("images", images::build)?;
        report.step("images of the examples", images::build_examples)?;
        report.step("packages", || packages::build(&environment))?;
        let simulation = report.step("programs of the simulation", simulation::build)?;
        report.step("images with simulated evidence", images::build_insecure)?;
        let site = report.step("site", || book::build(&environment))?;
        let docker = report.step("container engine", || docker::start(&environment))?;
        let mut flows = tests(&["--package=nacre-tests", "--test=flows"], &environment);
        flows
            .env("NACRE_TEST_PROGRAMS", images::folder_of_programs()?)
            .env("NACRE_TEST_IMAGES", images::folder()?)
            .env("NACRE_TEST_PACKAGES", packages::folder()?)
            .env("NACRE_TEST_SIMULATION", simulation)
            .env("NACRE_TEST_SITE", site);
        flows.env("DOCKER_HOST", docker.host());
        report.tests("whole flows with the real tools", flows)?;
    }
    Ok(())
}

/// The tests that need a kube-apiserver; each starts its own through `nacre-test-support`.
fn cluster(environment: &Environment, report: &mut Report) -> Result<()> {
    let filter = ["--", "--ignored", "cluster"];
    let arguments = [&["--workspace"], CLUSTER_TESTS, &filter].concat();
    let programs = report.step(
        "programs as tests are built",
        simulation::build_with_renderers,
    )?;
    let mut cluster = tests(&arguments, environment);
    // As tests are built: what is tested here is the cluster's side.
    cluster
        .env("NACRE_TEST_SIMULATION", &programs)
        .env("NACRE_TEST_PROGRAMS", &programs);
    report.tests("tests with a kube-apiserver", cluster)
}

fn tests(arguments: &[&str], environment: &Environment) -> Command {
    let mut cargo = workspace::cargo();
    cargo
        .args(["test", "--no-fail-fast"])
        .args(arguments)
        .envs(environment);
    cargo
}

/// What was done and how long it took.
#[derive(Default)]
struct Report {
    steps: Vec<(&'static str, Duration)>,
    counts: Counts,
}

impl Report {
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("== {name}");
        let start = Instant::now();
        let done = work();
        self.steps.push((name, start.elapsed()));
        done
    }

    fn tests(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let mut counts = Counts::default();
        let passed = self.step(name, || {
            process::watch(&mut command, |line| counts.add(line))
        })?;
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        if !passed {
            bail!("{name}: {} failed", counts.failed);
        }
        if counts.passed == 0 {
            bail!("{name}: no test ran");
        }
        Ok(())
    }

    fn print(&self) {
        println!();
        for (name, time) in &self.steps {
            println!("{:>8.1} s  {name}", time.as_secs_f64());
        }
        let total: Duration = self.steps.iter().map(|(_, time)| *time).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
        println!(
            "{} passed, {} failed",
            self.counts.passed, self.counts.failed
        );
    }
}

#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// Adds the closing line of one test program, `test result: ok. 3 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else {
            return;
        };
        let words: Vec<&str> = summary.split_whitespace().collect();
        for pair in words.windows(2) {
            let [number, what] = pair else { continue };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what.trim_end_matches(';') {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn closing_lines_are_added_up() {
        let mut counts = Counts::default();
        counts.add("running 3 tests");
        counts.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        counts.add("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1s");
        assert_eq!(
            counts,
            Counts {
                passed: 5,
                failed: 1
            }
        );
    }
}
