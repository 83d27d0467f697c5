//! Examinations for people and for programs.

use nacre_client::examine::{Examination, Step};
use nacre_client::workloads::Workload;
use nacre_findings::printable;
use nacre_review::diff::Diff;
use serde_json::{Value, json};

/// Digits of a hash that are shown to people.
const SHORT: usize = 12;

/// The beginning of a hash.
pub(crate) fn short(hash: impl std::fmt::Display) -> String {
    hash.to_string().chars().take(SHORT).collect()
}

/// The history, one paragraph for each step.
pub(crate) fn history(steps: &[Step]) -> String {
    let mut out = String::new();
    for (index, step) in steps.iter().enumerate() {
        let who = match step.signers.len() {
            0 => "by nobody".to_owned(),
            1 => format!("by {}", step.signers.first().map(short).unwrap_or_default()),
            _ => {
                let names: Vec<String> = step.signers.iter().map(short).collect();
                format!("by {}", names.join(", "))
            }
        };
        let mark = if step.accepted {
            ""
        } else {
            "  NOT ACCEPTED BEFORE"
        };
        out.push_str(&format!(
            "{:>3}  {}  signed {} {who}{mark}\n",
            step.generation,
            short(step.transition),
            step.signed_at,
        ));
        let s = if step.workloads == 1 { "" } else { "s" };
        match (index, step.changes.is_empty()) {
            (0, _) => out.push_str(&format!(
                "     first manifest, {} workload{s}\n",
                step.workloads
            )),
            (_, true) if step.policies.is_empty() => out.push_str("     no change in meaning\n"),
            _ => {
                out.push_str(&indented(&step.changes.text(), "     "));
                for (workload, lines) in &step.policies {
                    out.push_str(&format!("     policy of {}\n", printable(workload)));
                    for line in lines {
                        out.push_str(&format!("         {line}\n"));
                    }
                }
            }
        }
    }
    out
}

/// The workloads, and what each leaves to the host.
pub(crate) fn workloads(workloads: &[Workload]) -> String {
    let width = workloads
        .iter()
        .map(|w| w.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for workload in workloads {
        let name = printable(&workload.name);
        let (profile, risk) = match (workload.profile, workload.risk) {
            (Some(profile), Some(risk)) => (profile, risk),
            _ => (
                "unknown",
                workload.reason.as_deref().unwrap_or("rules not known"),
            ),
        };
        out.push_str(&format!(
            "     {name:width$}  {}  {profile}, {risk}\n",
            short(workload.policy)
        ));
        for open in &workload.open {
            out.push_str(&format!(
                "         {}: {} ({})\n",
                open.risk,
                printable(&open.what),
                open.why
            ));
        }
    }
    out
}

/// A difference in meaning.
pub(crate) fn difference(title: &str, difference: &Diff) -> String {
    format!("{title}\n{}", indented(&difference.text(), "     "))
}

fn indented(text: &str, by: &str) -> String {
    text.lines().map(|line| format!("{by}{line}\n")).collect()
}

/// Everything, for people.
pub(crate) fn text(examination: &Examination, strict: bool) -> String {
    let mut out = String::new();
    if !examination.steps.is_empty() {
        out.push_str("history\n");
        out.push_str(&history(&examination.steps));
        out.push('\n');
    }
    if !examination.workloads.is_empty() {
        out.push_str("workloads: profile, risk and what is left to the host\n");
        out.push_str(&workloads(&examination.workloads));
        out.push('\n');
    }
    if let Some(diff) = &examination.difference {
        let title = match diff.is_empty() {
            true => "the manifest given and the one in force differ in their text only",
            false => "from the manifest given to the one in force",
        };
        out.push_str(&difference(title, diff));
        out.push('\n');
    }
    out.push_str(&examination.rows.table(strict));
    out
}

/// Everything, for programs.
pub(crate) fn json(examination: &Examination, strict: bool) -> Value {
    let head = examination.history.as_ref().map(|history| {
        let head = history.head();
        json!({
            "generation": head.transition.generation,
            "transition": head.hash,
            "manifest": head.transition.manifest,
        })
    });
    json!({
        "verified": examination.rows.hold(strict),
        "strict": strict,
        "rows": examination.rows,
        "head": head,
        "history": examination.steps,
        "workloads": examination.workloads,
        "difference": examination.difference.as_ref().map(Diff::json),
        "attestation": examination.attestation,
    })
}
