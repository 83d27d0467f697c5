//! `nacre explain`: why a pod was denied.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, codes};
use nacre_framing::input;
use nacre_policy::explain::{
    Denied, ExplainError, Explanation, MAX_INPUT, Pod, distance, explain_read,
};
use nacre_review::policies::Workload;
use serde_json::{Value, json};

use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::policies::{Rendered, Selection};

/// Most workloads whose policies are looked at for one denial.
const MOST_CANDIDATES: usize = 16;

/// Say why a pod was denied: the condition, what was expected and found, where it is written, what to do
///
/// Reads a pod event, a line of the agent's or containerd's log, or a request as JSON, as pasted: escapes
/// and cut ends do not matter. Needs the rendered YAML that was deployed, and nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// The denial [default: standard input]
    #[arg(long, value_name = "FILE")]
    denial: Option<PathBuf>,
    /// The denial itself
    #[arg(long, value_name = "TEXT", conflicts_with = "denial")]
    text: Option<String>,
    /// The container that a request by id is about
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let text = denial(args, context)?;
    if text.len() > MAX_INPUT {
        return Err(refused(&ExplainError::TooLong));
    }
    let denied = Denied::read(&text);
    if denied.is_empty() {
        return Err(refused(&ExplainError::Nothing));
    }
    let rendered = args.selection.read(context)?;
    let (best, others) = candidates(&denied, &rendered.workloads);
    let workload = best.ok_or_else(|| nobody(&denied, &rendered.workloads))?;
    let spec = workload.object.pod_spec().unwrap_or(&Value::Null);
    let path = workload.spec_path();
    let pod = Pod { spec, path: &path };
    let explanation = explain_read(&denied, workload.policy()?, pod, args.container.as_deref());
    let explanation = explanation.map_err(|error| refused(&error))?;
    context.publish()?;
    match context.output {
        Output::Json => context.print_json(as_json(&explanation, workload, &others, &rendered)),
        Output::Text => context.print(&as_text(&explanation, workload, &others, &rendered)),
    }
}

fn denial(args: &Args, context: &Context) -> Result<String, CommandError> {
    if let Some(text) = &args.text {
        return Ok(text.clone());
    }
    let dash = Path::new("-");
    let limit = input::limit(&context.environment)?;
    match args.denial.as_deref().filter(|path| *path != dash) {
        Some(path) => Ok(input::read_file(&context.environment.path(path), limit)?.content),
        None if args.selection.paths.iter().any(|path| path == dash) => Err(CommandError::usage(
            "only one of the resources and the denial can be standard input",
        )),
        None if context.environment.stdin_is_terminal => Err(CommandError::usage(
            "no denial is piped in: give it with --denial or --text",
        )),
        None => Ok(input::read_stdin(&mut std::io::stdin().lock(), limit)?.content),
    }
}

/// The workload that explains a denial best, and those that do as well.
fn candidates<'w>(
    denied: &Denied,
    workloads: &'w [Workload],
) -> (Option<&'w Workload>, Vec<&'w Workload>) {
    let mut scored: Vec<_> = workloads
        .iter()
        .map(|workload| (unlikely(denied, workload), workload))
        .collect();
    scored.sort_by_key(|(unlikely, _)| *unlikely);
    let mut measured: Vec<_> = scored
        .into_iter()
        .take(MOST_CANDIDATES)
        .filter_map(|(unlikely, workload)| {
            let distance = distance(denied, workload.policy().ok()?)?;
            Some(((unlikely, distance), workload))
        })
        .collect();
    measured.sort_by_key(|(score, _)| *score);
    let Some((least, best)) = measured.first().copied() else {
        return (None, Vec::new());
    };
    let others = measured.iter().skip(1);
    let others = others.take_while(|(score, _)| *score == least);
    (Some(best), others.map(|(_, workload)| *workload).collect())
}

/// How little speaks for a workload, from what can be seen without its policy.
fn unlikely(denied: &Denied, workload: &Workload) -> u8 {
    let identity = workload.identity();
    let spec = workload.object.pod_spec();
    let has = |name: &str| {
        ["containers", "initContainers"].iter().any(|list| {
            let list = spec.and_then(|spec| spec.get(list)?.as_array());
            list.into_iter()
                .flatten()
                .any(|c| c.get("name").and_then(Value::as_str) == Some(name))
        })
    };
    let mut score = 0;
    if denied
        .container()
        .is_some_and(|name| name != "." && !has(name))
    {
        score += 8;
    }
    match denied.pod_name() {
        Some(pod) if pod != identity.name && !pod.starts_with(&format!("{}-", identity.name)) => {
            score += 4;
        }
        // The name of a pod begins with that of its workload.
        None if !denied.plain.contains(&format!("{}-", identity.name)) => score += 1,
        _ => {}
    }
    if denied
        .namespace()
        .is_some_and(|namespace| namespace != identity.namespace)
    {
        score += 2;
    }
    score
}

