//! `nacre policy`: decode, verify and test the policies that workloads carry.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes, has_errors};
use nacre_framing::input;
use nacre_manifest::PolicyHash;
use nacre_policy::carrier::Carrier;
use nacre_policy::evaluate::Session;
use nacre_policy::fixtures::{self, Fixture, Outcome};
use nacre_policy::{Policy as Decoded, rules};
use nacre_review::policies::{self, Workload};
use serde_json::{Value, json};

use crate::check;
use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::policies::Selection;

/// Decode, verify and test the policies that workloads carry
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Policy {
    Show(Show),
    Verify(Verify),
    Test(Test),
}

/// Decode the policies of rendered workloads: hash, rules, profile, and the text
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    #[command(flatten)]
    selection: Selection,
    /// Print the whole text, as the guest reads it
    #[arg(long, conflicts_with = "data")]
    text: bool,
    /// Print the data of the workload only
    #[arg(long)]
    data: bool,
}

/// Check that policies are the known rules with the data of one workload, and have the hashes expected
///
/// Exit code 3 when one does not hold. Whether a policy fits its pod is for nacre check to say.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    selection: Selection,
    /// The manifest that must list the hashes
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// A hash that is expected, 64 hex digits; may be repeated
    #[arg(long, value_name = "HEX")]
    hash: Vec<PolicyHash>,
}

/// Evaluate requests with the answers that are expected, from the JSON files of a directory
///
/// A file holds {"description", "allowed", "request"} or a list of them; a list is one guest's life.
/// `nacre simulate --fixtures FILE` writes the requests of a pod as a beginning.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Directory of the fixtures, one level deep
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The policy: rendered YAML, a Rego file, or an annotation's value [default: the one YAML or Rego file in the directory]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The workload of rendered YAML that is meant: NAME, KIND/NAME or NAMESPACE/KIND/NAME
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
}

pub(crate) fn run(command: &Policy, context: &mut Context) -> Result<(), CommandError> {
    match command {
        Policy::Show(args) => show(args, context),
        Policy::Verify(args) => verify(args, context),
        Policy::Test(args) => test(args, context),
    }
}

fn show(args: &Show, context: &mut Context) -> Result<(), CommandError> {
    let rendered = args.selection.read(context)?;
    context.publish()?;
    if context.output == Output::Json {
        let workloads: Vec<_> = rendered.workloads.iter().map(as_json).collect();
        return context.print_json(json!({ "workloads": workloads }));
    }
    let mut out = String::new();
    for workload in &rendered.workloads {
        if args.text {
            out.push_str(&workload.text);
            continue;
        }
        if args.data {
            let data = rules::split(&workload.text).map(|(_, data)| data);
            let data = data.ok_or_else(|| workload.policy().err());
            out.push_str(&match data {
                Ok(data) => format!("{data}\n"),
                Err(finding) => return Err(finding.into_iter().collect::<Vec<_>>().into()),
            });
            continue;
        }
        out.push_str(&format!("{}\n", workload.identity()));
        let value = as_json(workload);
        for key in [
            "policyHash",
            "annotation",
            "rules",
            "profile",
            "target",
            "namespace",
            "pod",
            "containers",
        ] {
            let shown = match value.get(key) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(items)) => {
                    let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                    items.join(", ")
                }
                _ => "unknown".to_owned(),
            };
            out.push_str(&format!("  {key:<11} {shown}\n"));
        }
    }
    context.print(&out)
}

fn as_json(workload: &Workload) -> Value {
    let policy = workload.policy().ok();
    let data = policy.map(Decoded::data);
    let at = |pointer: &str| data.and_then(|data| data.pointer(pointer)).cloned();
    let containers = data.and_then(|data| data.get("containers")?.as_object());
    let containers = containers.map(|all| {
        let names = all.keys().filter(|name| *name != ".");
        names.cloned().collect::<Vec<_>>()
    });
    json!({
        "workload": workload.identity().to_string(),
        "policyHash": workload.hash.to_string(),
        "annotation": workload.carrier.annotation_key(),
        "rules": rules::version_in(&workload.text),
        "profile": policy.map(|policy| policy.profile(&|name| workload.is_ours(name)).as_str()),
        "target": at("/target/name"),
        "namespace": at("/pod/namespace"),
        "pod": at("/pod/name"),
        "containers": containers,
        "otherKeys": workload.other_keys,
        "data": data,
    })
}

