//! `nacre report`: what each policy pins, what it leaves to the host, what may happen at run time.

use nacre_findings::{Finding, codes};
use nacre_policy::report::{self, Risk};
use serde_json::{Value, json};

use crate::context::{Context, Output};
use crate::error::{CommandError, Kind};
use crate::policies::Selection;

/// Print what the policies of rendered workloads pin, what they leave to the host, and why that matters
///
/// Markdown, read from the policies themselves.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Exit code 3 when a policy leaves open more than this: low, medium, high or critical
    #[arg(long, value_name = "RISK")]
    max_risk: Option<Risk>,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let rendered = args.selection.read(context)?;
    let mut text = String::from("# What the host can do\n\n");
    let mut workloads = Vec::new();
    let mut exceeded = Vec::new();
    for workload in &rendered.workloads {
        let policy = workload.policy()?;
        let ours = |container: &str| workload.is_ours(container);
        let title = workload.identity().to_string();
        text.push_str(&report::markdown(&title, policy, &ours));
        text.push_str(&format!("\nPolicy hash `{}`\n\n", workload.hash));
        let mut one = report::json(policy, &ours);
        if let Some(members) = one.as_object_mut() {
            members.insert("workload".to_owned(), title.into());
            members.insert("policyHash".to_owned(), workload.hash.to_string().into());
        }
        workloads.push(one);
        let open = report::open(policy, &ours);
        let worst = open
            .first()
            .filter(|open| args.max_risk.is_some_and(|max| open.risk > max));
        if let Some(worst) = worst {
            let container = worst
                .container
                .as_deref()
                .map(|c| format!("{c}: "))
                .unwrap_or_default();
            let message = format!(
                "{} leaves {} to the host: {container}{}",
                workload.identity(),
                worst.risk,
                worst.what
            );
            exceeded.push(
                Finding::error(codes::check::RISK_EXCEEDED, message)
                    .help(worst.why)
                    .resource(workload.object.resource.clone())
                    .at(workload.object.location.clone()),
            );
        }
    }
    text.push_str(&report::beyond());
    let passed = exceeded.is_empty();
    context.report(exceeded);
    context.publish()?;
    match context.output {
        Output::Text => context.print(&text)?,
        Output::Json => {
            let beyond = report::BEYOND.iter();
            let beyond: Vec<Value> = beyond
                .map(|(title, text)| json!({"title": title, "text": text}))
                .collect();
            context.print_json(json!({"workloads": workloads, "beyond": beyond}))?;
        }
    }
    match passed {
        true => Ok(()),
        false => Err(CommandError::new(Kind::Verification, Vec::new())),
    }
}
