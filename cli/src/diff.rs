//! `nacre diff`: what two manifests or rendered sets mean differently.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_framing::arguments::Flags;
use nacre_framing::input::Text;
use nacre_framing::{input, transform};
use nacre_manifest::Manifest;
use nacre_review::diff::{self, Diff};
use nacre_review::manifest::{extract, unreadable_text};
use nacre_review::set::{DEFAULT_NAMESPACE, RenderedSet};

use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::resources;

/// Show what two manifests or rendered sets mean differently
///
/// Images, commands, environment, capabilities, mounts, names, reference values and owners instead of
/// hashes. Lines with ! give somebody more power or take a check away.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A manifest, rendered YAML, a directory of it, or - for standard input
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The same, as it is now
    #[arg(value_name = "NEW")]
    new: PathBuf,
    #[command(flatten)]
    flags: Flags,
    /// Print Markdown for a pull request
    #[arg(long)]
    markdown: bool,
    /// Exit code 5 when something differs
    #[arg(long)]
    check: bool,
}

/// One side of the comparison.
enum Side {
    Manifest(Box<Manifest>),
    Set(RenderedSet),
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let dash = Path::new("-");
    if args.old == dash && args.new == dash {
        return Err(CommandError::usage("only one side can be standard input"));
    }
    if args.markdown && context.output == Output::Json {
        return Err(CommandError::usage(
            "--markdown cannot go with --output json",
        ));
    }
    let old = side(&args.old, args, context)?;
    let new = side(&args.new, args, context)?;
    let diff = compare(old, new)?;
    context.publish()?;
    match (context.output, args.markdown) {
        (Output::Json, _) => context.print_json(diff.json())?,
        (Output::Text, true) => context.print(&diff.markdown())?,
        (Output::Text, false) => context.print(&diff.text())?,
    }
    match args.check && !diff.is_empty() {
        true => Err(CommandError::new(Kind::Difference, Vec::new())),
        false => Ok(()),
    }
}

fn side(path: &Path, args: &Args, context: &Context) -> Result<Side, CommandError> {
    let texts = resources::texts(&[path.to_path_buf()], context)?;
    if let [text] = texts.as_slice()
        && let Some(manifest) = manifest(text)?
    {
        return Ok(Side::Manifest(Box::new(manifest)));
    }
    let sources = transform::parse(&texts, input::limit(&context.environment)?)?;
    let settings = resources::settings(&args.flags, &sources, context)?;
    let kinds = nacre_review::check::kinds(&settings.config);
    let namespace = settings
        .config
        .namespace
        .as_deref()
        .unwrap_or(DEFAULT_NAMESPACE);
    let streams = sources
        .iter()
        .map(|source| (source.file.as_deref(), &source.stream));
    Ok(Side::Set(RenderedSet::read(streams, &kinds, namespace)))
}

/// The manifest that a text is. JSON that is none may still be a resource.
fn manifest(text: &Text) -> Result<Option<Manifest>, CommandError> {
    let bytes = text.content.as_bytes();
    match Manifest::parse(bytes) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(nacre_manifest::Error::ListForm) => match Manifest::parse_v08(bytes) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => Err(unreadable_text(&error, &text.content, place(text)).into()),
        },
        Err(error) if looks_like_manifest(&text.content) => {
            Err(unreadable_text(&error, &text.content, place(text)).into())
        }
        Err(_) => Ok(None),
    }
}

fn looks_like_manifest(text: &str) -> bool {
    text.trim_start().starts_with('{') && text.contains("\"ReferenceValues\"")
}

fn place(text: &Text) -> Location {
    Location::file(text.name().unwrap_or_else(|| "<stdin>".to_owned()))
}

fn compare(old: Side, new: Side) -> Result<Diff, CommandError> {
    Ok(match (old, new) {
        (Side::Set(old), Side::Set(new)) => diff::sets(&old, &new),
        (old, new) => diff::manifests(&of(old)?, &of(new)?),
    })
}

/// The manifest of a side; a rendered set must hold one to be compared with a manifest.
fn of(side: Side) -> Result<Manifest, CommandError> {
    match side {
        Side::Manifest(manifest) => Ok(*manifest),
        Side::Set(set) => match extract(&set)? {
            Some(found) => Ok(found.manifest),
            None => Err(Finding::error(
                codes::check::MANIFEST_NOT_FOUND,
                "a manifest can be compared with resources only if they hold one",
            )
            .help("build it with nacre manifest build, or compare rendered sets")
            .into()),
        },
    }
}