fn verify(args: &Verify, context: &mut Context) -> Result<(), CommandError> {
    let (rendered, mut findings) = args.selection.read_all(context)?;
    let manifest = args.manifest.as_deref();
    let listed = manifest
        .map(|path| check::read_manifest(&context.environment.path(path), context))
        .transpose()?;
    let expected = match (&listed, args.hash.is_empty()) {
        (None, true) => None,
        (listed, _) => {
            let listed = listed.iter().flat_map(|manifest| manifest.policies.keys());
            Some(listed.chain(&args.hash).copied().collect::<Vec<_>>())
        }
    };
    for workload in &rendered.workloads {
        findings.extend(policies::verify(workload, expected.as_deref()));
    }
    nacre_framing::transform::name_files(&rendered.sources, &mut findings);
    let passed = !has_errors(&findings);
    context.report(findings);
    context.publish()?;
    match context.output {
        Output::Json => {
            let workloads: Vec<_> = rendered.workloads.iter().map(as_json).collect();
            context.print_json(json!({ "passed": passed, "workloads": workloads }))?;
        }
        Output::Text if passed => {
            let mut out = String::new();
            for workload in &rendered.workloads {
                let policy = workload.policy()?;
                out.push_str(&format!(
                    "{}  {}  rules {}, profile {}\n",
                    workload.hash,
                    workload.identity(),
                    policy.rules(),
                    policy.profile(&|name| workload.is_ours(name))
                ));
            }
            context.print(&out)?;
        }
        Output::Text => {}
    }
    match passed {
        true => Ok(()),
        false => Err(CommandError::new(Kind::Verification, Vec::new())),
    }
}

/// The fixtures of one file and what became of them.
struct File {
    name: String,
    results: Vec<(Fixture, Outcome)>,
}

fn test(args: &Test, context: &mut Context) -> Result<(), CommandError> {
    let directory = context.environment.path(&args.directory);
    let (fixtures, policies) = listing(&directory)?;
    let policy = match (&args.policy, policies.as_slice()) {
        (Some(path), _) => context.environment.path(path),
        (None, [path]) => path.clone(),
        (None, others) => {
            let message = match others.is_empty() {
                true => "no policy is given, and there is none beside the fixtures",
                false => "there are several policies beside the fixtures",
            };
            return Err(CommandError::usage(format!(
                "{message}: name one with --policy"
            )));
        }
    };
    let session = Session::load(&policy_text(&policy, args, context)?).map_err(|error| {
        let finding = Finding::error(codes::check::POLICY_UNREADABLE, error.to_string());
        finding.at(Location::file(policy.display().to_string()))
    })?;
    let limit = input::limit(&context.environment)?;
    let mut files = Vec::new();
    for path in fixtures {
        let name = path.display().to_string();
        let text = input::read_file(&path, limit)?;
        let read = fixtures::parse(&text.content).map_err(|error| {
            Finding::error(codes::check::FIXTURE_UNREADABLE, error.to_string())
                .help("see docs/policies.md")
                .at(Location::file(name.clone()))
        })?;
        let outcomes = fixtures::run(&mut session.clone(), &read);
        let results = read.into_iter().zip(outcomes).collect();
        files.push(File { name, results });
    }
    if files.is_empty() {
        let message = "there is no JSON file in the directory";
        return Err(Finding::error(codes::check::FIXTURE_UNREADABLE, message)
            .help("nacre simulate --fixtures FILE writes the requests of a pod")
            .at(Location::file(directory.display().to_string()))
            .into());
    }
    report(&files, context)
}

