//! `nacre lock`: every image of a deployment, resolved once and written down.

mod plan;
mod progress;
mod sources;

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, Severity, codes};
use nacre_framing::input;
use nacre_framing::replace::{Change, Expected, ReplaceError, Staged};
use nacre_framing::settings::{self, LOCK_FILE, Request};
use nacre_framing::signals::Stop;
use nacre_framing::transform;
use nacre_generate::ImageUse;
use nacre_imagelock::{ImageLock, ImageReference, Platform};
use nacre_registry::{Error, Resolver};
use serde_json::{Value, json};

use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::files::write_error;
use crate::resources;
use plan::{Plan, State};
use progress::Bar;

/// Resolve every image to a digest and to the facts policies need, into the image lock
///
/// Looks at the selected workloads and at what is injected into them. Images that are in the lock
/// already stay as they are; --update resolves one anew. Entries of images that are no longer used are
/// removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files and directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The lock to read and write [env: NACRE_LOCK] [default: nacre.lock.yaml in the workspace]
    #[arg(short = 'o', long = "lock", value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Compare with the lock that is there, write nothing; exit code 5 when it is out of date
    #[arg(long)]
    check: bool,
    /// Resolve this image anew, or all with '*'; may be repeated
    #[arg(long, value_name = "IMAGE")]
    update: Vec<String>,
    /// Platform to resolve for
    #[arg(long, value_name = "OS/ARCH", default_value_t = Platform::default())]
    platform: Platform,
    /// Configuration (kind: Confidential) [env: NACRE_CONFIG] [default: nacre.yaml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Inject no initializer anywhere [env: NACRE_SKIP_INITIALIZER]
    #[arg(long)]
    skip_initializer: bool,
    /// Inject no service mesh sidecar anywhere [env: NACRE_SKIP_SERVICE_MESH]
    #[arg(long)]
    skip_service_mesh: bool,
    #[command(flatten)]
    sources: sources::Sources,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let limit = input::limit(&context.environment)?;
    let input = resources::sources(&args.paths, context)?;
    let request = request(args, context);
    let supplied = transform::supplied(&input);
    let config = settings::configuration(&context.environment, &request, &supplied)?;
    let coordinator = settings::coordinator(&context.environment, &request)?;
    let uses = nacre_generate::images(&input, &config, coordinator.as_ref());
    let used = references(&uses)?;

    let path = lock_path(args, context);
    let (text, present) = present(&path, limit, context)?;
    let plan = Plan::new(&used, &present, args)?;
    let offline_check = args.check && args.sources.offline;
    let resolved = if offline_check || plan.to_resolve.is_empty() {
        Vec::new()
    } else {
        let bar = Bar::new(context, plan.to_resolve.len());
        let options = args.sources.options(context, args.platform.clone());
        let resolver = Resolver::new(options, &bar).map_err(|error| finding(&error, None))?;
        resolver.resolve_all(plan.to_resolve.iter().cloned())
    };

    let mut lock = plan.kept;
    lock.name.clone_from(&present.name);
    let mut failures = Vec::new();
    for (reference, outcome) in resolved {
        match outcome {
            Ok(entry) => {
                if entry.has_test_root() {
                    context.report([about(&uses, &reference).map_or_else(
                        || test_root(&reference),
                        |at| located(test_root(&reference), at),
                    )]);
                }
                lock.insert(entry);
            }
            Err(error) => failures.push(finding(&error, about(&uses, &reference))),
        }
    }
    if !failures.is_empty() {
        return Err(CommandError::new(Kind::Refused, failures));
    }
    let states = plan::states(&used, &present, &lock, &args.platform);
    if args.check {
        return check(&path, &states, &uses, context);
    }
    let value = lock.to_value();
    let after = nacre_krm::emit(&value);
    let changed = text.as_deref() != Some(after.as_str());
    if changed {
        write(&path, text.as_deref(), &after, context)?;
    } else {
        context.publish()?;
    }
    report(&path, changed, &states, context)
}

fn request(args: &Args, context: &Context) -> Request {
    let mut request = Request {
        config: args.config.clone(),
        workspace: Some(context.workspace()),
        ..Request::default()
    };
    for (flag, name) in [
        (args.skip_initializer, "skip-initializer"),
        (args.skip_service_mesh, "skip-service-mesh"),
    ] {
        if flag {
            request.overrides.insert(name.to_owned(), "true".to_owned());
        }
    }
    request
}

/// The distinct references, in the order of their normalised form.
fn references(uses: &[ImageUse]) -> Result<Vec<ImageReference>, Vec<Finding>> {
    let mut references = std::collections::BTreeMap::new();
    let mut findings = Vec::new();
    for image in uses {
        match ImageReference::parse(&image.image) {
            Ok(reference) => drop(references.insert(reference.normalised(), reference)),
            Err(error) => findings.push(
                image
                    .finding(
                        codes::lock::IMAGE_REFERENCE,
                        Severity::Error,
                        error.to_string(),
                    )
                    .help(error.reason.to_string()),
            ),
        }
    }
    match findings.is_empty() {
        true => Ok(references.into_values().collect()),
        false => Err(findings),
    }
}

fn lock_path(args: &Args, context: &Context) -> PathBuf {
    let variable = context.environment.variable("NACRE_LOCK").map(Path::new);
    context.path_or_default(args.lock.as_deref().or(variable), LOCK_FILE)
}

