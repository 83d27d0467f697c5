//! Explanations, simulations, reports; hostile requests.

use std::collections::BTreeSet;

use nacre_policy::evaluate::{Denial, Session};
use nacre_policy::explain::{CHECKS, Cause, ExplainError, Explanation, Pod, explain};
use nacre_policy::report::{self, Risk};
use nacre_policy::{Profile, request, simulate};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{Case, attached, mesh, small};

/// Explains a text against the policy of a case.
fn explained(case: &Case, text: &str) -> Result<Explanation, ExplainError> {
    let policy = case.policy();
    let pod = Pod {
        spec: &case.spec,
        path: "spec",
    };
    explain(text, &policy, pod, None)
}

/// The create request of a container.
fn create(case: &Case, container: &str) -> Value {
    let life = case.with(request::life);
    let found = life.iter().find(|r| {
        r.message == "CreateContainerRequest" && r.container.as_deref() == Some(container)
    });
    found.unwrap().input.clone()
}

#[test]
fn a_request_is_explained_with_expected_and_actual() {
    let case = mesh();
    let same = create(&case, "web");
    let mut changed = same.clone();
    changed["OCI"]["Process"]["Args"] = json!(["/bin/sh"]);
    changed["OCI"]["Process"]["User"]["UID"] = 0.into();
    let found = explained(&case, &changed.to_string()).unwrap();
    assert_eq!(found.container, "web");
    let checks: Vec<_> = found.causes.iter().map(|c| c.check.as_str()).collect();
    assert_eq!(checks, ["args", "user"]);
    assert_eq!(found.causes[0].actual, Some(json!(["/bin/sh"])));
    assert_eq!(found.causes[0].field, "spec.containers[0].command");
    assert_eq!(found.causes[1].field, "spec.containers[0].image");
    assert_eq!(found.causes[1].expected, Some(json!([1000, 0, [0], {}])));
    assert_eq!(found.causes[1].actual, Some(json!([0, 0, [0], {}])));
    // As the agent logs it.
    let logged = json!({"kind": "CreateContainerRequest", "request": changed}).to_string();
    assert_eq!(explained(&case, &logged).unwrap(), found);
    // Unchanged, it passes: whatever the cluster calls pod, host and addresses.
    let other = same.to_string();
    let other = other.replace("web-6d4cf56db9-x7k2p", "web-7b9f-bcdfg");
    let other = other.replace("10.244.0.16", "10.3.4.5");
    for text in [same.to_string(), other] {
        assert_eq!(
            explained(&case, &text),
            Err(ExplainError::Allowed {
                message: "CreateContainerRequest".to_owned()
            })
        );
    }
}

#[test]
fn a_bare_event_is_explained() {
    let case = mesh();
    let mut event = "Error: failed to create containerd task: failed to create shim task: rpc status: Status { code: PERMISSION_DENIED, message: \"\\\"CreateContainerRequest is blocked by policy: agent_policy:62: nacre1 web env,mounts\\\"\" }".to_owned();
    for _ in 0..3 {
        let found = explained(&case, &event).unwrap();
        assert_eq!(found.message.as_deref(), Some("CreateContainerRequest"));
        assert!(!found.cut);
        let fields: Vec<_> = found.causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(
            fields,
            ["spec.containers[0].env", "spec.containers[0].volumeMounts"]
        );
        // What the policy holds, without a value of a variable.
        let expected = found.causes[0].expected.as_ref().unwrap().to_string();
        assert!(
            expected.contains("\"GREETING\"") && !expected.contains("hello"),
            "{expected}"
        );
        event = Value::from(event).to_string();
    }
    let at = event.find("mounts").unwrap();
    let cut = explained(&case, &event[..at + 3]).unwrap();
    assert!(cut.cut);
    assert_eq!(cut.causes.len(), 2, "{cut:?}");
    assert_eq!(
        explained(&case, "no policy here"),
        Err(ExplainError::Nothing)
    );
    assert_eq!(
        explained(
            &case,
            "CreateContainerRequest is blocked by policy: agent_po"
        ),
        Err(ExplainError::Bare {
            message: "CreateContainerRequest".to_owned()
        })
    );
}

/// The one cause of a changed create request of the web container.
fn cause_of(change: impl FnOnce(&mut Value)) -> Cause {
    let case = mesh();
    let mut request = create(&case, "web");
    change(&mut request);
    let mut found = explained(&case, &request.to_string()).unwrap();
    assert_eq!(found.causes.len(), 1, "{found:#?}");
    found.causes.remove(0)
}