fn nobody(denied: &Denied, workloads: &[Workload]) -> CommandError {
    // A policy that cannot be read is the better thing to say.
    if let Some(finding) = workloads
        .iter()
        .find_map(|workload| workload.policy().err())
    {
        return finding.into();
    }
    let names: Vec<_> = workloads.iter().map(|w| w.identity().to_string()).collect();
    let message = match denied.container() {
        Some(name) => format!("no policy here has a container {name:?}"),
        None => "no policy here could have given this denial".to_owned(),
    };
    Finding::error(codes::check::NOT_EXPLAINED, message)
        .help(format!(
            "give the YAML that was deployed; the workloads here are {}",
            names.join(", ")
        ))
        .into()
}

fn refused(error: &ExplainError) -> CommandError {
    let help = match error {
        ExplainError::Bare { .. } => {
            "events are cut at 1 kB: `kubectl get events -o yaml`, the agent's log and containerd's \
             log have the whole line"
        }
        ExplainError::Allowed { .. } => {
            "compare what was deployed with `nacre check`, and see the pod's other events"
        }
        ExplainError::NoContainer { .. } => "nacre policy show lists the containers",
        ExplainError::TooLong => "cut the log to the lines about the pod",
        ExplainError::Evaluate(_) => "please report this with the text",
        _ => {
            "paste the event of the pod (`kubectl get events -o yaml`), or the agent's line; a denial \
             by the Kata agent says `is blocked by policy`"
        }
    };
    let mut message = error.to_string();
    if let ExplainError::Evaluate(cause) = error {
        message = format!("{message}: {cause}");
    }
    Finding::error(codes::check::NOT_EXPLAINED, message)
        .help(help)
        .into()
}

fn as_json(
    explanation: &Explanation,
    workload: &Workload,
    others: &[&Workload],
    rendered: &Rendered,
) -> Value {
    let causes = explanation.causes.iter().map(|cause| {
        json!({
            "check": cause.check,
            "demands": cause.demands,
            "field": cause.field,
            "location": workload.locate(&rendered.sources, &cause.field),
            "expected": cause.expected,
            "actual": cause.actual,
            "likely": cause.likely,
            "fix": cause.fix,
        })
    });
    json!({
        "workload": workload.identity().to_string(),
        "message": explanation.message,
        "container": explanation.container,
        "complete": !explanation.cut,
        "causes": causes.collect::<Vec<_>>(),
        "others": others.iter().map(|w| w.identity().to_string()).collect::<Vec<_>>(),
    })
}

fn as_text(
    explanation: &Explanation,
    workload: &Workload,
    others: &[&Workload],
    rendered: &Rendered,
) -> String {
    let whose = match explanation.container.as_str() {
        "." => "the sandbox".to_owned(),
        "?" => "a container that it does not have".to_owned(),
        name => format!("container {name}"),
    };
    let what = explanation.message.as_deref().unwrap_or("a request");
    let mut out = format!("{}, {whose}: {what} was denied\n", workload.identity());
    for cause in &explanation.causes {
        let name = match cause.check.as_str() {
            "" => "the message",
            name => name,
        };
        out.push_str(&format!("\n{name}: {}\n", cause.demands));
        let mut line = |title: &str, text: &str| {
            if !text.is_empty() {
                out.push_str(&format!("  {title:<9} {text}\n"));
            }
        };
        let location = workload.locate(&rendered.sources, &cause.field);
        line("written", &format!("{location}, {}", cause.field));
        let shown = |value: &Option<Value>| value.as_ref().map(shown).unwrap_or_default();
        line("expected", &shown(&cause.expected));
        line("found", &shown(&cause.actual));
        line("likely", &cause.likely);
        line("to do", cause.fix);
    }
    if explanation.cut {
        out.push_str("\nThe text ends here: more may have been wrong.\n");
    }
    if !others.is_empty() {
        let names: Vec<_> = others.iter().map(|w| w.identity().to_string()).collect();
        out.push_str(&format!(
            "\nIt may also have been {}: choose with --workload.\n",
            names.join(", ")
        ));
    }
    out
}

/// A value on one line, not too long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(400) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or("")),
        None => text,
    }
}
