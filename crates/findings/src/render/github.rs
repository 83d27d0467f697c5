//! For GitHub Actions: one workflow command per finding.

use crate::{Finding, Severity};

/// One `::error file=…,line=…::…` line per finding.
///
/// The runner unescapes `%25`, `%0D`, `%0A` in the message and, in properties, `%3A` and `%2C` too.
pub fn github(findings: &[Finding]) -> String {
    findings.iter().map(annotation).collect()
}

fn annotation(finding: &Finding) -> String {
    let command = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "notice",
    };
    let mut properties = Vec::new();
    if let Some(file) = &finding.location.file {
        properties.push(format!("file={}", property(file)));
        if let Some(line) = finding.location.line {
            properties.push(format!("line={line}"));
            if let Some(column) = finding.location.column {
                properties.push(format!("col={column}"));
            }
        }
    }
    let title = match finding.code.info() {
        Some(info) => format!("{} {}", finding.code, info.title),
        None => finding.code.to_string(),
    };
    properties.push(format!("title={}", property(&title)));

    let mut message = finding.message.clone();
    match (&finding.resource, &finding.field) {
        (Some(resource), Some(field)) => message.push_str(&format!("\n{resource}: {field}")),
        (Some(resource), None) => message.push_str(&format!("\n{resource}")),
        (None, Some(field)) => message.push_str(&format!("\n{field}")),
        (None, None) => {}
    }
    if let Some(help) = finding.advice() {
        message.push_str(&format!("\nhelp: {help}"));
    }
    format!("::{command} {}::{}\n", properties.join(","), data(&message))
}

fn data(value: &str) -> String {
    value
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(value: &str) -> String {
    data(value).replace(':', "%3A").replace(',', "%2C")
}
