//! `nacre simulate`: the requests that a pod will cause, and those of a hostile host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nacre_findings::{Finding, codes};
use nacre_framing::arguments::Flags;
use nacre_framing::replace::replace_one;
use nacre_framing::transform;
use nacre_generate::Options;
use nacre_manifest::PolicyHash;
use nacre_policy::simulate::{self, Change, Row, SimulateError};
use nacre_policy::{Facts, fixtures, request};
use nacre_review::check::with_owners;
use nacre_review::policies::{self, Workload};
use serde_json::{Value, json};

use crate::check;
use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::files::write_error;
use crate::policies::{Rendered, Selection};
use crate::resources;

/// Replay what the cluster will ask of each pod against the policy it carries
///
/// Every request that kubelet, containerd and Kata send for the pod is made from its specification and
/// the image lock, and evaluated as the guest does. Exit code 3 when the policy denies its own pod, or
/// lets a hostile request pass.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Image lock; may be repeated [env: NACRE_LOCK] [default: nacre.lock.yaml if it is there]
    #[arg(long = "lock", value_name = "FILE")]
    locks: Vec<PathBuf>,
    /// Platform, where the configuration names none [env: NACRE_PLATFORM]
    #[arg(long, visible_alias = "platform", value_name = "PLATFORM")]
    reference_values: Option<String>,
    /// The manifest the resources belong to [default: one among them, else manifest.json in the workspace]
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Change a create request: web:args=sh,-c,id; fields are args, env (lists: by commas, or in JSON), image
    /// (everywhere in the request), cwd, user, or a JSON pointer; may be repeated
    #[arg(long = "set", value_name = "CONTAINER:FIELD=VALUE")]
    changes: Vec<String>,
    /// Try every change that a hostile host could make
    #[arg(long, conflicts_with = "changes")]
    mutate: bool,
    /// Write the requests to this file, for nacre policy test
    #[arg(long, value_name = "FILE", conflicts_with_all = ["changes", "mutate"])]
    fixtures: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let changes = args
        .changes
        .iter()
        .map(|text| text.parse().map_err(invalid));
    let changes: Vec<Change> = changes.collect::<Result<_, _>>()?;
    let rendered = args.selection.read(context)?;
    let facts = facts(args, &rendered, context)?;
    let pods: Vec<Pod<'_>> = rendered
        .workloads
        .iter()
        .zip(facts)
        .map(|(workload, (facts, fresh))| Pod {
            workload,
            facts,
            fresh,
        })
        .collect();
    for pod in pods.iter().filter(|pod| pod.fresh != pod.workload.hash) {
        let workload = pod.workload;
        let message = format!(
            "the policy of {} is not the one that its pod gives",
            workload.identity()
        );
        let finding = Finding::warning(codes::check::STALE_POLICY, message);
        context.report([finding
            .help("nacre check says what differs; the requests are those of the pod as it stands here")
            .resource(workload.object.resource.clone())
            .at(workload.object.location.clone())]);
    }
    if let Some(path) = &args.fixtures {
        return write_fixtures(path, &pods, context);
    }
    unused(&changes, &pods)?;
    let tables = pods.iter().map(|pod| pod.rows(&changes, args.mutate));
    let mut tables: Vec<Vec<Row>> = tables.collect::<Result<_, _>>()?;
    if !changes.is_empty() {
        // A change is about one container: other workloads stay as they are.
        for (pod, table) in pods.iter().zip(&mut tables) {
            if !changes.iter().any(|change| pod.has(&change.container)) {
                table.clear();
            }
        }
    }
    let failed = failures(&pods, &tables, args);
    let passed = failed.is_empty();
    context.report(failed);
    context.publish()?;
    match context.output {
        Output::Json => context.print_json(as_json(&pods, &tables))?,
        Output::Text => context.print(&as_text(&pods, &tables, args.mutate))?,
    }
    match passed {
        true => Ok(()),
        false => Err(CommandError::new(Kind::Verification, Vec::new())),
    }
}

