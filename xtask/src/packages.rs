//! What a release offers besides images: the Helm plugin, the Coordinator's chart, Argo CD's plugin image.
//!
//! Archives are made like layers of images: name order, no times, numeric owners.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};

use crate::tools::Environment;
use crate::{images, process, workspace};

const PLUGIN: &str = "nacre-post-renderer";
const CHART: &str = "nacre-coordinator";

/// Where the packages go.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(workspace::target()?.join("packages"))
}

/// Builds all packages from the programs of `images`, which have to be there.
pub(crate) fn build(tools: &Environment) -> Result<()> {
    let folder = folder()?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let version = env!("CARGO_PKG_VERSION");
    let programs = images::folder_of_programs()?;

    // The plugin is what the command installs.
    let plugins = folder.join("helm-plugins");
    let mut install = Command::new(programs.join("nacre"));
    install.args(["install", "helm-plugin", "--copy", "--binary"]);
    install
        .arg(programs.join(PLUGIN))
        .arg("--dir")
        .arg(&plugins);
    process::output(&mut install)?;
    archive(
        &plugins.join(PLUGIN),
        PLUGIN,
        &folder.join(format!("{PLUGIN}-{version}.tgz")),
    )?;
    archive(
        &workspace::root().join("packages/helm/coordinator"),
        CHART,
        &folder.join(format!("{CHART}-{version}.tgz")),
    )?;

    let kustomize = tools.get("NACRE_TEST_KUSTOMIZE").context("no kustomize")?;
    let size = images::build_argocd(&folder.join("argocd"), kustomize)?;
    println!("{:>10.1} MB  argocd", images::megabytes(size));

    let mut man = Command::new(programs.join("nacre"));
    process::output(man.arg("man").arg(folder.join("man1")))?;
    for (shell, file) in [("bash", "nacre"), ("zsh", "_nacre"), ("fish", "nacre.fish")] {
        let mut completions = Command::new(programs.join("nacre"));
        let script = process::output(completions.args(["completions", shell]))?;
        let folder = folder.join("completions");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(file), script)?;
    }
    Ok(())
}

/// A gzipped tar of a folder, below a folder of this name.
fn archive(source: &Path, name: &str, target: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(source, Path::new(name), &mut files)?;
    files.sort();
    let mut tar = tar::Builder::new(Vec::new());
    for (path, file) in files {
        let bytes = fs::read(&file)?;
        let mut header = tar::Header::new_ustar();
        header.set_path(&path)?;
        header.set_size(bytes.len().try_into()?);
        header.set_mode(if is_executable(&file)? { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        tar.append(&header, bytes.as_slice())?;
    }
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    gzip.write_all(&tar.into_inner()?)?;
    fs::write(target, gzip.finish()?).with_context(|| format!("cannot write {}", target.display()))
}

fn collect(folder: &Path, name: &Path, found: &mut Vec<(PathBuf, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), name.join(entry.file_name()));
        if path.is_dir() {
            collect(&path, &name, found)?;
        } else {
            found.push((name, path));
        }
    }
    Ok(())
}

fn is_executable(file: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(file)?.permissions().mode() & 0o111 != 0)
}
