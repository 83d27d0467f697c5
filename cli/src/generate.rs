//! `nacre generate`: files, directories or a stream, made confidential.

mod diff;
mod images;
mod owners;

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_framing::arguments::Flags;
use nacre_framing::input::{self, Text};
use nacre_framing::replace::{Change, Expected, ReplaceError, Staged};
use nacre_framing::settings::{self, Settings};
use nacre_framing::signals::Stop;
use nacre_framing::transform;
use nacre_generate::{Mode, Outcome, Source};
use nacre_manifest::Manifest;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::files::write_error;
use crate::keys::KEY_MODE;

/// The manifest in the workspace.
const MANIFEST_FILE: &str = "manifest.json";

/// Make workloads confidential: inject, pin, write policies, and the manifest
///
/// Directories are walked for *.yml and *.yaml. Files are rewritten in place, all or none, unless -o,
/// --dry-run or --check says otherwise. With `-` a stream goes from standard input to standard output:
/// `kustomize build . | nacre generate -`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files and directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// Where the manifest is written [default: manifest.json in the workspace]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Write all resources to this file, or - for standard output, and leave the input alone
    #[arg(short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show what would change and write nothing
    #[arg(long, conflicts_with_all = ["out", "check"])]
    dry_run: bool,
    /// Compare with what is there, write nothing; exit code 5 when something would change
    #[arg(long, conflicts_with = "out")]
    check: bool,
    #[command(flatten)]
    owners: owners::Owners,
    /// Lines OLD=NEW: images to be replaced before anything else
    #[arg(long, value_name = "FILE", hide = true)]
    image_replacements: Option<PathBuf>,
}

/// What the input is.
struct Input {
    texts: Vec<Text>,
    sources: Vec<Source>,
    from_stdin: bool,
}

/// A file that is to have another content.
struct FileChange {
    path: PathBuf,
    before: Option<String>,
    after: Zeroizing<String>,
    mode: u32,
    secret: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    let input = read(args, context)?;
    let stream_out = to_stdout || (input.from_stdin && args.out.is_none() && args.writes());
    if stream_out && context.output == Output::Json {
        // Standard output belongs to the resources: not even this error goes there.
        context.output = Output::Text;
        return Err(CommandError::usage(
            "--output json cannot go with resources on standard output; use -o FILE",
        ));
    }
    let mut settings = resolve(args, context, &input.sources)?;
    let keys = owners::apply(&args.owners, !args.check, &mut settings.config, context)?;
    if let Some(path) = &args.image_replacements {
        let replacements = images::read(&context.environment.path(path))?;
        images::configured(&replacements, &mut settings.config.images);
    }

    let mode = if input.from_stdin {
        Mode::Stream
    } else {
        Mode::Files
    };
    let manifest_path = manifest_path(args, context, &mut settings);
    // In place there is no file that the object would belong to; manifest.json is there anyway.
    let in_stream = settings.config.manifest.emit_config_map && (stream_out || args.out.is_some());
    let mut outcome = transform::transform(&input.sources, &settings, mode, in_stream)?;
    let edits = std::mem::take(&mut outcome.edits);
    let rewritten = transform::rewrite(&input.sources, edits)?;
    let texts = transform::render(&input.sources, &rewritten, &outcome.added);
    drop(rewritten);
    if settings.previous.is_none()
        && let Some(manifest) = &outcome.manifest
    {
        context.report(lost_edits(&manifest_path, manifest));
    }
    context.report(outcome.findings.iter().cloned());

    let manifest = manifest_change(&manifest_path, outcome.manifest.as_ref())?;
    let mut changes = keys;
    if let Some(path) = args.out.as_deref().filter(|_| !to_stdout) {
        changes.push(new_text(
            context.environment.path(path),
            transform::join(texts.clone()),
        ));
    } else if !stream_out && !input.from_stdin {
        changes.extend(in_place(&input.texts, &texts));
    }
    changes.extend(manifest);
    if !args.writes() {
        if input.from_stdin {
            changes.extend(stdin_change(&input, &texts));
        }
        return compare(args, context, &changes, &outcome);
    }
    let stdout = stream_out.then(|| transform::join(texts));
    write(&changes, stdout.as_deref(), context)?;
    if stream_out {
        for change in changes.iter().filter(|change| change.differs()) {
            context.note(&format!("wrote {}", change.path.display()));
        }
        return Ok(());
    }
    finish(context, &changes, &outcome)
}