#[test]
fn likely_causes_are_told_from_the_request() {
    let cause = cause_of(|r| {
        let text = r.to_string().replace(
            "ghcr.io/example/web@sha256:67",
            "ghcr.io/example/web@sha256:00",
        );
        *r = serde_json::from_str(&text).unwrap();
    });
    assert_eq!(cause.check, "image");
    assert!(
        cause
            .likely
            .starts_with("a stale tag: the pod asks for sha256:00"),
        "{}",
        cause.likely
    );

    let env = |entry: &'static str| {
        move |r: &mut Value| {
            r["OCI"]["Process"]["Env"]
                .as_array_mut()
                .unwrap()
                .push(entry.into())
        }
    };
    let cause = cause_of(env("BACK_END_SERVICE_HOST=10.0.0.9"));
    assert_eq!(cause.check, "env");
    assert!(
        cause.likely.ends_with("not rendered along: back-end"),
        "{}",
        cause.likely
    );
    let cause = cause_of(env("TOKEN=s3cret"));
    assert!(
        cause.likely.contains("TOKEN added by an admission webhook"),
        "{}",
        cause.likely
    );
    assert!(!format!("{cause:?}").contains("s3cret"));

    // A name like one that a Service gives, without the Service; then beside one.
    let push = |r: &mut Value, variables: &[&str]| {
        let env = r["OCI"]["Process"]["Env"].as_array_mut().unwrap();
        env.extend(variables.iter().map(|variable| Value::from(*variable)));
    };
    let cause = cause_of(|r| push(r, &["DD_TRACE_AGENT_PORT=8126"]));
    assert_eq!(
        cause.likely,
        "DD_TRACE_AGENT_PORT added by an admission webhook, or by an image that was rebuilt"
    );
    let cause = cause_of(|r| {
        let service = ["DB_SERVICE_HOST=10.0.0.9", "DB_PORT_80_TCP_ADDR=10.0.0.9"];
        push(r, &service);
        push(r, &["DB_PORTAL=x"]);
    });
    assert!(
        cause
            .likely
            .contains("not rendered along: db; DB_PORTAL added by"),
        "{}",
        cause.likely
    );
    let cause = cause_of(|r| {
        r["OCI"]["Annotations"]["io.kubernetes.cri.sandbox-namespace"] = "prod".into();
        let option = r["storages"][0]["driver_options"][0]
            .as_str()
            .unwrap()
            .to_owned();
        let option = option.replace(
            "\"io.kubernetes.cri.sandbox-namespace\":\"shop\"",
            "\"io.kubernetes.cri.sandbox-namespace\":\"prod\"",
        );
        r["storages"][0]["driver_options"][0] = option.into();
    });
    assert_eq!(cause.check, "annotations");
    assert!(
        cause
            .likely
            .starts_with("the wrong namespace: the pod runs in prod"),
        "{}",
        cause.likely
    );

    let cause = cause_of(|r| r["OCI"]["Version"] = "1.9.0".into());
    assert!(
        cause.likely.contains("OCI version 1.9.0"),
        "{}",
        cause.likely
    );

    let cause = cause_of(|r| {
        let token = json!({"destination": "/var/run/secrets/kubernetes.io/serviceaccount", "source": "/run/x", "type_": "bind", "options": []});
        r["OCI"]["Mounts"]
            .as_array_mut()
            .unwrap()
            .retain(|m| m["destination"] != token["destination"]);
    });
    assert_eq!(cause.check, "mounts");
    assert!(
        cause.likely.contains("automountServiceAccountToken"),
        "{}",
        cause.likely
    );

    let cause = cause_of(|r| r["OCI"]["Process"]["User"]["UID"] = 42.into());
    assert!(
        cause.likely.contains("USER of the image changed"),
        "{}",
        cause.likely
    );

    let cause = cause_of(|r| r["OCI"]["Linux"]["Seccomp"] = json!({"DefaultAction": "x"}));
    assert_eq!(cause.check, "zero");
    assert_eq!(
        cause.actual,
        Some(json!({"OCI.Linux.Seccomp": {"DefaultAction": "x"}}))
    );
}

#[test]
fn requests_by_id_find_their_container() {
    let case = mesh();
    let exec = case
        .with(request::life)
        .into_iter()
        .find(|r| r.message == "ExecProcessRequest" && r.container.as_deref() == Some("web"));
    let mut exec = exec.unwrap().input;
    exec["process"]["Args"] = json!(["/bin/sh"]);
    let found = explained(&case, &exec.to_string()).unwrap();
    assert_eq!(found.container, "web");
    assert_eq!(found.causes[0].check, "command");
    assert_eq!(found.causes[0].actual, Some(json!(["/bin/sh"])));
}

