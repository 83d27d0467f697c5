//! Explanations, simulations, reports; hostile requests.

use nacre_policy::evaluate::{Denial, Session};
use nacre_policy::explain::{ExplainError, explain};
use nacre_policy::report::{self, Risk};
use nacre_policy::{Profile, request, simulate};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{mesh, small};

#[test]
fn a_request_is_explained_with_expected_and_actual() {
    let case = mesh();
    let policy = case.policy();
    let life = case.with(request::life);
    let create = life
        .iter()
        .find(|r| r.message == "CreateContainerRequest" && r.container.as_deref() == Some("web"))
        .unwrap();
    let mut changed = create.input.clone();
    changed["OCI"]["Process"]["Args"] = json!(["/bin/sh"]);
    changed["OCI"]["Process"]["User"]["UID"] = 0.into();
    let explained = case
        .with(|i| explain(&changed.to_string(), i, &policy))
        .unwrap();
    assert_eq!(explained.container, "web");
    let checks: Vec<_> = explained.causes.iter().map(|c| c.check.as_str()).collect();
    assert_eq!(checks, ["args", "user"]);
    assert_eq!(explained.causes[0].actual, Some(json!(["/bin/sh"])));
    assert_eq!(explained.causes[0].field, "spec.containers[0].command");
    assert_eq!(
        explained.causes[1].expected,
        Some(json!([1000, 0, [0], ""]))
    );
    assert_eq!(explained.causes[1].actual, Some(json!([0, 0, [0], ""])));
    // Unchanged, it passes.
    let same = case.with(|i| explain(&create.input.to_string(), i, &policy));
    assert_eq!(
        same,
        Err(ExplainError::Allowed {
            message: "CreateContainerRequest".to_owned()
        })
    );
    // As the agent logs it.
    let logged = json!({"kind": "CreateContainerRequest", "request": changed}).to_string();
    assert_eq!(
        case.with(|i| explain(&logged, i, &policy)).unwrap(),
        explained
    );
}

#[test]
fn a_bare_event_is_explained() {
    let case = mesh();
    let policy = case.policy();
    let mut event = "Error: failed to create containerd task: failed to create shim task: rpc status: Status { code: PERMISSION_DENIED, message: \"\\\"CreateContainerRequest is blocked by policy: agent_policy:62: nacre1 web env,mounts\\\"\" }".to_owned();
    for _ in 0..3 {
        let explained = case.with(|i| explain(&event, i, &policy)).unwrap();
        assert_eq!(explained.message.as_deref(), Some("CreateContainerRequest"));
        let fields: Vec<_> = explained.causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.containers[0].env", "spec.containers[0].volumeMounts"]
        );
        event = Value::from(event).to_string();
    }
    assert_eq!(
        case.with(|i| explain("no policy here", i, &policy)),
        Err(ExplainError::Nothing)
    );
}

#[test]
fn a_denial_prints_names_only() {
    let case = mesh();
    let mut session = case.policy().session().unwrap();
    for request in case.with(request::life) {
        if request.message == "CreateContainerRequest" {
            let mut changed = request.input.clone();
            changed["OCI"]["Process"]["Args"] = json!(["s3cret-argument"]);
            changed["OCI"]["Process"]["Env"] = json!(["TOKEN=s3cret-value"]);
            changed["OCI"]["Annotations"]["io.kubernetes.cri.container-name"] =
                "s3cret-name".into();
            let decision = session.probe(request.message, &changed).unwrap();
            assert!(!decision.allowed);
            let text = decision.prints.join(" ");
            assert!(!text.contains("s3cret"), "{text}");
            assert_eq!(Denial::parse(&text).unwrap().container, "?");
        }
        session.request(request.message, &request.input).unwrap();
    }
}

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
fn a_report_names_what_is_open() {
    let mut case = mesh();
    let policy = case.policy();
    assert_eq!(report::risk(&policy), Risk::Medium);
    let text = report::markdown("shop/web", &policy);
    assert!(text.contains("content of `/etc/web`"), "{text}");
    case.configure = |input| input.profile = Profile::Debug;
    assert_eq!(report::risk(&case.policy()), Risk::Critical);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        Just(Value::from("../../x")),
        Just(Value::from("a".repeat(64))),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[A-Za-z_]{1,12}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever stands in a request, evaluation ends, and what it does not know it refuses.
    #[test]
    fn foreign_requests_never_panic_and_never_pass(value in json_value(), key in "[A-Za-z]{1,10}") {
        let case = small();
        let mut session: Session = case.policy().session().unwrap();
        for request in case.with(request::life).into_iter().take(9) {
            if request.message == "CreateContainerRequest" {
                let mut input = request.input.clone();
                input["OCI"][key.as_str()] = value.clone();
                let _ = session.probe(request.message, &input);
                let mut input = request.input.clone();
                input["OCI"]["Process"] = value.clone();
                prop_assert!(!session.probe(request.message, &input).is_ok_and(|d| d.allowed));
                prop_assert!(!session.probe(request.message, &value).is_ok_and(|d| d.allowed));
            }
            session.request(request.message, &request.input).unwrap();
        }
    }
}

#[test]
fn self_check_and_generation_are_fast() {
    // Ceilings far above what a quiet machine needs, so that only a change of order is caught:
    // debug build, loaded machine.
    let case = mesh();
    case.policy();
    let start = std::time::Instant::now();
    for _ in 0..20 {
        case.policy();
    }
    let generation = start.elapsed() / 20;
    let policy = case.policy();
    case.with(|i| nacre_policy::self_check(&policy, i)).unwrap();
    let start = std::time::Instant::now();
    case.with(|i| nacre_policy::self_check(&policy, i)).unwrap();
    let check = start.elapsed();
    println!("generation {generation:?}, self check {check:?}");
    assert!(
        generation.as_millis() < 200 && check.as_millis() < 3_000,
        "{generation:?} {check:?}"
    );
}
