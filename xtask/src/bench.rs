//! `cargo xtask bench`: the table of speed, memory and size, every ratio measured in one run.

mod input;
mod measure;
mod mesh;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::tools::{self, Environment};
use crate::{images, process, workspace};
use measure::{Cores, Measured, measure};
pub(crate) use mesh::run as mesh;

/// The size that a stream has to be handled well at; about 16 MB.
const MANY: usize = 10_000;
const FEW: usize = 100;
/// An application of a usual large size.
const USUAL: usize = 50;
/// Runs of which the fastest counts.
const RUNS: usize = 3;

/// Measures and prints the table.
pub(crate) fn run() -> Result<()> {
    images::build()?;
    images::build_examples()?;
    let bench = Bench::prepare()?;
    let mut table = Table::default();
    bench.core(&mut table)?;
    bench.transformation(&mut table)?;
    bench.usual(&mut table)?;
    bench.programs(&mut table)?;
    bench.explain(&mut table)?;
    println!();
    table.print();
    // These judge their figures themselves. All of them run, whatever the first says.
    let judged = [policy(), attestation(), coordinator()];
    judged.into_iter().collect()
}

/// Evaluation of policies, by the agent's engine and for the self-check; beside genpolicy's where
/// `NACRE_PEER` names policies of it.
pub(crate) fn policy() -> Result<()> {
    package("nacre-policy", "evaluation", &Environment::new())
}

/// Verification of evidence, and attested connections.
pub(crate) fn attestation() -> Result<()> {
    let verification = package("nacre-attest", "verify", &Environment::new());
    let connections = package("nacre-atls", "handshake", &Environment::new());
    verification.and(connections)
}

/// Issuance, setting on both back-ends, memory and start of the Coordinator, compiled as it ships: what links one program
/// for good counts where the rest is cryptography. `NACRE_BENCH_ONLY` chooses: start, leaves, issuance, set, generations,
/// crowd.
pub(crate) fn coordinator() -> Result<()> {
    let environment = tools::install_for_cluster()?;
    compiled_as("dist", "nacre-coordinator", "coordinator", &environment)
}

fn package(package: &str, bench: &str, environment: &Environment) -> Result<()> {
    compiled_as("bench", package, bench, environment)
}

fn compiled_as(profile: &str, package: &str, bench: &str, environment: &Environment) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["bench", "--quiet", "--profile", profile]);
    cargo.args(["--package", package, "--bench", bench]);
    cargo.envs(environment);
    process::run(&mut cargo)
}

struct Bench {
    folder: PathBuf,
    kyaml: PathBuf,
}

impl Bench {
    /// Builds the yardstick and writes the inputs.
    fn prepare() -> Result<Bench> {
        let folder = workspace::target()?.join("bench");
        fs::create_dir_all(&folder)?;
        let kyaml = folder.join("kyaml-identity");
        let mut go = Command::new("go");
        go.current_dir(workspace::root().join("crates/krm/benches/kyaml-identity"));
        go.args(["build", "-mod=readonly", "-o"])
            .arg(&kyaml)
            .arg(".");
        process::run(&mut go)?;
        for count in [FEW, USUAL, MANY] {
            fs::write(stream(&folder, count), input::stream(count)?)?;
        }
        let layout = images::folder()?.join("examples/layout");
        input::lock(&folder, &layout)?;
        fs::write(folder.join("checked.yaml"), input::configuration(true))?;
        fs::write(folder.join("unchecked.yaml"), input::configuration(false))?;
        Ok(Bench { folder, kyaml })
    }