/// A workload and what its requests are made from.
struct Pod<'w> {
    workload: &'w Workload,
    facts: Facts,
    fresh: PolicyHash,
}

impl Pod<'_> {
    fn rows(&self, changes: &[Change], mutate: bool) -> Result<Vec<Row>, CommandError> {
        let policy = self.workload.policy()?;
        let own: Vec<Change> = changes
            .iter()
            .filter(|c| self.has(&c.container))
            .cloned()
            .collect();
        let rows = self.facts.with(|input| match mutate {
            true => simulate::attack(policy, input),
            false => simulate::replay(policy, input, &own),
        });
        rows.map_err(|error| match error {
            SimulateError::Change(error) => invalid(error),
            error => Finding::error(codes::check::REPLAY_DENIED, error.to_string())
                .resource(self.workload.object.resource.clone())
                .into(),
        })
    }

    fn has(&self, container: &str) -> bool {
        ["containers", "initContainers"].iter().any(|list| {
            let list = self.facts.pod_spec().get(list).and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .any(|c| c.get("name").and_then(Value::as_str) == Some(container))
        })
    }
}

fn invalid(error: simulate::ChangeError) -> CommandError {
    Finding::error(codes::check::CHANGE_INVALID, error.to_string())
        .help("write container:field=value, for example web:args=sh,-c,id")
        .into()
}

