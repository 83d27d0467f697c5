//! `nacre verify`.

use std::path::{Path, PathBuf};

use nacre_api::v1::Phase;
use nacre_attest::Timestamp;
use nacre_client::bundle::{Bundle, MAX_BUNDLE};
use nacre_client::examine::{Examination, Given, Question, examine, replicas};
use nacre_client::pin::Pin;
use nacre_client::snapshot::Snapshot;
use nacre_client::verdict::{Outcome, Row};
use nacre_findings::{Finding, Location, codes::client as codes};
use nacre_history::ObjectKey;
use nacre_manifest::PolicyHash;
use nacre_policy::read::{Read, Rules};
use serde_json::{Value, json};

use super::progress::Spinner;
use super::{Acceptance, Demands, ManifestFile, Target, causes, converse, open, sealed, show};
use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::files::{self, Outputs};

/// Directory of what was verified.
const DIRECTORY: &str = "verify";

/// Verify the Coordinator and the manifest in force, offline from a bundle too
///
/// Attests the Coordinator with the manifest's reference values, checks the whole signed history, compares
/// the manifest in force with the one given and with what earlier runs saw, and reads every policy. Writes
/// mesh and root CA, manifests and policies into verify/, only when everything holds.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    demands: Demands,
    #[command(flatten)]
    acceptance: Acceptance,
    /// Another Coordinator of the deployment, which has to show the same history; may be repeated
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "from_bundle")]
    replica: Vec<String>,
    /// Warnings are failures
    #[arg(long)]
    strict: bool,
    /// Write everything needed to verify again later, offline, to this file
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Verify the answer in this bundle instead of asking a Coordinator
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bundle", "coordinator"])]
    from_bundle: Option<PathBuf>,
    /// Verify a bundle as of this time, for example 2026-11-23T00:00:00Z [default: the time it claims]
    #[arg(long, value_name = "TIME", requires = "from_bundle", value_parser = timestamp)]
    at: Option<Timestamp>,
    /// Where to write what was verified [default: verify/ in the workspace, which a bundle of before what
    /// nacre-pin.json has seen leaves as it is]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// An answer and what is known about how it was got.
struct Answer {
    snapshot: Snapshot,
    coordinator: String,
    now: Timestamp,
    claimed: bool,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let file = args.target.manifest(context)?;
    let pin = args.target.pin(context)?;
    let answer = match &args.from_bundle {
        Some(path) => from_bundle(&context.environment.path(path), args.at)?,
        None => {
            let endpoint = args.target.endpoint(context)?;
            ask(args, &endpoint.address, &file, pin.as_ref(), context)?
        }
    };
    let accept = args.acceptance.policies();
    let question = Question {
        trust: &context.trust,
        reference: &file.manifest,
        active: Some(Given {
            bytes: &file.bytes,
            manifest: &file.manifest,
        }),
        pin: pin.as_ref(),
        now: answer.now,
        claimed: answer.claimed,
        past: args.from_bundle.is_some(),
        accept_policies: &accept,
        owners: args.acceptance.named.owners.as_ref(),
        require_chips: args.demands.require_chip_allowlist,
        accept_history: args.acceptance.accept_history,
    };
    let mut examination = examine(&answer.snapshot, &question);
    if let Some(history) = examination.history.clone() {
        for given in &args.replica {
            let address = super::address(given)?;
            let row = match ask(args, &address, &file, pin.as_ref(), context) {
                Ok(other) => {
                    let other = examine(&other.snapshot, &question);
                    replicas::compare(&history, &address, &other)
                }
                Err(error) => {
                    let why = error
                        .findings
                        .first()
                        .map(|finding| finding.message.as_str());
                    replicas::silent(&address, why.unwrap_or("no reason"))
                }
            };
            examination.rows.push(row);
        }
    }
    // What is there is of a newer answer: only a directory that was named takes an older one.
    let keep = examination.behind && args.out.is_none();
    if keep {
        examination.rows.push(unwritten(context));
    }
    let holds = examination.rows.hold(args.strict);
    let written = match holds && !keep {
        true => write(args, &answer, &examination, context)?,
        false => Vec::new(),
    };
    report(args, &answer, &examination, &written, context)?;
    match holds {
        true => Ok(()),
        false => Err(CommandError::new(Kind::Verification, Vec::new())),
    }
}

