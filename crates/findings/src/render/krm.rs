//! For orchestrators: `results` of the KRM functions specification v1.

use serde_json::{Map, Value, json};

use crate::Finding;

/// The `results` list of a ResourceList, in the v1 shape.
///
/// Orchestrators print message and severity only, so the message carries the code and the advice.
/// A `field` is valid beside a `resourceRef` only and is otherwise part of the message.
pub fn krm_results(findings: &[Finding]) -> Value {
    findings.iter().map(result).collect()
}

fn result(finding: &Finding) -> Value {
    let mut out = Map::new();
    out.insert("message".into(), message(finding).into());
    out.insert("severity".into(), finding.severity.as_str().into());
    let mut tags = Map::new();
    tags.insert("code".into(), finding.code.to_string().into());
    if let Some(resource) = finding.resource.as_ref().filter(|r| !r.name.is_empty()) {
        let mut reference = Map::new();
        reference.insert("apiVersion".into(), resource.api_version.clone().into());
        reference.insert("kind".into(), resource.kind.clone().into());
        reference.insert("name".into(), resource.name.clone().into());
        if let Some(namespace) = &resource.namespace {
            reference.insert("namespace".into(), namespace.clone().into());
        }
        out.insert("resourceRef".into(), Value::Object(reference));
        if let Some(path) = &finding.field {
            let mut field = Map::new();
            field.insert("path".into(), path.clone().into());
            if let Some(current) = &finding.current {
                field.insert("currentValue".into(), current.clone().into());
            }
            if let Some(proposed) = &finding.proposed {
                field.insert("proposedValue".into(), proposed.clone().into());
            }
            out.insert("field".into(), Value::Object(field));
        }
    }
    if let Some(file) = &finding.location.file {
        out.insert(
            "file".into(),
            json!({ "path": file, "index": finding.location.index.unwrap_or(0) }),
        );
        // A line of the list itself says nothing to its user, and moves with every edit above it.
        if let Some(line) = finding.location.line {
            tags.insert("line".into(), line.to_string().into());
        }
    }
    out.insert("tags".into(), Value::Object(tags));
    Value::Object(out)
}

fn message(finding: &Finding) -> String {
    let mut out = format!("{}: {}", finding.code, finding.message);
    if finding.resource.is_none()
        && let Some(field) = &finding.field
    {
        out.push_str(&format!(" (field {field})"));
    }
    if let Some(help) = finding.advice() {
        out.push_str(&format!(" (help: {help})"));
    }
    out
}
