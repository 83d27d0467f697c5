use serde_json::json;

use nacre_manifest::Profile;

use super::*;
use crate::generate::PAUSE;
use crate::rules::{Published, RULES};
use crate::text;

fn with_data(data: &str) -> String {
    format!("{RULES}\npolicy_data := {data}\n")
}

/// Data of a policy with two containers.
fn data() -> Value {
    let golden = include_str!("../../tests/golden/small.rego");
    let golden = golden.strip_prefix("\npolicy_data := ").unwrap();
    let mut data = data_of(golden).unwrap();
    let containers = data["containers"].as_object_mut().unwrap();
    let mut app = containers.remove("web").unwrap();
    app["env"] = json!({"A": "=1", "B": "=x=y", "C": "^[0-9]{1,20}$"});
    let mut other = app.clone();
    other["env"] = json!({"A": "=2", "LONG": format!("={}", "z".repeat(900))});
    other["logs"] = true.into();
    containers.extend([("app".to_owned(), app), ("other".to_owned(), other)]);
    data
}

#[test]
fn terms_are_read_as_they_were_written() {
    let data = json!({
        "number": -12,
        "none": null,
        "yes": true,
        "empty": [{}, []],
        "quotes": "a \"b\" \\ c",
        "long": "é\n".repeat(400),
    });
    assert_eq!(data_of(&format!("{}\n", text::term(&data))), Some(data));
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
        assert_eq!(policy.profile(&|_| false), Profile::Logs);
        assert_eq!(policy.profile(&|name| name == "other"), Profile::Strict);
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
    let text = with_data(&text::term(&data()));
    assert!(matches!(Rules::of_text(text.clone()), Rules::Known { .. }));
    let other = text.replacen(":= false", ":= true", 1);
    assert_ne!(other, text);
    assert_eq!(reason(other), Unknown::Rules);
    assert_eq!(reason("package agent_policy\n".into()), Unknown::Form);
}

/// What a change of the rules after a release leaves behind: the digest of the older text, and its reader.
#[test]
fn policies_with_older_rules_that_are_kept_are_read_by_their_own_reader() {
    fn of_zero(mut data: Value) -> Option<Value> {
        let members = data.as_object_mut()?;
        let pods = members.remove("sandbox")?;
        members.insert("pod".to_owned(), pods);
        as_written(data)
    }
    let older = RULES.replace("nacre1", "nacre0");
    let digest: &str = rules::digest_of(&older).leak();
    let zero = Published {
        digest,
        version: "nacre0",
        read: of_zero,
    };
    let one = &rules::PUBLISHED[0];
    let table = [
        zero,
        Published {
            digest: one.digest,
            ..*one
        },
    ];
    let mut renamed = data();
    let members = renamed.as_object_mut().unwrap();
    let pods = members.remove("pod").unwrap();
    members.insert("sandbox".to_owned(), pods);
    let with =
        |rules: &str, data: &Value| format!("{rules}\npolicy_data := {}\n", text::term(data));
    for (text, version) in [
        (with(&older, &renamed), "nacre0"),
        (with(RULES, &data()), "nacre1"),
    ] {
        match Rules::among(&table, text.clone()) {
            Rules::Known {
                version: is,
                policy,
            } => {
                assert_eq!((is, policy.data()), (version, &data()));
                assert_eq!(policy.text, text, "the text stays the one that is hashed");
            }
            Rules::Unknown { reason, .. } => panic!("{version}: {reason}"),
        }
    }
    // Neither is read as the other, and an older text that was not kept is unknown.
    for text in [with(&older, &data()), with(RULES, &renamed)] {
        let read = Rules::among(&table, text);
        assert!(matches!(
            read,
            Rules::Unknown {
                reason: Unknown::Data,
                ..
            }
        ));
    }
    assert_eq!(reason(with(&older, &renamed)), Unknown::Rules);
}

/// A guest judges by the rules in its policy, whatever this program would write today.
#[test]
fn a_session_has_the_rules_of_its_policy() {
    let asked = |rules: &str| {
        let text = format!("{rules}\npolicy_data := {}\n", text::term(&data()));
        let mut policy = match Rules::of_text(with_data(&text::term(&data()))) {
            Rules::Known { policy, .. } => policy,
            Rules::Unknown { reason, .. } => panic!("{reason}"),
        };
        policy.text = text;
        let mut session = policy.session().unwrap();
        session
            .probe("GetMetricsRequest", &json!({}))
            .unwrap()
            .allowed
    };
    let older = RULES.replace(
        "\nGetMetricsRequest := false",
        "\nGetMetricsRequest := true",
    );
    assert_ne!(older, RULES);
    assert_eq!((asked(RULES), asked(&older)), (false, true));
}

#[test]
fn nothing_but_plain_data_is_accepted_as_data() {
    for data in [
        // a rule behind the data would widen what the rules allow
        "{\n\t\"x\": \"y\",\n}\nExecProcessRequest := true",
        "{\n\t\"x\": input.x,\n}",
        "{\n\t\"x\": concat(\"\", [data.x]),\n}",
        "{\n\t\"x\": `raw`,\n}",
        "{\n\t\"x\": \"y\", \"x\": \"z\",\n}",
        "{\n\t\"x\": \"y\"",
        "{\n\t\"x\": [1 2],\n}",
        "{\n\t\"x\": \"y\", # comment\n}",
    ] {
        assert_eq!(data_of(&format!("{data}\n")), None, "{data}");
        assert_eq!(reason(with_data(data)), Unknown::Data, "{data}");
    }
    let deep = format!("{{\n\t\"x\": {}1{}}}\n", "[".repeat(99), "]".repeat(99));
    assert_eq!(data_of(&deep), None);
}