/// The lock that is there. What is damaged in it is reported and resolved anew.
fn present(
    path: &Path,
    limit: u64,
    context: &mut Context,
) -> Result<(Option<String>, ImageLock), CommandError> {
    if !path.exists() {
        return Ok((None, ImageLock::default()));
    }
    let text = input::read_file(path, limit)?;
    let stream = input::parse(&text, limit)?;
    let document = stream
        .documents()
        .iter()
        .find(|document| !document.is_empty());
    let Some(value) = document.and_then(|document| document.value(&nacre_krm::Path::root())) else {
        return Ok((Some(text.content), ImageLock::default()));
    };
    let (lock, problems) = ImageLock::sound_part(&value);
    context.report(problems.iter().map(|problem| {
        Finding::warning(codes::lock::LOCK_INVALID, problem.message.clone())
            .field(problem.path.clone())
            .at(Location::file(path.display().to_string()))
    }));
    Ok((Some(text.content), lock))
}

fn about<'u>(uses: &'u [ImageUse], reference: &ImageReference) -> Option<&'u ImageUse> {
    let wanted = reference.normalised();
    uses.iter()
        .find(|image| ImageReference::parse(&image.image).is_ok_and(|r| r.normalised() == wanted))
}

fn test_root(reference: &ImageReference) -> Finding {
    Finding::warning(
        codes::lock::IMAGE_TEST_ROOT,
        format!("{reference} was built with test roots: `nacre generate` will refuse it"),
    )
}

fn located(finding: Finding, at: &ImageUse) -> Finding {
    at.finding(finding.code, finding.severity, finding.message)
}

/// A failure to resolve, at the container that needs the image.
fn finding(error: &Error, at: Option<&ImageUse>) -> Finding {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        message.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    let finding = Finding::error(nacre_findings::Code::new(error.code()), message);
    let finding = match at {
        Some(at) => located(finding, at),
        None => finding,
    };
    match error.help() {
        Some(help) => finding.help(help),
        None => finding,
    }
}

fn check(
    path: &Path,
    states: &[(String, State)],
    uses: &[ImageUse],
    context: &mut Context,
) -> Result<(), CommandError> {
    let name = path.display().to_string();
    let drift: Vec<_> = states
        .iter()
        .filter_map(|(reference, state)| {
            let message = match state {
                State::Unchanged => return None,
                State::Added => format!("{reference} is not in {name}"),
                State::Removed => format!("{reference} in {name} is no longer used"),
                State::Changed {
                    fields,
                    before,
                    after,
                } if before != after => {
                    format!(
                        "{reference} is {after} now, {name} has {before} ({})",
                        fields.join(", ")
                    )
                }
                State::Changed { fields, .. } => {
                    format!("{reference} differs from {name}: {}", fields.join(", "))
                }
            };
            let finding = Finding::error(codes::lock::LOCK_DRIFT, message);
            let at = ImageReference::parse(reference).ok();
            let at = at.and_then(|reference| about(uses, &reference));
            let finding = match at {
                Some(at) => located(finding, at),
                None => finding.at(Location::file(name.clone())),
            };
            Some(match state {
                State::Changed { .. } => finding.help(format!(
                    "run `nacre lock --update {reference} PATH…` with the files that name it"
                )),
                _ => finding.help("run `nacre lock` on the same input and commit the result"),
            })
        })
        .collect();
    let out_of_date = !drift.is_empty();
    context.report(drift);
    context.publish()?;
    if context.output == Output::Json {
        context.print_json(json!({ "file": name, "images": images(states) }))?;
    } else if !out_of_date {
        context.print(&format!("{name} is up to date: {}\n", count(states.len())))?;
    }
    match out_of_date {
        true => Err(CommandError::new(Kind::Difference, Vec::new())),
        false => Ok(()),
    }
}

fn write(
    path: &Path,
    before: Option<&str>,
    after: &str,
    context: &mut Context,
) -> Result<(), CommandError> {
    let stop = Stop::watch().map_err(|source| {
        let path = PathBuf::from("signal handlers");
        write_error(&ReplaceError::Unwritable { path, source })
    })?;
    let signal = || stop.signal();
    let change = Change {
        path,
        expected: match before {
            Some(before) => Expected::Exactly(before.as_bytes()),
            None => Expected::Absent(0o644),
        },
        content: after.as_bytes(),
    };
    let staged = Staged::stage(&[change], &signal).map_err(|error| write_error(&error))?;
    context.publish()?;
    staged.commit(&signal).map_err(|error| write_error(&error))
}

fn report(
    path: &Path,
    changed: bool,
    states: &[(String, State)],
    context: &Context,
) -> Result<(), CommandError> {
    let name = path.display().to_string();
    if context.output == Output::Json {
        let images = images(states);
        return context.print_json(json!({ "file": name, "changed": changed, "images": images }));
    }
    let mut text = String::new();
    for (reference, state) in states {
        let line = match state {
            State::Unchanged => continue,
            State::Added => format!("added {reference}\n"),
            State::Removed => format!("removed {reference}\n"),
            State::Changed { before, after, .. } if before != after => {
                format!("updated {reference}: {before} -> {after}\n")
            }
            State::Changed { fields, .. } => {
                format!("updated {reference}: {}\n", fields.join(", "))
            }
        };
        text.push_str(&line);
    }
    let locked = states
        .iter()
        .filter(|(_, state)| !matches!(state, State::Removed));
    let verb = if changed { "wrote" } else { "unchanged" };
    text.push_str(&format!("{verb} {name}: {}\n", count(locked.count())));
    context.print(&text)
}

fn images(states: &[(String, State)]) -> Vec<Value> {
    states
        .iter()
        .map(|(reference, state)| match state {
            State::Changed {
                before,
                after,
                fields,
            } => json!({
                "image": reference, "state": state.word(),
                "before": before.to_string(), "after": after.to_string(), "fields": fields,
            }),
            _ => json!({ "image": reference, "state": state.word() }),
        })
        .collect()
}

fn count(images: usize) -> String {
    match images {
        1 => "1 image".to_owned(),
        images => format!("{images} images"),
    }
}
