//! What controllers and admission add to a pod after it was rendered.

use nacre_policy::evaluate::Session;
use nacre_policy::{generate, request, self_check};
use serde_json::json;

use crate::common::{Case, small};

/// An Indexed Job whose pods are told their part.
fn indexed(kind: &str) -> Case {
    let mut case = small();
    case.kind = kind.to_owned();
    case.configure = |input| input.indexed = true;
    case.spec["containers"][0]["args"] = json!(["--part=$(JOB_COMPLETION_INDEX)"]);
    case
}

/// The first request of a pod's life that is denied, with these texts in place of others.
fn denied(case: &Case, changes: &[(&str, &str)]) -> Option<String> {
    let mut session = Session::load(&case.policy().text).unwrap();
    case.with(request::life).into_iter().find_map(|request| {
        let mut input = request.input.to_string();
        for (from, to) in changes {
            input = input.replace(from, to);
        }
        let input = serde_json::from_str(&input).unwrap();
        let decision = session.request(request.message, &input).unwrap();
        (!decision.allowed).then(|| decision.denial().unwrap().checks.join(","))
    })
}

#[test]
fn pods_of_an_indexed_job_have_an_index() {
    for (kind, job) in [("Job", "web"), ("CronJob", "web-29384760")] {
        let mut case = indexed(kind);
        assert_eq!(denied(&case, &[]), None, "{kind}");
        let own = format!("{job}-0");
        let other = format!("{job}-417");
        let renamed = (own.as_str(), other.as_str());
        let variable = ("JOB_COMPLETION_INDEX=0", "JOB_COMPLETION_INDEX=417");
        let argument = ("--part=0", "--part=417");
        assert_eq!(
            denied(&case, &[renamed, variable, argument]),
            None,
            "{kind}"
        );
        for (change, check) in [
            (("JOB_COMPLETION_INDEX=0", "JOB_COMPLETION_INDEX=x"), "env"),
            (("\"JOB_COMPLETION_INDEX=0\"", "\"A=0\""), "env"),
            (("--part=0", "--part=$(x)"), "args"),
            ((own.as_str(), job), "names"),
        ] {
            assert_eq!(
                denied(&case, &[change]),
                Some(check.to_owned()),
                "{change:?}"
            );
        }
        // The controller overwrites the template's host name.
        case.spec["hostname"] = json!("mine");
        assert_eq!(denied(&case, &[]), None, "{kind}");
        // Other jobs have no such host name.
        case.spec["hostname"] = json!(null);
        case.spec["containers"][0]["args"] = json!([]);
        case.configure = |_| {};
        assert_eq!(denied(&case, &[]), None, "{kind}");
        let plain = format!("{job}-x7k2p");
        let change = (plain.as_str(), other.as_str());
        assert_eq!(denied(&case, &[change]), Some("names".to_owned()));
    }
}

#[test]
fn a_long_name_of_an_indexed_job_is_cut_before_the_index() {
    for kind in ["Job", "CronJob"] {
        for length in [30, 38, 48, 49, 52] {
            let mut case = indexed(kind);
            case.name = "long-name-".repeat(6)[..length]
                .trim_end_matches('-')
                .to_owned();
            assert_eq!(denied(&case, &[]), None, "{kind} {}", case.name);
        }
    }
}

#[test]
fn a_variable_of_the_pods_own_wins_over_the_controllers() {
    let mut case = indexed("Job");
    case.spec["containers"][0]["env"] = json!([{"name": "JOB_COMPLETION_INDEX", "value": "7"}]);
    assert_eq!(denied(&case, &[]), None);
    let text = case.policy().text;
    assert!(text.contains("\"JOB_COMPLETION_INDEX\": \"=7\"") && text.contains("\"--part=7\""));
}

#[test]
fn the_index_can_be_taken_from_label_and_annotation() {
    for map in ["labels", "annotations"] {
        let path = format!("metadata.{map}['batch.kubernetes.io/job-completion-index']");
        let mut case = indexed("Job");
        case.spec["containers"][0]["env"] =
            json!([{"name": "PART", "valueFrom": {"fieldRef": {"fieldPath": path}}}]);
        assert_eq!(denied(&case, &[]), None);
        assert_eq!(
            denied(&case, &[("PART=0", "PART=x")]),
            Some("env".to_owned())
        );
        case.configure = |_| {};
        assert!(case.with(generate).is_err(), "{map}");
    }
}

/// Whether the policy wants the token, and whether it says that this is a guess.
fn token(case: &Case) -> (bool, bool) {
    let policy = case.policy();
    case.with(|input| self_check(&policy, input)).unwrap();
    let mounted = policy
        .text
        .contains("/var/run/secrets/kubernetes.io/serviceaccount");
    let mut findings = policy.findings.iter();
    (mounted, findings.any(|f| f.code.to_string() == "NCR0522"))
}

#[test]
fn the_service_account_decides_where_the_pod_says_nothing() {
    let mut case = small();
    assert_eq!(token(&case), (true, true));
    case.configure = |input| input.automount = Some(false);
    assert_eq!(token(&case), (false, false));
    case.spec["automountServiceAccountToken"] = json!(true);
    assert_eq!(token(&case), (true, false));
    case.configure = |input| input.automount = Some(true);
    case.spec["automountServiceAccountToken"] = json!(false);
    assert_eq!(token(&case), (false, false));
    case.spec["automountServiceAccountToken"] = json!(null);
    assert_eq!(token(&case), (true, false));
}
