//! Tools of several Python packages, each in a virtual environment of its own; pip checks every file's hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{process, workspace};

/// Makes the environment beside `program` and links `program` to what the environment has under its name.
///
/// `folder` in `xtask/tools` has a complete `requirements.txt`.
pub(super) fn install(folder: &str, program: &Path) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    let environment = program.with_file_name("environment");
    // What an interrupted installation left.
    if environment.exists() {
        fs::remove_dir_all(&environment)?;
    }
    // Without pip, which Debian's Python cannot put there by itself.
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--without-pip"]).arg(&environment);
    process::output(&mut venv)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--disable-pip-version-check", "--python"])
        .arg(environment.join("bin/python"))
        .args(["install", "-q", "--no-deps", "--only-binary=:all:"])
        .args(["--require-hashes", "-r"])
        .arg(requirements(folder));
    process::output(&mut pip)?;
    if program.symlink_metadata().is_ok() {
        fs::remove_file(program)?;
    }
    std::os::unix::fs::symlink(Path::new("environment/bin").join(name), program)?;
    Ok(())
}

/// A digest of the packages and their hashes.
pub(super) fn fingerprint(folder: &str) -> String {
    hex::encode(Sha256::digest(
        fs::read(requirements(folder)).unwrap_or_default(),
    ))
}

fn requirements(folder: &str) -> PathBuf {
    let folder = workspace::root().join("xtask/tools").join(folder);
    folder.join("requirements.txt")
}
