//! A pod's requests replayed, as they are and changed.

use nacre_policy::simulate;
use serde_json::json;

use crate::common::{mesh, small};

#[test]
fn replay_shows_verdicts_and_changes() {
    let case = mesh();
    let policy = case.policy();
    let rows = case.with(|i| simulate::replay(&policy, i, &[])).unwrap();
    assert!(rows.iter().all(|row| row.allowed));
    let change = "web:args=sh".parse().unwrap();
    let rows = case
        .with(|i| simulate::replay(&policy, i, &[change]))
        .unwrap();
    let denied: Vec<_> = rows
        .iter()
        .filter(|r| !r.allowed)
        .map(|r| (r.message, r.checks.clone()))
        .collect();
    assert_eq!(
        denied[0],
        ("CreateContainerRequest", vec!["args".to_owned()])
    );
    assert!("web".parse::<simulate::Change>().is_err());
    let nowhere = "other:args=sh".parse().unwrap();
    assert!(
        case.with(|i| simulate::replay(&policy, i, &[nowhere]))
            .is_err()
    );
}

#[test]
fn a_changed_image_is_another_image_everywhere() {
    let case = small();
    let image = |digit: &str| format!("ghcr.io/example/web@sha256:{}", digit.repeat(64));
    let mut other = small();
    let name = image("e");
    other.spec["containers"][0]["image"] = json!(name);
    let other = other.image(&name, |_| {});
    let verdict = |policy: &nacre_policy::Policy, name: &str| {
        let change = format!("web:image={name}").parse().unwrap();
        let rows = case
            .with(|i| simulate::replay(policy, i, &[change]))
            .unwrap();
        let create = rows.into_iter().find(|row| {
            row.message == "CreateContainerRequest" && row.container.as_deref() == Some("web")
        });
        create.map(|row| (row.allowed, row.checks)).unwrap()
    };
    let denied = (false, vec!["image".to_owned()]);
    assert_eq!(verdict(&case.policy(), &image("e")), denied);
    // Because of the digest alone: a policy for that image lets the same request pass.
    assert_eq!(verdict(&other.policy(), &image("e")), (true, vec![]));
    assert_eq!(verdict(&other.policy(), &image("f")), denied);
}

#[test]
fn a_list_may_hold_commas_in_json() {
    let mut case = small();
    case.spec["containers"][0]["command"] = json!(["/app", "a,b"]);
    let policy = case.policy();
    for (change, allowed) in [
        (r#"web:args=["/app","a,b"]"#, true),
        ("web:args=/app,a,b", false),
        (r#"web:args=["/app","a","b"]"#, false),
    ] {
        let changes = [change.parse().unwrap()];
        let rows = case
            .with(|i| simulate::replay(&policy, i, &changes))
            .unwrap();
        assert_eq!(rows.iter().all(|row| row.allowed), allowed, "{change}");
    }
}

#[test]
fn the_sandbox_has_one_name_in_the_table() {
    let case = small();
    let rows = case
        .with(|i| simulate::replay(&case.policy(), i, &[]))
        .unwrap();
    let of_sandbox = rows
        .iter()
        .filter(|row| row.container.as_deref() == Some("."));
    let titles: Vec<_> = of_sandbox.map(|row| row.title.as_str()).collect();
    for title in [
        "create: pause",
        "start: pause",
        "stop: pause",
        "remove: pause",
    ] {
        assert!(titles.contains(&title), "{title}: {titles:?}");
    }
    assert!(
        titles.iter().all(|title| title.ends_with(": pause")),
        "{titles:?}"
    );
}
