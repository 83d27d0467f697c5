//! Policies read back from their bytes, and what they were made from.

use nacre_policy::carrier::Carrier;
use nacre_policy::read::{Rules, Unknown};
use nacre_policy::{Facts, Policy, generate, request};

use crate::common::{attached, mesh, rich, small};

fn read(text: &str) -> Result<Policy, Unknown> {
    match Rules::of_text(text.to_owned()) {
        Rules::Known { policy, .. } => Ok(*policy),
        Rules::Unknown { reason, .. } => Err(reason),
    }
}

#[test]
fn a_policy_reads_back_as_it_was_made() {
    let mut long = small();
    long.spec["containers"][0]["env"] = serde_json::json!([
        {"name": "LONG", "value": "x=\"\u{1}é\\".repeat(900)},
    ]);
    let mut open = small();
    open.spec["dnsPolicy"] = "None".into();
    open.spec["dnsConfig"] = serde_json::json!({"nameservers": ["10.0.0.53"]});
    open.spec["securityContext"] = serde_json::json!({"fsGroup": 7, "sysctls": [{"name": "net.core.somaxconn", "value": "1"}]});
    open.spec["containers"][0]["securityContext"] =
        serde_json::json!({"privileged": true, "readOnlyRootFilesystem": true});
    for case in [
        small(),
        mesh(),
        rich("kata-3"),
        rich("kata-4"),
        attached(),
        long,
        open,
    ] {
        let policy = case.policy();
        for carrier in [Carrier::AgentPolicy, Carrier::InitData] {
            let carried = policy.carrier(carrier);
            let decoded = carrier.unpack(&carried.annotation_value).unwrap();
            let read = self::read(&decoded.policy).unwrap();
            assert_eq!(read.text, policy.text);
            assert_eq!(read.data(), policy.data());
            assert_eq!(read.profile(&|_| false), policy.profile(&|_| false));
            assert_eq!(read.carrier(carrier), carried, "the same bytes again");
        }
    }
}

#[test]
fn nothing_can_hide_beside_rules_and_data() {
    let text = small().policy().text;
    for addition in [
        "\nok contains \"args\" if true\n",
        "\nexec contains \"command\" if true\n",
        "\nAllowRequestsFailingPolicy := true\n",
        "\nExecProcessRequest if true\n",
        " ",
        "\n",
        "# a comment\n",
    ] {
        let found = read(&format!("{text}{addition}"));
        assert_eq!(found.map(|p| p.text), Err(Unknown::Data), "{addition:?}");
    }
    // In the data, and in the rules.
    for (old, new, reason) in [
        ("\"kind\": \"app\"", "\"kind\": input.x", Unknown::Data),
        ("\"kind\": \"app\"", "\"kind\": \"none\"", Unknown::Data),
        (
            "\"kind\": \"app\"",
            "\"kind\": \"app\", \"kind\": \"app\"",
            Unknown::Data,
        ),
        (
            "\"kind\": \"app\"",
            "\"kind\": \"app\", \"profile\": \"strict\"",
            Unknown::Data,
        ),
        (
            "SetPolicyRequest := false",
            "SetPolicyRequest := true",
            Unknown::Rules,
        ),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text);
        assert_eq!(read(&changed).map(|p| p.text), Err(reason), "{new}");
    }
    let shape = read("package agent_policy\n");
    assert_eq!(shape.map(|p| p.text), Err(Unknown::Form));
}

#[test]
fn facts_give_the_same_policy_and_the_same_requests() {
    let mut secrets = small();
    secrets
        .secrets
        .insert("s".to_owned(), vec!["token".to_owned()]);
    secrets.spec["containers"][0]["envFrom"] = serde_json::json!([{"secretRef": {"name": "s"}}]);
    for case in [small(), mesh(), rich("kata-3"), rich("kata-4"), secrets] {
        let (policy, facts) = case.with(|input| Facts::record(input, generate));
        let policy = policy.unwrap();
        let again = facts.with(generate).unwrap();
        assert_eq!(again.text, policy.text);
        assert_eq!(again.findings, policy.findings);
        assert_eq!(facts.with(request::life), case.with(request::life));
        assert_eq!(facts.pod_spec(), &case.spec);
    }
}

#[test]
fn policies_are_the_same_whatever_the_order_of_members() {
    fn reversed(value: &serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(members) => members
                .iter()
                .rev()
                .map(|(k, v)| (k.clone(), reversed(v)))
                .collect(),
            serde_json::Value::Array(items) => items.iter().map(reversed).collect(),
            other => other.clone(),
        }
    }
    for case in [small(), mesh(), rich("kata-4")] {
        let mut other = case.clone();
        other.spec = reversed(&case.spec);
        other.metadata = reversed(&case.metadata);
        assert_eq!(case.policy().text, other.policy().text);
        assert_eq!(case.policy().text, case.policy().text);
    }
}
