use serde_json::json;

use super::*;
use crate::rules::RULES;
use crate::text;

fn with_data(data: &str) -> String {
    format!("{RULES}\npolicy_data := {data}\n")
}

fn data() -> Value {
    json!({
        "profile": "logs",
        "number": -12,
        "none": null,
        "yes": true,
        "empty": [{}, []],
        "quotes": "a \"b\" \\ c",
        "long": "é\n".repeat(400),
        "containers": {
            "app": {"env": {"A": "=1", "B": "=x=y", "C": "^.*$"}},
            "other": {"env": {"A": "=2", "LONG": format!("={}", "z".repeat(900))}},
        },
    })
}

#[test]
fn what_was_written_is_read_in_every_carrier() {
    let text = with_data(&text::term(&data()));
    for carrier in [Carrier::InitData, Carrier::AgentPolicy] {
        let carried = carrier.pack(&text);
        let raw = carrier.raw(&carried.annotation_value).unwrap();
        let read = Read::of_raw(&raw).unwrap();
        assert_eq!((read.hash, read.carrier), (carried.hash, carrier));
        let policy = read.known().expect("known");
        assert_eq!(policy.data(), &data());
        assert_eq!(policy.profile, Profile::Logs);
        assert_eq!(policy.pinned_variable("A"), [("app", "1"), ("other", "2")]);
        assert_eq!(policy.pinned_variable("B"), [("app", "x=y")]);
        assert_eq!(policy.pinned_variable("C"), []);
    }
}

fn reason(text: String) -> Unknown {
    match Rules::of_text(text) {
        Rules::Unknown { reason, .. } => reason,
        Rules::Known { .. } => panic!("known"),
    }
}

#[test]
fn one_other_byte_in_the_rules_is_unknown() {
    let text = with_data("{\n\t\"profile\": \"strict\",\n}");
    assert!(matches!(Rules::of_text(text.clone()), Rules::Known { .. }));
    assert_eq!(
        reason(text.replacen("default", "defaults", 1)),
        Unknown::Rules
    );
    assert_eq!(reason("package agent_policy\n".into()), Unknown::Form);
}

#[test]
fn nothing_but_plain_data_is_accepted_as_data() {
    for data in [
        // a rule behind the data would widen what the rules allow
        "{\n\t\"profile\": \"strict\",\n}\nExecProcessRequest := true",
        "{\n\t\"profile\": \"strict\", \"x\": input.x,\n}",
        "{\n\t\"profile\": \"strict\", \"x\": concat(\"\", [data.x]),\n}",
        "{\n\t\"profile\": \"strict\", \"x\": `raw`,\n}",
        "{\n\t\"profile\": \"strict\", \"profile\": \"debug\",\n}",
        "{\n\t\"profile\": \"other\",\n}",
        "{\n\t\"x\": 1,\n}",
        "{\n\t\"profile\": \"strict\"",
        "{\n\t\"profile\": \"strict\", \"x\": [1 2],\n}",
        "{\n\t\"profile\": \"strict\", # comment\n}",
    ] {
        assert_eq!(reason(with_data(data)), Unknown::Data, "{data}");
    }
    let deep = format!("{{\n\t\"profile\": {}1{}}}", "[".repeat(99), "]".repeat(99));
    assert_eq!(reason(with_data(&deep)), Unknown::Data);
}

#[test]
fn other_keys_of_the_document_make_a_policy_unknown() {
    let text = with_data("{\n\t\"profile\": \"strict\",\n}");
    let raw = Carrier::InitData
        .raw(&Carrier::InitData.pack(&text).annotation_value)
        .unwrap();
    let more = [raw.as_slice(), b"\"aa.toml\" = \"x\"\n"].concat();
    let read = Read::of_raw(&more).unwrap();
    assert_eq!(read.other_keys, ["aa.toml"]);
    assert!(read.known().is_none());
}

#[test]
fn bytes_that_are_no_policy_are_an_error() {
    assert_eq!(Read::of_raw(&[0xff]).unwrap_err(), CarrierError::NotText);
}
