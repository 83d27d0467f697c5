//! For programs: every field of every finding.

use serde_json::{Value, json};

use crate::Finding;

/// A JSON document `{"findings": [...]}` with a final newline.
pub fn json(findings: &[Finding]) -> String {
    format!("{:#}\n", json!({ "findings": json_value(findings) }))
}

/// The findings as a JSON array, to be put into a larger document.
pub fn json_value(findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|finding| {
            // A finding is strings and numbers; it always has a JSON form.
            let mut value = serde_json::to_value(finding).unwrap_or(Value::Null);
            if let (Some(object), Some(advice)) = (value.as_object_mut(), finding.advice()) {
                object.insert("help".to_owned(), advice.into());
            }
            value
        })
        .collect()
}
