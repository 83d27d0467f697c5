//! Time and peak memory of a program.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// The kernel tells a parent the peak memory of its children; Python hands that on.
const MEASURE: &str = "\
import os, resource, subprocess, sys, time
cores, runs, source, program = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
if cores == 'one':
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
best = None
for _ in range(runs):
    with open(source, 'rb') as stdin, open(os.devnull, 'wb') as nowhere:
        start = time.perf_counter()
        done = subprocess.run(program, stdin=stdin, stdout=nowhere, stderr=subprocess.PIPE)
        took = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr.decode())
    best = took if best is None else min(best, took)
print(best, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
";

/// How much of the machine a program may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    One,
    All,
}

/// The fastest of several runs, and the highest peak.
pub(super) struct Measured {
    pub(super) seconds: f64,
    /// Kilobytes.
    pub(super) peak: u64,
}

impl Measured {
    pub(super) fn milliseconds(&self) -> f64 {
        self.seconds * 1e3
    }
}

/// Runs a program in `folder` with the file as standard input.
pub(super) fn measure(
    program: &Path,
    arguments: &[&str],
    input: Option<&Path>,
    cores: Cores,
    folder: &Path,
    runs: usize,
) -> Result<Measured> {
    let mut python = Command::new("python3");
    python.current_dir(folder).args(["-c", MEASURE]);
    python
        .arg(if cores == Cores::One { "one" } else { "all" })
        .arg(runs.to_string());
    python
        .arg(input.unwrap_or(Path::new("/dev/null")))
        .arg(program)
        .args(arguments);
    python.env("GOMAXPROCS", if cores == Cores::One { "1" } else { "2" });
    let output = process::output(&mut python)?;
    let mut words = output.split_whitespace();
    let seconds = words.next().context("no time")?.parse()?;
    let peak = words.next().context("no memory")?.parse()?;
    Ok(Measured { seconds, peak })
}
