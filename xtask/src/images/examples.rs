//! The images of `examples/`: one static Go program each, at `/app`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::oci::{File, Image, Layout};
use super::{PASSWD, labels};
use crate::{process, workspace};

/// Folder of the source, repository under the examples' registry, arguments of the image itself.
const IMAGES: &[(&str, &str, &[&str])] = &[
    ("go-client", "teller", &[]),
    ("jobs", "report", &[]),
    ("shop", "shop/catalog", &["catalog"]),
    ("shop", "shop/orders", &["orders"]),
    ("shop", "shop/shopper", &["shopper"]),
    ("shop", "shop/web", &["web"]),
    ("stateful", "counter", &[]),
];

const REGISTRY: &str = "registry.example.org";
const USER: &str = "65532:65532";

/// Builds the programs into `folder` and adds their images.
pub(super) fn add(layout: &mut Layout, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (source, repository, arguments) in IMAGES {
        let program = folder.join(source);
        build(source, &program)?;
        layout.add(&Image {
            reference: format!("{REGISTRY}/{repository}:v1"),
            files: vec![
                File::text("etc/passwd", PASSWD),
                File::program("app", fs::read(&program)?),
            ],
            user: USER.to_owned(),
            entrypoint: vec!["/app".to_owned()],
            command: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            labels: labels(&format!("example {repository}"), ""),
        })?;
    }
    Ok(())
}

/// A static program without paths, times or build ids of this machine.
fn build(source: &str, program: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(workspace::root().join("examples").join(source).join("src"));
    go.args([
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-ldflags=-s -w -buildid=",
        "-o",
    ]);
    go.arg(program).arg(".");
    go.env("CGO_ENABLED", "0")
        .env("GOOS", "linux")
        .env("GOARCH", "amd64")
        .env("GOAMD64", "v1");
    process::run(&mut go)
}
