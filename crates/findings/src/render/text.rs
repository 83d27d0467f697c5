//! For people: one block per finding.

use std::fmt::Write as _;

use crate::{Finding, Severity, steers};

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const CYAN: &str = "\u{1b}[1;36m";
const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const RESET: &str = "\u{1b}[0m";

/// All findings as text, each with its code, place (`file:line:column`), object, field and advice.
///
/// Control characters that came from the input are shown escaped; continuation lines are marked, so
/// that no input can forge a line of its own or a workflow command.
pub fn text(findings: &[Finding], color: bool) -> String {
    let mut out = String::new();
    for finding in findings {
        block(&mut out, finding, color);
    }
    out
}

/// `2 errors, 1 warning`; empty when there is nothing to count.
pub fn summary(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    [
        (count(Severity::Error), "error"),
        (count(Severity::Warning), "warning"),
        (count(Severity::Info), "note"),
    ]
    .iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}{}", if *number == 1 { "" } else { "s" }))
    .collect::<Vec<_>>()
    .join(", ")
}

fn block(out: &mut String, finding: &Finding, color: bool) {
    let paint = |style: &'static str| if color { style } else { "" };
    let head = match finding.severity {
        Severity::Error => paint(RED),
        Severity::Warning => paint(YELLOW),
        Severity::Info => paint(CYAN),
    };
    let (bold, dim, reset) = (paint(BOLD), paint(DIM), paint(RESET));
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{head}{}[{}]{reset}: {bold}{}{reset}",
        finding.severity,
        finding.code,
        clean(&finding.message)
    );
    if !finding.location.is_unknown() {
        let _ = writeln!(
            out,
            "  {dim}-->{reset} {}",
            clean(&finding.location.to_string())
        );
    }
    let place = match (&finding.resource, &finding.field) {
        (Some(resource), Some(field)) => Some(format!("{resource}: {field}")),
        (Some(resource), None) => Some(resource.to_string()),
        (None, Some(field)) => Some(field.clone()),
        (None, None) => None,
    };
    let rows = [
        ("in", place.as_deref()),
        ("is", finding.current.as_deref()),
        ("should be", finding.proposed.as_deref()),
        ("help", finding.advice()),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            let _ = writeln!(out, "  {dim}{name}:{reset} {}", clean(value));
        }
    }
}

/// Control characters escaped; line breaks kept, with a mark at the head of each further line.
fn clean(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for ch in value.trim_end_matches('\n').chars() {
        match ch {
            '\n' => out.push_str("\n  | "),
            '\t' => out.push('\t'),
            ch if steers(ch) => out.extend(ch.escape_unicode()),
            ch => out.push(ch),
        }
    }
    out
}