    /// Reading, editing and writing YAML, by the benchmark of the crate itself.
    fn core(&self, table: &mut Table) -> Result<()> {
        let mut cargo = workspace::cargo();
        cargo
            .args(["bench", "--quiet", "--package=nacre-krm"])
            .env("KYAML_IDENTITY", &self.kyaml);
        let mut lines = Vec::new();
        if !process::watch(&mut cargo, |line| lines.push(line.to_owned()))? {
            anyhow::bail!("the benchmark of crates/krm failed");
        }
        let number = |start: &str, before: &str| {
            let line = lines.iter().find(|line| line.starts_with(start));
            let words: Vec<&str> = line?.split_whitespace().collect();
            let at = match before {
                "" => words.len(),
                word => words.iter().position(|found| *found == word)?,
            };
            words.get(at.checked_sub(1)?)?.parse::<f64>().ok()
        };
        let mut row = |what: &str, limit: f64, value: Option<f64>| -> Result<()> {
            let value = value.with_context(|| format!("no line for: {what}"))?;
            table.at_least(what, limit, value);
            Ok(())
        };
        let one = number("parse, inject, print, unchecked", "x");
        row(
            "YAML edited on one core, times as fast as kyaml's identity",
            4.0,
            one,
        )?;
        let checked = number("parse, inject, print, checked", "x");
        row("the same, every edit read back", 2.5, checked)?;
        row(
            "two cores against one",
            1.7,
            number("two threads against one", ""),
        )
    }

    /// The whole program on a long stream.
    fn transformation(&self, table: &mut Table) -> Result<()> {
        let kyaml = self.identity(MANY)?;
        let ours = self.generate("checked.yaml", MANY, Cores::All)?;
        let unchecked = self.generate("unchecked.yaml", MANY, Cores::All)?;
        let single = self.generate("unchecked.yaml", MANY, Cores::One)?;
        table.at_most(
            "policies and manifest of 10 000 workloads, in times of kyaml's identity",
            1.5,
            unchecked.seconds / kyaml.seconds,
        );
        table.note("the same on one core", single.seconds / kyaml.seconds);
        table.note(
            "the same on all cores, policies tried out",
            ours.seconds / kyaml.seconds,
        );
        table.note("seconds for 10 000 workloads", unchecked.seconds);
        table.note("seconds of kyaml's identity", kyaml.seconds);
        let memory = unchecked.peak as f64 / kyaml.peak as f64;
        table.at_most("peak memory against kyaml's", 1.0 / 3.0, memory);
        table.note("peak memory in MB", unchecked.peak as f64 / 1000.0);
        let few = self.generate("unchecked.yaml", FEW, Cores::One)?;
        let start = self.start(&images::folder_of_programs()?.join("nacre"))?;
        let each = |all: &Measured, count: usize| (all.seconds - start.seconds) / count as f64;
        let growth = each(&single, MANY) / each(&few, FEW);
        table.at_most(
            "time for each of 10 000 workloads against each of 100",
            1.3,
            growth,
        );
        Ok(())
    }

    /// The whole program on an application of usual size, with a warm cache.
    fn usual(&self, table: &mut Table) -> Result<()> {
        let checked = self.generate("checked.yaml", USUAL, Cores::All)?;
        table.at_most(
            "milliseconds for 50 workloads, policies tried out",
            300.0,
            checked.milliseconds(),
        );
        let unchecked = self.generate("unchecked.yaml", USUAL, Cores::All)?;
        table.at_most(
            "milliseconds for 50 workloads",
            100.0,
            unchecked.milliseconds(),
        );
        Ok(())
    }

    fn programs(&self, table: &mut Table) -> Result<()> {
        let folder = images::folder_of_programs()?;
        for (name, limit) in [
            ("nacre-krm-fn", 8.0),
            ("nacre-post-renderer", 8.0),
            ("nacre", 20.0),
        ] {
            let size = fs::metadata(folder.join(name))?.len() as f64 / 1e6;
            table.at_most(&format!("size of {name} in MB"), limit, size);
        }
        for name in ["nacre-krm-fn", "nacre-post-renderer", "nacre"] {
            let start = self.start(&folder.join(name))?.milliseconds();
            table.at_most(
                &format!("milliseconds until {name} has answered"),
                10.0,
                start,
            );
        }
        Ok(())
    }

