//! Static programs, and images made of them without a registry or a container engine.
//!
//! Everything an image holds is decided here: files in name order, no times, numeric owners. The same
//! programs give the same digests on every machine. `docker build` with the Dockerfile in the root makes
//! images with the same contents from `target/images/context`.

mod examples;
mod oci;
mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{process, workspace};
use oci::{File, Image, Layout};

/// Accounts of every image: container runtimes look up `nobody` by name.
const PASSWD: &str = "root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n";
const NOBODY: &str = "65534:65534";
const ROOT: &str = "0:0";
const REGISTRY: &str = "ghcr.io/nacre-dev/nacre";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Image name, package, program, user.
const PROGRAMS: &[(&str, &str, &str, &str)] = &[
    ("krm-fn", "nacre-krm-fn", "nacre-krm-fn", NOBODY),
    (
        "post-renderer",
        "nacre-post-renderer",
        "nacre-post-renderer",
        NOBODY,
    ),
    ("cli", "nacre-cli", "nacre", NOBODY),
    // Its capability works for root only, as the injected securityContext says as well.
    ("mesh", "nacre-mesh", "nacre-mesh", ROOT),
];

/// Images that Nacre injects and whose programs are not part of this workspace yet.
const STAND_INS: &[&str] = &["coordinator", "initializer"];

/// Images that the examples name: the digests in their locks must not depend on a compiler.
const STAND_INS_OF_EXAMPLES: &[&str] = &["coordinator", "initializer", "mesh"];

/// Where everything of this module goes.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(workspace::target()?.join("images"))
}

/// Builds the programs and their images: `context` for Docker, `layout` in the OCI form.
pub(crate) fn build() -> Result<()> {
    programs()?;
    let folder = folder()?;
    let programs = folder_of_programs()?;
    let context = folder.join("context");
    fs::create_dir_all(&context)?;
    fs::write(context.join("passwd"), PASSWD)?;
    let mut layout = Layout::create(&folder.join("layout"))?;
    for (name, _, program, user) in PROGRAMS {
        let binary = programs.join(program);
        fs::copy(&binary, context.join(program))
            .with_context(|| format!("no {}", binary.display()))?;
        layout.add(&program_image(name, program, fs::read(&binary)?, user))?;
    }
    injected(&mut layout, STAND_INS)?;
    layout.finish()
}

/// Builds the images that the workloads of `examples/` need, as one OCI layout in `examples/layout`.
pub(crate) fn build_examples() -> Result<()> {
    let folder = folder()?.join("examples");
    let mut layout = Layout::create(&folder.join("layout"))?;
    injected(&mut layout, STAND_INS_OF_EXAMPLES)?;
    examples::add(&mut layout, &folder.join("programs"))?;
    layout.finish()
}

/// Builds the programs as release archives contain them.
fn programs() -> Result<()> {
    let mut cargo = static_cargo("build")?;
    cargo.arg("--quiet");
    for (_, package, _, _) in PROGRAMS {
        cargo.args(["--package", package]);
    }
    process::run(&mut cargo)
}

/// A cargo command whose programs are static and as release archives contain them.
pub(crate) fn static_cargo(command: &str) -> Result<Command> {
    let root = workspace::root();
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    // Paths of this machine have no place in a program that others build as well.
    flags.push(format!("--remap-path-prefix={}=/nacre", root.display()));
    if let Some(home) = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(default_cargo_home)
    {
        flags.push(format!("--remap-path-prefix={}=/cargo", home.display()));
    }
    let mut cargo = workspace::cargo();
    cargo.args([command, "--profile=dist", "--target", TARGET]);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    Ok(cargo)
}

/// Where the static programs are.
pub(crate) fn folder_of_programs() -> Result<PathBuf> {
    Ok(workspace::target()?.join(TARGET).join("dist"))
}

fn default_cargo_home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"))
}

fn program_image(name: &str, program: &str, binary: Vec<u8>, user: &str) -> Image {
    Image {
        reference: format!("{REGISTRY}/{name}:v{}", env!("CARGO_PKG_VERSION")),
        files: vec![
            File::text("etc/passwd", PASSWD),
            File::program(program, binary),
        ],
        user: user.to_owned(),
        entrypoint: vec![format!("/{program}")],
        command: Vec::new(),
        labels: labels(name),
    }
}

/// The images that Nacre puts into pods: their contract with the pod is fixed, their programs follow.
fn injected(layout: &mut Layout, stand_ins: &[&str]) -> Result<()> {
    for name in stand_ins {
        let program = format!("nacre-{name}");
        let mut image = program_image(name, &program, stand_in::program(&program), ROOT);
        image
            .labels
            .insert("nacre.dev/stand-in".to_owned(), "true".to_owned());
        layout.add(&image)?;
    }
    Ok(())
}

fn labels(name: &str) -> oci::Labels {
    [
        ("org.opencontainers.image.title", format!("nacre {name}")),
        (
            "org.opencontainers.image.version",
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        ("org.opencontainers.image.licenses", "Apache-2.0".to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