impl Args {
    fn writes(&self) -> bool {
        !self.dry_run && !self.check
    }
}

fn read(args: &Args, context: &Context) -> Result<Input, CommandError> {
    let limit = input::limit(&context.environment)?;
    let dash = Path::new("-");
    let from_stdin = args.paths.iter().any(|path| path == dash);
    if from_stdin && args.paths.len() > 1 {
        return Err(CommandError::usage("`-` cannot go with other paths"));
    }
    let texts = if from_stdin {
        if context.environment.stdin_is_terminal {
            return Err(CommandError::usage("nothing is piped in"));
        }
        vec![input::read_stdin(&mut std::io::stdin().lock(), limit)?]
    } else {
        let paths: Vec<PathBuf> = args
            .paths
            .iter()
            .map(|path| context.environment.path(path))
            .collect();
        input::collect(&paths)?
            .iter()
            .map(|path| input::read_file(path, limit))
            .collect::<Result<Vec<_>, _>>()?
    };
    let mut sources = transform::parse(&texts, limit)?;
    transform::require_content(&sources)?;
    if let Some(path) = &args.image_replacements {
        let replacements = images::read(&context.environment.path(path))?;
        sources = images::replaced(&replacements, sources, limit)?;
    }
    Ok(Input {
        texts,
        sources,
        from_stdin,
    })
}

fn resolve(args: &Args, context: &Context, sources: &[Source]) -> Result<Settings, CommandError> {
    let mut request = args.flags.request(Some(context.workspace()));
    if args.owners.disable_updates {
        request
            .overrides
            .insert("disable-updates".to_owned(), "true".to_owned());
    }
    let supplied = transform::supplied(sources);
    Ok(settings::resolve(
        &context.environment,
        &request,
        None,
        &supplied,
    )?)
}

fn manifest_path(args: &Args, context: &Context, settings: &mut Settings) -> PathBuf {
    let configured = settings.config.manifest.path.take().map(PathBuf::from);
    context.path_or_default(
        args.manifest.as_deref().or(configured.as_deref()),
        MANIFEST_FILE,
    )
}

fn manifest_change(
    path: &Path,
    manifest: Option<&Manifest>,
) -> Result<Option<FileChange>, CommandError> {
    let Some(manifest) = manifest else {
        return Ok(None);
    };
    let after = String::from_utf8(manifest.to_bytes())
        .map_err(|_| Finding::error(codes::cli::INTERNAL, "the manifest is not UTF-8"))?;
    Ok(Some(new_text(path.to_path_buf(), after)))
}

fn new_text(path: PathBuf, after: String) -> FileChange {
    FileChange {
        before: std::fs::read_to_string(&path).ok(),
        path,
        after: Zeroizing::new(after),
        mode: 0o644,
        secret: false,
    }
}

/// A private key that was made in this run.
fn new_key(path: PathBuf, text: Zeroizing<String>) -> FileChange {
    FileChange {
        path,
        before: None,
        after: text,
        mode: KEY_MODE,
        secret: true,
    }
}

fn in_place<'a>(before: &'a [Text], after: &'a [String]) -> impl Iterator<Item = FileChange> + 'a {
    before.iter().zip(after).filter_map(|(before, after)| {
        Some(FileChange {
            path: before.path.clone()?,
            before: Some(before.content.clone()),
            after: Zeroizing::new(after.clone()),
            mode: 0o644,
            secret: false,
        })
    })
}

fn stdin_change(input: &Input, after: &[String]) -> Option<FileChange> {
    Some(FileChange {
        path: PathBuf::from("<stdin>"),
        before: Some(input.texts.first()?.content.clone()),
        after: Zeroizing::new(after.first()?.clone()),
        mode: 0o644,
        secret: false,
    })
}

/// Hand edits of a manifest that is about to be replaced.
fn lost_edits(path: &Path, manifest: &Manifest) -> Option<Finding> {
    let bytes = std::fs::read(path).ok()?;
    let old = Manifest::parse(&bytes).ok()?;
    let edits = manifest
        .clone()
        .carry_from(&old, &std::collections::BTreeSet::new());
    if edits.is_empty() {
        return None;
    }
    let name = path.display().to_string();
    Some(
        Finding::warning(
            codes::cli::MANIFEST_EDITS_LOST,
            format!(
                "{name} holds {} hand edits that are not carried over",
                edits.len()
            ),
        )
        .help(format!("keep them with --previous {name}"))
        .at(Location::file(name)),
    )
}

