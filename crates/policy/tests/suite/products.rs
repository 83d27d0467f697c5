//! What is printed, reported and documented; foreign requests.

use std::collections::BTreeSet;

use nacre_policy::evaluate::{Denial, Session};
use nacre_policy::explain::CHECKS;
use nacre_policy::report::{self, Risk};
use nacre_policy::{Profile, request};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::{attached, mesh, small};

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
