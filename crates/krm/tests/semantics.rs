//! What each text means, next to what sigs.k8s.io/yaml 1.6.0 made of it.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use nacre_krm::{Path, Stream, emit};
use serde_json::Value;

/// Refused here, read by sigs.k8s.io/yaml: what tools of one pipeline read differently.
const STRICTER: &[(&str, u16)] = &[
    // kubectl --validate=strict refuses it as well, kyaml always.
    ("a: 1\na: 2\n", 104),
    // kubectl takes the merged value, kyaml the other.
    ("a: &x {p: 1}\nb: {p: 3, <<: *x}\n", 109),
    // Invisible, and not text to every reader.
    ("a: \u{feff}x\n", 102),
];

/// Read here, refused by sigs.k8s.io/yaml: YAML 1.2 that means the same to everyone who reads it.
const LAXER: &[&str] = &[
    "a: \"\\u00e9\\x41\\ud83d\\ude00\"\n",
    "a: \"\\/\"\n",
    "%YAML 1.2\n---\na: 1\n",
    "\ta: b\n",
    "- a\n-\tb\n",
];

fn read(text: &str) -> Result<Value, nacre_krm::Error> {
    let stream = Stream::parse(text)?;
    let document = stream.documents().first();
    Ok(document
        .and_then(|d| d.value(&Path::root()))
        .unwrap_or(Value::Null))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn as_recorded_from_sigs_yaml() {
    let mut wrong = Vec::new();
    for line in include_str!("data/sigs-yaml-1.6.0.jsonl").lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let text = record["in"].as_str().unwrap();
        let expected = record
            .get("out")
            .map(|out| serde_json::from_str::<Value>(out.as_str().unwrap()).unwrap());
        let stricter = STRICTER.iter().find(|(t, _)| *t == text);
        let fine = match (read(text), &expected) {
            (Err(error), Some(_)) => stricter.is_some_and(|(_, code)| *code == error.code()),
            (Ok(value), Some(expected)) => stricter.is_none() && same(&value, expected),
            (Ok(_), None) => LAXER.contains(&text),
            (Err(_), None) => !LAXER.contains(&text),
        };
        if !fine {
            wrong.push(format!("{text:?}: {:?}, recorded: {record}", read(text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_emitted_is_read_back() {
    for line in include_str!("data/sigs-yaml-1.6.0.jsonl").lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Ok(value) = read(record["in"].as_str().unwrap()) else {
            continue;
        };
        let text = emit(&value);
        assert!(same(&read(&text).unwrap(), &value), "{text}");
        // Also as a string, which must not become anything else.
        let string = serde_json::json!({"k": record["in"], "l": [record["in"]]});
        assert_eq!(read(&emit(&string)).unwrap(), string, "{}", emit(&string));
    }
}
