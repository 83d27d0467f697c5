//! What two policies of one workload allow differently, by their data.

use std::collections::BTreeSet;

use nacre_findings::printable;
use nacre_policy::Policy;
use serde_json::{Map, Value};

/// Most differences told for one workload.
const MOST: usize = 40;

/// One line for each difference: `container web: image.digest: sha256:… → sha256:…`.
pub fn between(old: &Policy, new: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    let empty = Map::new();
    let object = |policy: &Policy| policy.data().as_object().cloned().unwrap_or_default();
    let (old, new) = (object(old), object(new));
    for key in keys(&old, &new) {
        if key == "containers" {
            let of = |data: &Map<String, Value>| {
                data.get(key)
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default()
            };
            let (before, after) = (of(&old), of(&new));
            for name in keys(&before, &after) {
                let title = format!("container {name}");
                match (before.get(name), after.get(name)) {
                    (Some(_), None) => lines.push(format!("- {title}")),
                    (None, Some(_)) => lines.push(format!("+ {title}")),
                    (Some(before), Some(after)) => {
                        let before = before.as_object().unwrap_or(&empty);
                        let after = after.as_object().unwrap_or(&empty);
                        members(&title, before, after, &mut lines);
                    }
                    (None, None) => {}
                }
            }
        } else {
            value(key, old.get(key), new.get(key), &mut lines);
        }
    }
    let more = lines.len().saturating_sub(MOST);
    if more > 0 {
        lines.truncate(MOST);
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn keys<'a>(old: &'a Map<String, Value>, new: &'a Map<String, Value>) -> BTreeSet<&'a str> {
    old.keys().chain(new.keys()).map(String::as_str).collect()
}

fn members(at: &str, old: &Map<String, Value>, new: &Map<String, Value>, lines: &mut Vec<String>) {
    for key in keys(old, new) {
        value(&format!("{at}: {key}"), old.get(key), new.get(key), lines);
    }
}

fn value(at: &str, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in keys(old, new) {
                value(&format!("{at}.{key}"), old.get(key), new.get(key), lines);
            }
        }
        // Arguments have an order; variables, capabilities and names have none.
        (Some(Value::Array(old)), Some(Value::Array(new))) if !at.ends_with(": args") => {
            let gone = old.iter().filter(|item| !new.contains(item));
            lines.extend(gone.map(|item| format!("- {at}: {}", shown(item))));
            let come = new.iter().filter(|item| !old.contains(item));
            lines.extend(come.map(|item| format!("+ {at}: {}", shown(item))));
        }
        (Some(old), Some(new)) => lines.push(format!("{at}: {} → {}", shown(old), shown(new))),
        (Some(old), None) => lines.push(format!("- {at}: {}", shown(old))),
        (None, Some(new)) => lines.push(format!("+ {at}: {}", shown(new))),
        (None, None) => {}
    }
}

/// A value on one line, without anything that could steer a terminal.
fn shown(value: &Value) -> String {
    const WIDTH: usize = 96;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let clean = printable(&text);
    match clean.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", clean.get(..at).unwrap_or_default()),
        None => clean.into_owned(),
    }
}

#[cfg(test)]
#[path = "../../policy/tests/shared/data.rs"]
mod data;

#[cfg(test)]
mod tests {
    use nacre_policy::read::Rules;
    use nacre_policy::rules::RULES;
    use serde_json::json;

    use super::*;

    fn policy(containers: &Value) -> Policy {
        let data = data::data(containers);
        match Rules::of_text(format!("{RULES}\npolicy_data := {data:#}\n")) {
            Rules::Known { policy, .. } => *policy,
            Rules::Unknown { reason, .. } => panic!("{reason}"),
        }
    }

    #[test]
    fn every_kind_of_difference_is_a_line() {
        let image = |digit: &str| format!("web@sha256:{}", digit.repeat(64));
        let container = |args: &[&str], env: Value, digit: &str| json!({"args": args, "env": env, "image": [image(digit)]});
        let old = json!({
            "web": container(&["a", "b"], json!({"A": "=1", "B": "=2"}), "1"),
            "old": {},
        });
        let mut new = json!({
            "web": container(&["b", "a"], json!({"A": "=\u{1b}[2J", "C": "=3"}), "2"),
            "new": {},
        });
        new["web"]["logs"] = true.into();
        let (old, new) = (policy(&old), policy(&new));
        assert_eq!(
            between(&old, &new),
            [
                "+ container new",
                "- container old",
                "container web: args: [\"a\",\"b\"] → [\"b\",\"a\"]",
                "container web: env.A: =1 → =\\u{1b}[2J",
                "- container web: env.B: =2",
                "+ container web: env.C: =3",
                &format!("- container web: image: {}", image("1")),
                &format!("+ container web: image: {}", image("2")),
                "+ container web: logs: true",
            ]
        );
        assert!(between(&old, &old).is_empty());
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let env = |n: usize| -> Value { (0..n).map(|i| (format!("V{i}"), json!("=1"))).collect() };
        let of = |n| policy(&json!({"web": {"env": env(n)}}));
        let lines = between(&of(0), &of(50));
        assert_eq!(lines.len(), 41);
        assert_eq!(lines[40], "… and 10 more");
    }
}