fn from_bundle(path: &Path, at: Option<Timestamp>) -> Result<Answer, CommandError> {
    let bytes = files::read(path, MAX_BUNDLE)?;
    let bundle = Bundle::parse(&bytes).map_err(|error| {
        let name = path.display().to_string();
        let message = format!("{name} cannot be used: {}", causes(&error));
        Finding::error(codes::BUNDLE_UNUSABLE, message).at(Location::file(name))
    })?;
    Ok(Answer {
        snapshot: bundle.snapshot,
        coordinator: bundle.coordinator,
        now: at.unwrap_or(bundle.claimed),
        claimed: at.is_none(),
    })
}

fn ask(
    args: &Args,
    address: &str,
    file: &ManifestFile,
    pin: Option<&Pin>,
    context: &Context,
) -> Result<Answer, CommandError> {
    let spinner = Spinner::new(context);
    let snapshot = converse(async {
        spinner.say(format!("attesting {address}"));
        let mut session = open(address, &file.manifest, pin, args.demands, context).await?;
        let state = session.state().await?;
        match state.phase {
            Phase::Sealed => return Err(sealed(&state)),
            Phase::Empty => return Err(empty(pin)),
            _ => {}
        }
        spinner.say("reading the history");
        let mut progress = |there, of| spinner.say(format!("reading the history, {there} of {of}"));
        Ok(session.snapshot(&mut progress).await?)
    })?;
    Ok(Answer {
        snapshot,
        coordinator: address.to_owned(),
        now: Timestamp::now(),
        claimed: false,
    })
}

/// A Coordinator without a history; when one was seen before, its storage is gone.
pub(super) fn empty(pin: Option<&Pin>) -> CommandError {
    match pin {
        None => Finding::error(codes::EMPTY, "no manifest is set at this Coordinator")
            .help("its owner sets one: nacre set")
            .into(),
        Some(pin) => {
            let message = format!(
                "the Coordinator has no history, and generation {} was seen before: its storage was emptied, or it is another instance",
                pin.head.transition().generation
            );
            let finding = Finding::error(codes::ROLLED_BACK, message);
            CommandError::new(Kind::Verification, vec![finding])
        }
    }
}

/// That a bundle of before what was seen replaces nothing.
fn unwritten(context: &Context) -> Row {
    let directory = context.path_or_default(None, DIRECTORY);
    let text = format!(
        "nothing is written to {}: the bundle is older than what earlier runs saw",
        directory.display()
    );
    Row::of(Outcome::Note, "files", codes::ROLLED_BACK, text)
        .help("--out DIR names a directory for what held then")
}

/// Puts what was verified into place.
fn write(
    args: &Args,
    answer: &Answer,
    examination: &Examination,
    context: &Context,
) -> Result<Vec<PathBuf>, CommandError> {
    let directory = context.path_or_default(args.out.as_deref(), DIRECTORY);
    let mut outputs = Outputs::default();
    let head = &answer.snapshot.head;
    outputs.add(
        directory.join("coordinator-root-ca.pem"),
        head.root_ca.clone(),
    );
    outputs.add(directory.join("mesh-ca.pem"), mesh_ca(&head.mesh_ca));
    let objects = &answer.snapshot.objects;
    let mut names = Vec::new();
    for (index, step) in examination.steps.iter().enumerate() {
        if let Some(bytes) = objects.get(&ObjectKey::Manifest(step.manifest)) {
            let name = format!("manifest.{index}.json");
            outputs.add(directory.join(&name), bytes.clone());
            names.push(name);
        }
    }
    for (key, bytes) in objects {
        if let ObjectKey::Policy(hash) = key {
            for (name, content) in policy_files(hash, bytes) {
                outputs.add(directory.join(&name), content);
                names.push(name);
            }
        }
    }
    let head = examination
        .history
        .as_ref()
        .map(|history| history.head().hash);
    let latest = head.map(|hash| format!("{hash}\n")).unwrap_or_default();
    outputs.add(directory.join("latest-transition"), latest);
    let history = format!("{:#}\n", json!(examination.steps));
    outputs.add(directory.join("history.json"), history);
    if let Some(path) = &args.bundle {
        let bundle = Bundle {
            claimed: answer.now,
            coordinator: answer.coordinator.clone(),
            snapshot: answer.snapshot.clone(),
        };
        outputs.add(context.environment.path(path), bundle.to_bytes());
    }
    // A bundle says what was once so; only an answer of today says what is.
    if let (None, Some(pin)) = (&args.from_bundle, &examination.pin) {
        outputs.add(args.target.pin_path(context), pin.to_bytes());
    }
    outputs.write()?;
    remove_stale(&directory, &names);
    Ok(outputs.paths().map(Path::to_path_buf).collect())
}

