//! `cargo xtask book`: the documentation as a site, by mdBook, with its diagrams drawn.

mod diagrams;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tools::{self, Environment};
use crate::workspace;

/// Builds the site and says where it is. What mdBook warns of is an error.
pub(crate) fn build(tools: &Environment) -> Result<PathBuf> {
    let mdbook = tools.get(tools::MDBOOK).context("no mdbook")?;
    let dot = tools.get(tools::DOT).context("no dot")?;
    let site = workspace::target()?.join("book");
    let mut command = Command::new(mdbook);
    command
        .arg("build")
        .arg(workspace::root().join("docs"))
        .arg("--dest-dir")
        .arg(&site);
    let output = command.output().context("cannot start mdbook")?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let warned = ["WARN", "ERROR"].iter().any(|word| said.contains(word));
    if warned || !output.status.success() {
        bail!("mdbook is not content:\n{said}");
    }
    // mdBook empties the folder first.
    diagrams::draw(dot, &site)?;
    println!("{}", site.join("index.html").display());
    Ok(site)
}
