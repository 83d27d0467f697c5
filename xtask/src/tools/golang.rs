//! Tools built from Go modules. The Go command checks every module against its checksum.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{process, workspace};

/// `go install PACKAGE@vVERSION`, the program at `program`.
pub(super) fn install(package: &str, version: &str, program: &Path) -> Result<()> {
    let folder = program.parent().context("a program has a folder")?;
    let module = format!("{package}@v{version}");
    process::run(
        go().args(["install", "-ldflags=-s -w", &module])
            .env("GOBIN", folder),
    )
}

/// Builds the Go program in `xtask/tools/<folder>`; its `go.sum` has to be complete.
pub(super) fn build(folder: &str, program: &Path) -> Result<()> {
    let mut command = go();
    command.current_dir(source(folder));
    command
        .args(["build", "-mod=readonly", "-ldflags=-s -w", "-o"])
        .arg(program)
        .arg(".");
    process::run(&mut command)
}

/// A digest of the sources of a Go program of ours.
pub(super) fn fingerprint(folder: &str) -> String {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum", "main.go"] {
        hash.update(fs::read(source(folder).join(file)).unwrap_or_default());
    }
    hex::encode(hash.finalize())
}

fn source(folder: &str) -> PathBuf {
    workspace::root().join("xtask/tools").join(folder)
}

fn go() -> Command {
    let mut command = Command::new("go");
    command
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-trimpath -buildvcs=false");
    command
}