fn report(files: &[File], context: &mut Context) -> Result<(), CommandError> {
    let mut findings = Vec::new();
    let (mut text, mut total) = (String::new(), 0);
    let mut results = Vec::new();
    for file in files {
        text.push_str(&format!("{}\n", file.name));
        for (fixture, outcome) in &file.results {
            total += 1;
            let passed = fixture.allowed == outcome.allowed;
            let word = |allowed| if allowed { "allowed" } else { "denied" };
            let checks = match (outcome.checks.is_empty(), &outcome.error) {
                (_, Some(error)) => format!(" ({error})"),
                (true, None) => String::new(),
                (false, None) => format!(" [{}]", outcome.checks.join(", ")),
            };
            let mark = if passed { "ok    " } else { "FAILED" };
            let verdict = word(outcome.allowed);
            text.push_str(&format!(
                "  {mark}  {}: {verdict}{checks}\n",
                fixture.description
            ));
            results.push(json!({
                "file": file.name,
                "description": fixture.description,
                "message": fixture.message,
                "expected": fixture.allowed,
                "allowed": outcome.allowed,
                "checks": outcome.checks,
                "passed": passed,
            }));
            if !passed {
                let message = format!(
                    "{}: {} was {verdict}, {} is expected{checks}",
                    fixture.description,
                    fixture.message,
                    word(fixture.allowed)
                );
                findings.push(
                    Finding::error(codes::check::FIXTURE_FAILED, message)
                        .help("nacre explain says why a request is denied")
                        .at(Location::file(file.name.clone())),
                );
            }
        }
    }
    let failed = findings.len();
    context.report(findings);
    context.publish()?;
    match context.output {
        Output::Json => context.print_json(json!({"passed": failed == 0, "requests": results}))?,
        Output::Text => context.print(&format!(
            "{text}{} of {total} as expected\n",
            total - failed
        ))?,
    }
    match failed {
        0 => Ok(()),
        _ => Err(CommandError::new(Kind::Verification, Vec::new())),
    }
}

/// JSON files, and files that may hold the policy, both sorted.
fn listing(directory: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), CommandError> {
    let unreadable = |error: std::io::Error| {
        let message = format!("{}: {error}", directory.display());
        CommandError::from(Finding::error(codes::cli::FILE_UNREADABLE, message))
    };
    let (mut fixtures, mut policies) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => fixtures.push(path),
            Some("rego" | "yaml" | "yml") => policies.push(path),
            _ => {}
        }
    }
    fixtures.sort_unstable();
    policies.sort_unstable();
    Ok((fixtures, policies))
}

/// The policy in a file: Rego, the value of an annotation, or that of the one workload in YAML.
fn policy_text(path: &Path, args: &Test, context: &Context) -> Result<String, CommandError> {
    let limit = input::limit(&context.environment)?;
    let text = input::read_file(path, limit)?.content;
    if path
        .extension()
        .is_some_and(|extension| extension == "rego")
    {
        return Ok(text);
    }
    let value = text.trim();
    if !value.contains(char::is_whitespace) {
        let carriers = [Carrier::InitData, Carrier::AgentPolicy];
        if let Some(decoded) = carriers
            .iter()
            .find_map(|carrier| carrier.unpack(value).ok())
        {
            return Ok(decoded.policy);
        }
    }
    let selection = Selection::of(path, args.workload.clone());
    let rendered = selection.read(context)?;
    match rendered.workloads.as_slice() {
        [workload] => Ok(workload.text.clone()),
        many => {
            let names: Vec<_> = many.iter().map(|w| w.identity().to_string()).collect();
            let message = "the policy of one workload is needed, there are several";
            Err(Finding::error(codes::check::NO_SUCH_WORKLOAD, message)
                .help(format!("choose one with --workload: {}", names.join(", ")))
                .into())
        }
    }
}