/// The members of every object of the data that is not keyed by names, as JSON pointers.
fn members(value: &Value, at: &str, out: &mut Vec<String>) {
    let named = [
        "/containers",
        "/env",
        "/mounts",
        "/annotations",
        "/storages",
        "/sysctl",
    ];
    for (key, member) in value.as_object().into_iter().flatten() {
        let below = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        if !named.iter().any(|name| at.ends_with(name)) || at == "/containers" {
            out.push(below.clone());
        }
        members(member, &below, out);
    }
}

#[test]
fn data_of_another_form_are_unknown() {
    let text = |data: &Value| with_data(&text::term(data));
    let whole = data();
    assert!(matches!(Rules::of_text(text(&whole)), Rules::Known { .. }));
    let mut pointers = Vec::new();
    members(&whole, "", &mut pointers);
    for pointer in &pointers {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/");
        let container = parent == "/containers" && key != PAUSE;
        // Without a member, with another one beside it, with another type, with something else that is true.
        let change = |change: &dyn Fn(&mut Map<String, Value>)| {
            let mut data = whole.clone();
            change(data.pointer_mut(parent).unwrap().as_object_mut().unwrap());
            matches!(Rules::of_text(text(&data)), Rules::Known { .. })
        };
        let optional = container || pointer.ends_with("/logs") || parent == "/target";
        let lacks = change(&|members| drop(members.shift_remove(&key)));
        assert!(!lacks || optional, "without {pointer}");
        if parent != "/containers" {
            let more = change(&|members| drop(members.insert("label".to_owned(), "strict".into())));
            assert!(!more, "beside {pointer}");
        }
        let other = change(&|members| drop(members.insert(key.clone(), json!(7))));
        assert!(!other, "{pointer}");
    }
    // What the rules take as a yes, what only the sandbox may lack, what the sandbox may not have, and parts
    // that the target decides.
    for (pointer, value) in [
        ("/containers/app/debug", json!("true")),
        ("/containers/app/logs", json!(false)),
        ("/containers/app/kind", json!("pause")),
        ("/containers/app/masked", json!("/proc/keys")),
        ("/containers/app/masked", json!("")),
        ("/containers/app/base", json!("open")),
        ("/containers/app/want/user", json!([0, 0, [0], {"x": 1}])),
        ("/containers/app/want/user", json!([0, 0, [0], ""])),
        ("/containers/app/args", json!([{"is": "=x", "and": "y"}])),
        // What would pin nothing.
        ("/containers/app/args", json!([{"is": "^[\\s\\S]*.*$"}])),
        ("/containers/app/args", json!([{"is": "x"}])),
        ("/containers/app/env", json!({"A": "^.*$"})),
        (
            "/containers/app/image",
            json!(["registry.example.org/app:v1"]),
        ),
        ("/containers/app/image", json!([])),
        (
            "/containers/app/mounts",
            json!({"/x": ["bind", "/", "rbind,rw"]}),
        ),
        (
            "/containers/app/mounts",
            json!({"/x": ["bind", "/run/kata-containers/y", "rbind,rw"]}),
        ),
        (
            "/containers/app/mounts",
            json!({"/x": ["bind", "{block}v", "rbind,rw"]}),
        ),
        (
            "/containers/app/mounts",
            json!({"/x": ["bind", "/dev/../etc", "rbind,rw"]}),
        ),
        (
            "/storages",
            json!({"/etc": {"driver": "ephemeral", "fstype": "tmpfs", "source": "tmpfs"}}),
        ),
        (
            "/storages",
            json!({"/run/kata-containers/sandbox/ephemeral/v": {"driver": "blk", "fstype": "ext4", "source": "x"}}),
        ),
        ("/block", json!({"fstype": "ext4", "shared": true})),
        ("/pod/annotations", json!({"cdi.k8s.io/x": "^a$"})),
        (
            "/pod/annotations",
            json!({"io.katacontainers.config.x": "^.*$"}),
        ),
        ("/pod/name", json!("^.*$")),
        ("/pod/host", json!("^[a-z0-9.-]{0,253}$")),
        ("/containers/./stdin", json!(true)),
        ("/containers/./exec", json!([["/x"]])),
        ("/mounts/app/~1usr", json!(["bind", "{file}x", "rbind,ro"])),
        ("/mounts/more", json!({})),
        ("/target/devices", json!(["blk", "mmioblk"])),
        ("/target/cgroup", json!("")),
        ("/target/name", json!("kata-9/1")),
    ] {
        let mut data = whole.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let members = data.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        members.insert(key.replace("~1", "/"), value);
        assert_eq!(reason(text(&data)), Unknown::Data, "{pointer}");
    }
}

#[test]
fn other_keys_of_the_document_make_a_policy_unknown() {
    let text = with_data(&text::term(&data()));
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