/// A change that concerns nobody.
fn unused(changes: &[Change], pods: &[Pod<'_>]) -> Result<(), CommandError> {
    let nobody = changes
        .iter()
        .find(|change| !pods.iter().any(|pod| pod.has(&change.container)));
    match nobody {
        None => Ok(()),
        Some(change) => Err(invalid(simulate::ChangeError::NoField {
            container: change.container.clone(),
            field: change.field.clone(),
        })),
    }
}

fn facts(
    args: &Args,
    rendered: &Rendered,
    context: &Context,
) -> Result<Vec<(Facts, PolicyHash)>, CommandError> {
    let flags = Flags {
        locks: args.locks.clone(),
        reference_values: args.reference_values.clone(),
        ..args.selection.flags()
    };
    let sources = &rendered.sources;
    let mut settings = resources::settings(&flags, sources, context)?;
    resources::owners(&mut settings.config, context)?;
    let beside = check::manifest(args.manifest.as_deref(), sources, context)?;
    let manifest = match beside {
        Some(manifest) => Some(manifest),
        None => check::among(sources)?,
    };
    settings.config = with_owners(&settings.config, manifest.as_ref());
    let options = resources::options(&settings, &args.selection.paths);
    let options = Options {
        previous: manifest.as_ref().or(options.previous),
        ..options
    };
    policies::facts(sources, &options, &rendered.workloads).map_err(|mut findings| {
        transform::name_files(sources, &mut findings);
        findings.into()
    })
}

fn write_fixtures(
    path: &std::path::Path,
    pods: &[Pod<'_>],
    context: &mut Context,
) -> Result<(), CommandError> {
    let [pod] = pods else {
        let message = "fixtures are those of one workload";
        return Err(Finding::error(codes::check::NO_SUCH_WORKLOAD, message)
            .help("choose one with --workload")
            .into());
    };
    let requests = pod.facts.with(request::life);
    let path = context.environment.path(path);
    let text = fixtures::write(&requests);
    context.publish()?;
    replace_one(&path, text.as_bytes()).map_err(|error| write_error(&error))?;
    match context.output {
        Output::Json => {
            let path = path.display().to_string();
            context.print_json(json!({"path": path, "requests": requests.len()}))
        }
        Output::Text => {
            let count = requests.len();
            context.print(&format!("wrote {count} requests to {}\n", path.display()))
        }
    }
}

/// Own requests that are denied, and hostile ones that pass. Changes are what somebody wanted to see.
fn failures(pods: &[Pod<'_>], tables: &[Vec<Row>], args: &Args) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !args.changes.is_empty() {
        return findings;
    }
    for (pod, rows) in pods.iter().zip(tables) {
        let wrong = |row: &&Row| match args.mutate {
            true => row.allowed && row.harmless.is_none(),
            false => !row.allowed,
        };
        let count = rows.iter().filter(wrong).count();
        let Some(first) = rows.iter().find(wrong) else {
            continue;
        };
        let identity = pod.workload.identity();
        let finding = match args.mutate {
            true => Finding::error(
                codes::check::MUTATION_ALLOWED,
                format!(
                    "{identity}: {count} hostile requests pass, the first: {}",
                    first.title
                ),
            )
            .help("please report this"),
            false => Finding::error(
                codes::check::REPLAY_DENIED,
                format!(
                    "{identity}: {count} own requests are denied, the first: {}",
                    first.title
                ),
            )
            .help(format!("failed: {}; render again", first.checks.join(", "))),
        };
        let object = &pod.workload.object;
        findings.push(
            finding
                .resource(object.resource.clone())
                .at(object.location.clone()),
        );
    }
    findings
}

fn as_json(pods: &[Pod<'_>], tables: &[Vec<Row>]) -> Value {
    let workloads = pods.iter().zip(tables).map(|(pod, rows)| {
        let rows = rows.iter().map(|row| {
            json!({
                "title": row.title,
                "container": row.container,
                "message": row.message,
                "allowed": row.allowed,
                "checks": row.checks,
                "harmless": row.harmless,
            })
        });
        json!({
            "workload": pod.workload.identity().to_string(),
            "policyHash": pod.workload.hash.to_string(),
            "current": pod.fresh == pod.workload.hash,
            "requests": rows.collect::<Vec<_>>(),
        })
    });
    json!({ "workloads": workloads.collect::<Vec<_>>() })
}

fn as_text(pods: &[Pod<'_>], tables: &[Vec<Row>], mutate: bool) -> String {
    let mut out = String::new();
    for (pod, rows) in pods.iter().zip(tables) {
        if rows.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{}\n\n", pod.workload.identity()));
        match mutate {
            true => mutations(rows, &mut out),
            false => requests(rows, &mut out),
        }
    }
    out
}

fn requests(rows: &[Row], out: &mut String) {
    let width = rows.iter().map(|row| row.message.len()).max().unwrap_or(0);
    for row in rows {
        let verdict = if row.allowed { "allowed" } else { "DENIED" };
        let line = format!("{verdict:<7}  {:<width$}  {}", row.message, row.title);
        let checks = match row.checks.is_empty() {
            true => String::new(),
            false => format!("  [{}]", row.checks.join(", ")),
        };
        out.push_str(&format!("{line}{checks}\n"));
    }
}

fn mutations(rows: &[Row], out: &mut String) {
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for row in rows {
        for message in [row.message, "all"] {
            let [tried, denied, harmless, passed] = counts.entry(message).or_default();
            *tried += 1;
            match (row.allowed, row.harmless) {
                (false, _) => *denied += 1,
                (true, Some(_)) => *harmless += 1,
                (true, None) => *passed += 1,
            }
        }
    }
    out.push_str(&format!(
        "{:<24} {:>7} {:>7} {:>9} {:>7}\n",
        "message", "tried", "denied", "harmless", "passed"
    ));
    let total = counts.remove("all");
    for (message, [tried, denied, harmless, passed]) in
        counts.into_iter().chain(total.map(|t| ("all", t)))
    {
        out.push_str(&format!(
            "{message:<24} {tried:>7} {denied:>7} {harmless:>9} {passed:>7}\n"
        ));
    }
    for row in rows
        .iter()
        .filter(|row| row.allowed && row.harmless.is_none())
    {
        out.push_str(&format!("PASSED   {}  {}\n", row.message, row.title));
    }
}