#[test]
fn what_has_no_line_is_explained_too() {
    let case = mesh();
    let found = explained(&case, "ReadStreamRequest is blocked by policy: ").unwrap();
    assert!(
        found.causes[0]
            .demands
            .contains("where the profile lets the host")
    );
    let found = explained(&case, "UpdateContainerRequest is blocked by policy: ").unwrap();
    assert!(
        found.causes[0]
            .demands
            .starts_with("this message is never served")
    );
    let found = explained(
        &case,
        "CreateContainerRequest is blocked by policy: nacre1 ? args,env",
    )
    .unwrap();
    assert_eq!(found.causes.len(), 1);
    assert_eq!(
        found.causes[0].expected,
        Some(json!([
            "contrast-initializer",
            "contrast-service-mesh",
            "web"
        ]))
    );
}

#[test]
fn an_id_that_was_never_created_is_no_unknown_container() {
    let case = mesh();
    let policy = case.policy();
    let id = "0123456789abcdef".repeat(4);
    let mut session = policy.session().unwrap();
    for request in case.with(request::life) {
        session.request(request.message, &request.input).unwrap();
        if request.message == "CreateSandboxRequest" {
            break;
        }
    }
    for (message, check) in [
        ("StartContainerRequest", "current"),
        ("RemoveContainerRequest", "known"),
        ("ExecProcessRequest", "live"),
    ] {
        let request = json!({"container_id": id, "exec_id": "0123456789abcdef", "timeout": 0});
        let denial = session.probe(message, &request).unwrap().denial().unwrap();
        assert_eq!(denial.container, "?");
        let checks = denial.checks.join(",");
        for text in [
            format!("{message} is blocked by policy: nacre1 ? {checks}"),
            format!("policy: nacre1 ? {checks}"),
        ] {
            let found = explained(&case, &text).unwrap();
            assert_eq!(found.causes.len(), 1, "{text}");
            assert_eq!(found.causes[0].check, check, "{text}");
            let likely = &found.causes[0].likely;
            assert!(
                likely.contains("this id was never created"),
                "{text}: {likely}"
            );
        }
    }
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
    let ours = |name: &str| name.starts_with("contrast-");
    let policy = case.policy();
    let open = report::open(&policy, &ours);
    assert_eq!(report::risk(&open), Risk::Medium);
    let text = report::markdown("shop/web", &policy, &ours);
    for part in [
        "content of `/etc/web`",
        "| `web` | `sha256:",
        "- `web`: run `/app --healthy`.",
        "- `contrast-initializer`: read its output.",
        "`/dev/sev-guest` of the guest",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let value = report::json(&policy, &ours);
    assert_eq!(value["risk"], "medium");
    assert_eq!(value["containers"][2]["readOnlyRoot"], false);
    // What a data part says counts, not who made it.
    let none = report::open(&policy, &|_| false);
    assert_eq!(report::risk(&none), Risk::High);
    case.configure = |input| input.profile = Profile::Logs;
    assert_eq!(
        report::risk(&report::open(&case.policy(), &ours)),
        Risk::High
    );
    case.configure = |input| input.profile = Profile::Debug;
    assert_eq!(
        report::risk(&report::open(&case.policy(), &ours)),
        Risk::Critical
    );
    let open = report::open(&attached().policy(), &ours);
    assert!(open.iter().any(|open| open.what == "its input"));
}

#[test]
fn wide_powers_are_high() {
    for (context, what) in [
        (json!({"privileged": true}), "all capabilities"),
        (
            json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
            "capability SYS_ADMIN",
        ),
    ] {
        let mut case = small();
        case.spec["containers"][0]["securityContext"] = context;
        let open = report::open(&case.policy(), &|_| false);
        assert!(
            open.iter().any(|o| o.what == what && o.risk == Risk::High),
            "{open:?}"
        );
    }
}

#[test]
fn what_no_policy_reaches_is_in_the_security_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SECURITY.md");
    let text = std::fs::read_to_string(path).unwrap();
    for (title, _) in report::BEYOND {
        assert!(
            text.contains(&format!("- **{title}**")),
            "{title} is not in SECURITY.md"
        );
    }
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
    let best = |run: &dyn Fn()| {
        let times = (0..5).map(|_| {
            let start = std::time::Instant::now();
            run();
            start.elapsed()
        });
        times.min().unwrap()
    };
    let policy = case.policy();
    let generation = best(&|| drop(case.policy()));
    let check = best(&|| case.with(|i| nacre_policy::self_check(&policy, i)).unwrap());
    println!("generation {generation:?}, self check {check:?}");
    assert!(
        generation.as_millis() < 200 && check.as_millis() < 3_000,
        "{generation:?} {check:?}"
    );
}

#[test]
fn every_check_has_a_row_in_the_documentation() {
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/policies.md"
    ));
    let page = page.unwrap();
    let (_, table) = page.split_once("| Check | Demands |\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let cells = table.lines().filter_map(|row| row.split('|').nth(1));
    let rows: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let checks: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(rows, checks);
}
