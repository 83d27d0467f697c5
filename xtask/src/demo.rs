//! `cargo xtask demo`: the shop through real kustomize and real Helm, without a cluster.

mod control;
mod mesh;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tools::{self, Environment};
use crate::{images, process, workspace};
pub(crate) use control::run as control;
pub(crate) use mesh::run as mesh;

/// Renders, shows what changed, and compares the manifests of all routes.
pub(crate) fn run() -> Result<()> {
    let tools = tools::install_only(&[
        "NACRE_TEST_KUSTOMIZE",
        "NACRE_TEST_HELM3",
        "NACRE_TEST_HELM4",
    ])?;
    images::build()?;
    let demo = Demo::prepare(tools)?;

    heading("kustomize build, as it was");
    let before = demo.kustomize(&["build", "base"])?;
    println!(
        "{} lines, {} documents",
        before.lines().count(),
        before.split("\n---\n").count()
    );
    heading(
        "kustomize build --enable-alpha-plugins --enable-exec, with the function as a transformer",
    );
    let flags = [
        "build",
        "--enable-alpha-plugins",
        "--enable-exec",
        "confidential",
    ];
    let after = demo.kustomize(&flags)?;
    let manifest = fs::read_to_string(demo.manifest())?;
    demo.show_difference(&before, &after)?;

    for (name, variable) in [
        ("Helm 3", "NACRE_TEST_HELM3"),
        ("Helm 4", "NACRE_TEST_HELM4"),
    ] {
        heading(&format!(
            "{name}: helm template --post-renderer nacre-post-renderer"
        ));
        let rendered = demo.helm(variable)?;
        let policies = rendered.matches("io.katacontainers.config.").count();
        println!("{policies} policies in {} lines", rendered.lines().count());
        if fs::read_to_string(demo.manifest())? != manifest {
            bail!("{name} gives another manifest than kustomize");
        }
        println!("the manifest is the same as kustomize's, byte for byte");
    }

    heading("manifest.json");
    print!("{manifest}");
    Ok(())
}

struct Demo {
    folder: PathBuf,
    tools: Environment,
}

impl Demo {
    fn prepare(tools: Environment) -> Result<Demo> {
        let folder = workspace::target()?.join("demo");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let shop = workspace::root().join("examples/shop");
        process::run(
            Command::new("cp")
                .arg("-r")
                .arg(shop.join("kustomize"))
                .arg(shop.join("helm"))
                .arg(&folder),
        )?;
        let demo = Demo { folder, tools };
        let mut install = demo.command(&images::folder_of_programs()?.join("nacre"), "helm")?;
        process::output(install.args(["install", "helm-plugin"]))?;
        Ok(demo)
    }

    fn manifest(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    fn kustomize(&self, arguments: &[&str]) -> Result<String> {
        let kustomize = self.tool("NACRE_TEST_KUSTOMIZE")?;
        process::output(self.command(kustomize, "kustomize")?.args(arguments))
    }

    fn helm(&self, variable: &str) -> Result<String> {
        let chart = self.folder.join("helm");
        let mut helm = self.command(self.tool(variable)?, "helm")?;
        helm.args(["template", "shop", ".", "--namespace", "shop"]);
        helm.args(["--post-renderer", "nacre-post-renderer"]);
        helm.env("NACRE_CONFIG", chart.join("confidential.yaml"));
        helm.env("NACRE_LOCK", chart.join("nacre.lock.yaml"))
            .env("NACRE_NAMESPACE", "shop");
        if variable == "NACRE_TEST_HELM4" {
            // Helm 3 would complain of a plugin that it cannot read.
            helm.env("HELM_PLUGINS", self.folder.join("plugins"));
        }
        process::output(&mut helm)
    }

    /// A program that finds ours, and leaves the manifest where we look for it.
    fn command(&self, program: &Path, folder: &str) -> Result<Command> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command.current_dir(self.folder.join(folder));
        command.env(
            "PATH",
            format!("{}:{path}", images::folder_of_programs()?.display()),
        );
        command.env("NACRE_MANIFEST_OUT", self.manifest());
        if program.ends_with("nacre") {
            command.env("HELM_PLUGINS", self.folder.join("plugins"));
        }
        Ok(command)
    }

    fn tool(&self, variable: &str) -> Result<&PathBuf> {
        self.tools
            .get(variable)
            .with_context(|| format!("no {variable}"))
    }

    fn show_difference(&self, before: &str, after: &str) -> Result<()> {
        fs::write(self.folder.join("before.yaml"), before)?;
        fs::write(self.folder.join("after.yaml"), after)?;
        let mut diff = Command::new("git");
        diff.current_dir(&self.folder)
            .args(["--no-pager", "diff", "--no-index", "--unified=2"]);
        diff.args(["before.yaml", "after.yaml"]);
        let output = diff.output().context("cannot start git")?;
        for line in String::from_utf8_lossy(&output.stdout).lines().skip(4) {
            // Policies are long: what they say is in the manifest's hashes.
            let shown: String = line.chars().take(110).collect();
            println!("{shown}{}", if shown.len() < line.len() { "…" } else { "" });
        }
        Ok(())
    }
}

fn heading(text: &str) {
    println!("\n== {text}");
}
