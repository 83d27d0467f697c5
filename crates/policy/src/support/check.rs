//! What of a pod the tables do not have.

use serde_json::{Map, Value};

use super::{Class, Field, KUBERNETES, POD};

/// A field that stands in the way of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// Path below the pod spec.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Walks a pod spec along the tables.
pub(crate) fn check(spec: &Map<String, Value>) -> Vec<Obstacle> {
    let mut out = Vec::new();
    walk(spec, POD, "", &mut out);
    out
}

fn walk(object: &Map<String, Value>, fields: &[Field], at: &str, out: &mut Vec<Obstacle>) {
    for (key, value) in object {
        let path = if at.is_empty() {
            key.clone()
        } else {
            format!("{at}.{key}")
        };
        let Some(field) = fields.iter().find(|field| field.name == key) else {
            out.push(Obstacle {
                path,
                reason: format!("the field is not part of Kubernetes {KUBERNETES} as known here"),
            });
            continue;
        };
        match (field.class, value) {
            (_, Value::Null) | (Class::Pinned | Class::Irrelevant, _) => {}
            (Class::Words, Value::Array(words)) if words.iter().all(Value::is_string) => {}
            (Class::Words, _) => {
                out.push(Obstacle {
                    path,
                    reason: "a list of strings is expected: write numbers and booleans in quotes"
                        .to_owned(),
                });
            }
            (Class::Refused, value) if is_unset(value) => {}
            (Class::Refused, _) => {
                out.push(Obstacle {
                    path,
                    reason: format!("the field is refused: {}", field.note),
                });
            }
            (Class::Object(inner), Value::Object(object)) => walk(object, inner, &path, out),
            (Class::List(inner), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    match item {
                        Value::Object(object) => walk(object, inner, &path, out),
                        _ => out.push(Obstacle {
                            path,
                            reason: "an object is expected".to_owned(),
                        }),
                    }
                }
            }
            (Class::Object(_), _) => {
                out.push(Obstacle {
                    path,
                    reason: "an object is expected".to_owned(),
                });
            }
            (Class::List(_), _) => {
                out.push(Obstacle {
                    path,
                    reason: "a list is expected".to_owned(),
                });
            }
        }
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
