//! `nacre manifest`: manifests of rendered resources.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, codes};
use nacre_framing::arguments::Flags;
use nacre_framing::replace::replace_one;
use nacre_framing::transform;
use nacre_manifest::MergeSource;
use nacre_review::check::with_owners;
use nacre_review::manifest as review;
use nacre_review::set::{DEFAULT_NAMESPACE, RenderedSet};
use serde_json::json;

use crate::check::read_manifest;
use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files::write_error;
use crate::resources;

/// Build, extract and merge manifests
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Manifest {
    Build(Build),
    Extract(Extract),
    Merge(Merge),
}

/// Build the manifest of rendered resources
///
/// Every policy is made once more from its pod; a pod that carries another one is an error.
#[derive(Debug, clap::Args)]
pub(crate) struct Build {
    /// Files and directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    out: Out,
}

/// Cut the manifest out of rendered resources, byte for byte
#[derive(Debug, clap::Args)]
pub(crate) struct Extract {
    /// Files and directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    out: Out,
}

/// Merge the manifests of the parts of a deployment
///
/// Owners, thresholds and switches must be the same in all of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Merge {
    /// Manifests
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    out: Out,
}

/// Where the manifest goes.
#[derive(Debug, clap::Args)]
struct Out {
    /// Write to this file instead of standard output
    #[arg(short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(command: &Manifest, context: &mut Context) -> Result<(), CommandError> {
    match command {
        Manifest::Build(args) => build(args, context),
        Manifest::Extract(args) => extract(args, context),
        Manifest::Merge(args) => merge(args, context),
    }
}

fn build(args: &Build, context: &mut Context) -> Result<(), CommandError> {
    let sources = resources::sources(&args.paths, context)?;
    let mut settings = resources::settings(&args.flags, &sources, context)?;
    resources::owners(&mut settings.config, context)?;
    settings.config = with_owners(&settings.config, settings.previous.as_ref());
    let options = resources::options(&settings, &args.paths);
    let (manifest, mut findings) = review::build(&sources, &options).map_err(|mut findings| {
        transform::name_files(&sources, &mut findings);
        findings
    })?;
    transform::name_files(&sources, &mut findings);
    context.report(findings);
    give(&manifest.to_bytes(), &args.out, context)
}

fn extract(args: &Extract, context: &mut Context) -> Result<(), CommandError> {
    let sources = resources::sources(&args.paths, context)?;
    let streams = sources
        .iter()
        .map(|source| (source.file.as_deref(), &source.stream));
    let set = RenderedSet::read(streams, &Default::default(), DEFAULT_NAMESPACE);
    let found = review::extract(&set)?.ok_or_else(|| {
        let message = "there is no manifest among the resources";
        Finding::error(codes::check::MANIFEST_NOT_FOUND, message)
            .help("build one with nacre manifest build")
    })?;
    give(&found.bytes, &args.out, context)
}

fn merge(args: &Merge, context: &mut Context) -> Result<(), CommandError> {
    let paths: Vec<PathBuf> = args
        .files
        .iter()
        .map(|file| context.environment.path(file))
        .collect();
    let manifests = paths.iter().map(|path| read_manifest(path, context));
    let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = args
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let parts: Vec<MergeSource<'_>> = names
        .iter()
        .zip(&manifests)
        .map(|(name, manifest)| MergeSource { name, manifest })
        .collect();
    let merged = review::merge(&parts)?;
    give(&merged.to_bytes(), &args.out, context)
}

/// Writes a manifest to its place.
fn give(bytes: &[u8], out: &Out, context: &mut Context) -> Result<(), CommandError> {
    let text = String::from_utf8_lossy(bytes);
    let hash = nacre_manifest::ManifestHash::of(bytes).to_string();
    context.publish()?;
    let Some(path) = out.out.as_deref().filter(|path| *path != Path::new("-")) else {
        return match context.output {
            Output::Json => context.print_json(json!({ "manifest": text, "manifestHash": hash })),
            Output::Text => context.print(&text),
        };
    };
    let path = context.environment.path(path);
    replace_one(&path, bytes).map_err(|error| write_error(&error))?;
    match context.output {
        Output::Json => {
            let path = path.display().to_string();
            context.print_json(json!({ "path": path, "manifestHash": hash }))
        }
        Output::Text => context.print(&format!("wrote {}\n", path.display())),
    }
}
