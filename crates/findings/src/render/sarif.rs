//! For code scanning: SARIF 2.1.0.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::{Code, Finding, Severity};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A SARIF 2.1.0 log with one run; rules are the registry's entries of the codes that occur.
pub fn sarif(findings: &[Finding]) -> String {
    let codes: Vec<Code> = findings
        .iter()
        .map(|f| f.code)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "nacre",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| rule(*code)).collect::<Value>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(|f| result(f, &codes)).collect::<Value>(),
        }],
    });
    format!("{log:#}\n")
}

fn rule(code: Code) -> Value {
    match code.info() {
        Some(info) => json!({
            "id": code.to_string(),
            "shortDescription": { "text": info.title },
            "fullDescription": { "text": info.explanation },
            "help": { "text": info.fix },
        }),
        None => json!({ "id": code.to_string() }),
    }
}

fn result(finding: &Finding, codes: &[Code]) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    };
    let mut text = finding.message.clone();
    if let Some(help) = &finding.help {
        text.push_str(&format!("\n{help}"));
    }
    let mut out = Map::new();
    out.insert("ruleId".into(), finding.code.to_string().into());
    if let Ok(index) = codes.binary_search(&finding.code) {
        out.insert("ruleIndex".into(), index.into());
    }
    out.insert("level".into(), level.into());
    out.insert("message".into(), json!({ "text": text }));
    if let Some(location) = location(finding) {
        out.insert("locations".into(), json!([location]));
    }
    let mut properties = Map::new();
    for (name, value) in [
        ("currentValue", &finding.current),
        ("proposedValue", &finding.proposed),
    ] {
        if let Some(value) = value {
            properties.insert(name.into(), value.clone().into());
        }
    }
    if !properties.is_empty() {
        out.insert("properties".into(), Value::Object(properties));
    }
    Value::Object(out)
}

fn location(finding: &Finding) -> Option<Value> {
    let mut out = Map::new();
    if let Some(file) = &finding.location.file {
        let mut physical = Map::new();
        physical.insert("artifactLocation".into(), json!({ "uri": uri(file) }));
        if let Some(line) = finding.location.line {
            let mut region = Map::new();
            region.insert("startLine".into(), line.into());
            if let Some(column) = finding.location.column {
                region.insert("startColumn".into(), column.into());
            }
            physical.insert("region".into(), Value::Object(region));
        }
        out.insert("physicalLocation".into(), Value::Object(physical));
    }
    let name = match (&finding.resource, &finding.field) {
        (Some(resource), Some(field)) => Some(format!("{resource}: {field}")),
        (Some(resource), None) => Some(resource.to_string()),
        (None, Some(field)) => Some(field.clone()),
        (None, None) => None,
    };
    if let Some(name) = name {
        out.insert(
            "logicalLocations".into(),
            json!([{ "fullyQualifiedName": name, "kind": "object" }]),
        );
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// A path as a relative or `file:` URI reference: bytes outside the unreserved set escaped.
fn uri(path: &str) -> String {
    let mut out = String::new();
    if path.starts_with('/') {
        out.push_str("file://");
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
