//! `cargo xtask fuzz`: the targets in `fuzz/`, guided by coverage, each for a limited time.
//!
//! libFuzzer with LLVM's own instrumentation, which the stable compiler has; without a sanitizer, since what
//! is looked for in safe Rust is a panic, an endless loop and a flood of memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace};

/// Seconds for each target where none are given.
const SECONDS: u32 = 60;
/// What one input may take: seconds, and MiB of the whole process.
const LIMITS: &[&str] = &["-timeout=5", "-rss_limit_mb=1024"];
/// Counters at each edge, and what comparisons look for.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg",
    "fuzzing",
];
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Builds all targets and runs those that are named, or all. Every target runs, whatever another finds.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (seconds, named) = match words.split_first() {
        Some((first, rest)) if first.bytes().all(|byte| byte.is_ascii_digit()) => {
            (first.parse().context("seconds for each target")?, rest)
        }
        _ => (SECONDS, words),
    };
    let all = targets()?;
    if let Some(unknown) = named
        .iter()
        .find(|name| !all.iter().any(|one| one == *name))
    {
        bail!("no target `{unknown}`; there are {}", all.join(", "));
    }
    let folder = workspace::target()?.join("fuzz");
    build(&folder)?;
    let chosen = all
        .iter()
        .filter(|one| named.is_empty() || named.contains(&one.as_str()));
    let mut failed = Vec::new();
    for target in chosen {
        eprintln!("== {target}, {seconds} s");
        if let Err(error) = exercise(&folder, target, seconds) {
            eprintln!("{error:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} failed; the inputs are in {}",
            failed.join(", "),
            folder.join("found").display()
        );
    }
    Ok(())
}

/// The names of the targets, sorted.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(sources().join("fuzz_targets"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

fn build(folder: &Path) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo
        .current_dir(sources())
        .args(["build", "--release", "--locked", "--target", HOST])
        .env("CARGO_TARGET_DIR", folder)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTATION.join("\u{1f}"));
    process::run(&mut cargo)
}

/// One target: what it finds new goes beside the build, the corpus in the repository is only read.
fn exercise(folder: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = folder.join("found").join(target);
    let grown = folder.join("corpus").join(target);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&grown)?;
    let mut fuzzer = Command::new(folder.join(HOST).join("release").join(target));
    fuzzer
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-verbosity=1"])
        .arg(grown)
        .arg(sources().join("corpus").join(target));
    process::run(&mut fuzzer)
}

fn sources() -> PathBuf {
    workspace::root().join("fuzz")
}