    /// From a denied request to its cause, with the rules evaluated.
    fn explain(&self, table: &mut Table) -> Result<()> {
        let example = workspace::root().join("examples/shop/kustomize");
        let folder = self.folder.join("explain");
        fs::create_dir_all(&folder)?;
        for file in [
            "confidential/confidential.yaml",
            "confidential/nacre.lock.yaml",
            "expected/rendered.yaml",
            "expected/manifest.json",
        ] {
            let from = example.join(file);
            let name = from.file_name().context("a file")?;
            fs::copy(&from, folder.join(name))?;
        }
        let nacre = images::folder_of_programs()?.join("nacre");
        let mut simulate = Command::new(&nacre);
        simulate
            .current_dir(&folder)
            .args(["simulate", "--config", "confidential.yaml"]);
        simulate.args(["--lock", "nacre.lock.yaml", "--workload", "web"]);
        simulate.args(["--fixtures", "life.json", "rendered.yaml"]);
        process::run(simulate.stdout(Stdio::null()))?;
        let life: Vec<Value> = serde_json::from_slice(&fs::read(folder.join("life.json"))?)?;
        let create = |step: &&Value| {
            let kind = step.pointer("/request/kind");
            kind.and_then(Value::as_str) == Some("CreateContainerRequest")
        };
        let last = life
            .iter()
            .rfind(create)
            .and_then(|step| step.get("request"));
        let mut denied = last.context("a pod creates a container")?.clone();
        let arguments = denied.pointer_mut("/request/OCI/Process/Args");
        *arguments.context("a container has arguments")? = json!(["/bin/sh"]);
        let input = folder.join("denied.json");
        fs::write(&input, denied.to_string())?;
        let arguments = ["explain", "rendered.yaml"];
        let took = measure(&nacre, &arguments, Some(&input), Cores::All, &folder, 10)?;
        table.at_most(
            "milliseconds until nacre explain has said why a pod was denied",
            100.0,
            took.milliseconds(),
        );
        Ok(())
    }

    fn identity(&self, count: usize) -> Result<Measured> {
        let input = stream(&self.folder, count);
        measure(
            &self.kyaml,
            &[],
            Some(&input),
            Cores::One,
            &self.folder,
            RUNS,
        )
    }

    fn generate(&self, config: &str, count: usize, cores: Cores) -> Result<Measured> {
        let program = images::folder_of_programs()?.join("nacre");
        let arguments = ["generate", "--config", config, "--lock", "lock.yaml", "-"];
        let input = stream(&self.folder, count);
        let runs = if count < MANY { 10 } else { RUNS };
        measure(
            &program,
            &arguments,
            Some(&input),
            cores,
            &self.folder,
            runs,
        )
    }

    fn start(&self, program: &Path) -> Result<Measured> {
        measure(program, &["--version"], None, Cores::All, &self.folder, 20)
    }
}

fn stream(folder: &Path, count: usize) -> PathBuf {
    folder.join(format!("{count}.yaml"))
}

#[derive(Default)]
struct Table {
    rows: Vec<(String, String, f64)>,
}

impl Table {
    fn at_least(&mut self, what: &str, limit: f64, value: f64) {
        self.rows
            .push((what.to_owned(), verdict(">=", limit, value >= limit), value));
    }

    fn at_most(&mut self, what: &str, limit: f64, value: f64) {
        self.rows
            .push((what.to_owned(), verdict("<=", limit, value <= limit), value));
    }

    fn note(&mut self, what: &str, value: f64) {
        self.rows.push((format!("  {what}"), String::new(), value));
    }

    fn print(&self) {
        for (what, verdict, value) in &self.rows {
            println!("{what:<74} {value:>9.2}  {verdict}");
        }
    }
}

fn verdict(relation: &str, limit: f64, met: bool) -> String {
    format!(
        "{relation} {limit:.2} {}",
        if met { "met" } else { "NOT MET" }
    )
}
