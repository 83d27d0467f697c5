//! Tools from Debian packages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// Installs the packages whose program is not there yet.
pub(super) fn install(wanted: impl Iterator<Item = (&'static str, &'static str)>) -> Result<()> {
    let missing: BTreeSet<&str> = wanted
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.into_iter().collect();
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if find("apt-get").is_none() {
        bail!("{} missing; on Debian: {by_hand}", packages.join(", "));
    }
    eprintln!("installing Debian packages: {}", packages.join(" "));
    let Some(mut update) = as_root("apt-get") else {
        bail!("to install programs I need root or a sudo that does not ask; please run: {by_hand}");
    };
    process::output(update.args(["update", "-q"]))?;
    let Some(mut install) = as_root("apt-get") else {
        bail!("please run: {by_hand}");
    };
    install
        .args(["install", "-q", "-y", "--no-install-recommends"])
        .args(&packages);
    process::output(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// Finds a program on PATH or where Debian puts daemons.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).collect::<Vec<_>>();
    let more = ["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    folders
        .into_iter()
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|path| is_program(path))
}

/// A command with the rights of root, if they can be had without a question.
pub(crate) fn as_root(program: &str) -> Option<Command> {
    let is_root = process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if is_root {
        return Some(Command::new(program));
    }
    let may_sudo = process::succeeds(Command::new("sudo").args(["-n", "true"]));
    may_sudo.then(|| {
        let mut command = Command::new("sudo");
        command.args(["-n", program]);
        command
    })
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
