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

/// A Go program of ours.
pub(super) struct Program {
    /// Folder in `xtask/tools` with `go.mod` and a complete `go.sum`.
    pub(super) folder: &'static str,
    /// Folder of the main package, as `go build` takes it.
    pub(super) package: &'static str,
    /// Flags for the linker after `-s -w`.
    pub(super) linker_flags: &'static str,
}

/// Builds a Go program of ours.
pub(super) fn build(source: &Program, program: &Path) -> Result<()> {
    let mut command = go();
    command.current_dir(folder(source));
    command
        .args(["build", "-mod=readonly"])
        .arg(format!("-ldflags=-s -w{}", source.linker_flags))
        .arg("-o")
        .arg(program)
        .arg(source.package);
    process::run(&mut command)
}

/// A digest of the sources of a Go program of ours.
pub(super) fn fingerprint(source: &Program) -> String {
    let mut hash = Sha256::new();
    let main = format!("{}/main.go", source.package);
    for file in ["go.mod", "go.sum", &main] {
        hash.update(fs::read(folder(source).join(file)).unwrap_or_default());
    }
    hash.update(source.linker_flags);
    hex::encode(hash.finalize())
}

fn folder(source: &Program) -> PathBuf {
    workspace::root().join("xtask/tools").join(source.folder)
}

fn go() -> Command {
    let mut command = Command::new("go");
    command
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-trimpath -buildvcs=false");
    command
}