/// The text the guest loads and, where that is another thing, the document that is hashed.
fn policy_files(hash: &PolicyHash, raw: &[u8]) -> Vec<(String, Vec<u8>)> {
    let read = Read::of_raw(raw).ok();
    let initdata = read
        .as_ref()
        .is_some_and(|read| read.carrier == nacre_policy::Carrier::InitData);
    let mut files = Vec::new();
    if initdata {
        files.push((format!("initdata.{hash}.toml"), raw.to_vec()));
    }
    let text = match read.map(|read| read.rules) {
        Some(Rules::Known { policy, .. }) => Some(policy.text.into_bytes()),
        _ => None,
    };
    let text = text.or_else(|| {
        nacre_policy::Carrier::read_raw(raw)
            .ok()
            .map(|d| d.policy.into_bytes())
    });
    files.push((
        format!("policy.{hash}.rego"),
        text.unwrap_or_else(|| raw.to_vec()),
    ));
    files
}

/// Manifests and policies of earlier runs that are no part of this history.
fn remove_stale(directory: &Path, names: &[String]) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let ours = |prefix: &str, suffix: &str| {
            name.strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix(suffix))
                .is_some_and(|middle| middle.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let known =
            ours("manifest.", ".json") || ours("policy.", ".rego") || ours("initdata.", ".toml");
        if known && !names.iter().any(|kept| kept == name) {
            // Left behind, it would mislead nobody who reads the history.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// PEM of the mesh CA.
pub(super) fn mesh_ca(der: &[u8]) -> String {
    nacre_pki::pem("CERTIFICATE", der)
}

fn report(
    args: &Args,
    answer: &Answer,
    examination: &Examination,
    written: &[PathBuf],
    context: &mut Context,
) -> Result<(), CommandError> {
    let rows = examination.rows.iter();
    let findings: Vec<Finding> = rows.filter_map(|row| row.finding(args.strict)).collect();
    if context.output == Output::Json {
        context.report(findings);
        context.publish()?;
        let mut value = show::json(examination, args.strict);
        if let Value::Object(object) = &mut value {
            object.insert("coordinator".into(), answer.coordinator.clone().into());
            object.insert("time".into(), answer.now.to_string().into());
            let paths = written.iter().map(|path| path.display().to_string());
            object.insert("written".into(), paths.collect());
        }
        return context.print_json(value);
    }
    // The table says what the findings say; only a report file, or another form, needs them again.
    let failed = findings
        .iter()
        .filter(|finding| finding.severity == nacre_findings::Severity::Error);
    context.report(failed.cloned().collect::<Vec<_>>());
    context.publish()?;
    let mut out = format!("Coordinator {}\n\n", answer.coordinator);
    out.push_str(&show::text(examination, args.strict));
    let directory = context.path_or_default(args.out.as_deref(), DIRECTORY);
    if !written.is_empty() {
        out.push_str(&format!("wrote {}\n", directory.display()));
    }
    if let Some(path) = args.bundle.as_ref().filter(|_| !written.is_empty()) {
        out.push_str(&format!("wrote {}\n", path.display()));
    }
    context.print(&out)
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "expected 2026-11-23T00:00:00Z or 2026-11-23".into())
}