/// `--dry-run` and `--check`: the differences on standard output, nothing written.
fn compare(
    args: &Args,
    context: &mut Context,
    changes: &[FileChange],
    outcome: &Outcome,
) -> Result<(), CommandError> {
    let changed: Vec<&FileChange> = changes.iter().filter(|change| change.differs()).collect();
    if args.check {
        context.report(changed.iter().map(|change| {
            let name = change.path.display().to_string();
            Finding::error(
                codes::cli::WOULD_CHANGE,
                format!("{name} is not what would be generated"),
            )
            .help("run the same command without --check and commit the result")
            .at(Location::file(name))
        }));
    }
    context.publish()?;
    if context.output == Output::Json {
        context.print_json(result(changes, outcome))?;
    } else {
        let text: String = changed.iter().map(|change| change.diff()).collect();
        context.print(&text)?;
    }
    if args.check && !changed.is_empty() {
        return Err(CommandError::new(Kind::Difference, Vec::new()));
    }
    Ok(())
}

/// Prepares the files, then shows findings, then prints, then puts the files into place.
fn write(
    changes: &[FileChange],
    stdout: Option<&str>,
    context: &mut Context,
) -> Result<(), CommandError> {
    let changed: Vec<Change<'_>> = changes
        .iter()
        .filter(|change| change.differs())
        .map(|change| Change {
            path: &change.path,
            expected: match &change.before {
                Some(before) => Expected::Exactly(before.as_bytes()),
                None => Expected::Absent(change.mode),
            },
            content: change.after.as_bytes(),
        })
        .collect();
    // With a stream, Ctrl-C must still end a program whose reader does not read.
    let stop = match stdout {
        Some(_) => None,
        None => Some(Stop::watch().map_err(|source| {
            let path = PathBuf::from("signal handlers");
            write_error(&ReplaceError::Unwritable { path, source })
        })?),
    };
    let signal = || stop.as_ref().and_then(Stop::signal);
    let staged = Staged::stage(&changed, &signal).map_err(|error| write_error(&error))?;
    context.publish()?;
    if let Some(text) = stdout {
        context.print(text)?;
    }
    staged.commit(&signal).map_err(|error| write_error(&error))
}

fn finish(
    context: &Context,
    changes: &[FileChange],
    outcome: &Outcome,
) -> Result<(), CommandError> {
    if context.output == Output::Json {
        return context.print_json(result(changes, outcome));
    }
    let mut text = String::new();
    for change in changes {
        let verb = match (&change.before, change.differs()) {
            (None, _) => "created",
            (Some(_), true) => "updated",
            (Some(_), false) => "unchanged",
        };
        text.push_str(&format!("{verb} {}\n", change.path.display()));
    }
    let count = outcome.policies.len();
    text.push_str(&format!(
        "{count} polic{}\n",
        if count == 1 { "y" } else { "ies" }
    ));
    context.print(&text)
}

fn result(changes: &[FileChange], outcome: &Outcome) -> Value {
    let files: Vec<Value> = changes
        .iter()
        .map(|change| {
            json!({
                "path": change.path.display().to_string(),
                "created": change.before.is_none(),
                "changed": change.differs(),
            })
        })
        .collect();
    let policies: Vec<Value> = outcome
        .policies
        .iter()
        .map(|policy| {
            json!({ "workload": policy.identity.to_string(), "hash": policy.hash.to_string() })
        })
        .collect();
    json!({
        "files": files,
        "policies": policies,
        "manifestHash": outcome.manifest.as_ref().map(|manifest| manifest.hash().to_string()),
    })
}

impl FileChange {
    fn differs(&self) -> bool {
        self.before.as_deref() != Some(self.after.as_str())
    }

    fn diff(&self) -> String {
        if self.secret {
            return format!("would create {}\n", self.path.display());
        }
        diff::unified(
            &self.path.display().to_string(),
            self.before.as_deref().unwrap_or_default(),
            &self.after,
        )
    }
}
