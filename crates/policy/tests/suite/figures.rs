//! What evaluation costs, in CPU time of the thread, so that a busy machine does not count.
//!
//! `cargo test -p nacre-policy --test suite -- --ignored --nocapture figures`; the engine is
//! optimised in test builds too, and keeps compiled patterns, which the agent's does not: there a request
//! costs about two thirds more. With `NACRE_PEER` set to a folder with a policy of genpolicy and its
//! recorded requests, the same figures of it stand beside ours.

use std::fs;
use std::path::Path;

use nacre_policy::evaluate::Session;
use nacre_policy::{request, self_check};
use serde_json::json;

use crate::common::{Case, mesh, small};
use crate::golden::twenty;

/// CPU time of this thread in nanoseconds (`/proc/thread-self/schedstat`, first number).
fn now() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Milliseconds that one of `rounds` calls takes.
fn each(rounds: u32, mut run: impl FnMut()) -> f64 {
    run();
    let start = now();
    for _ in 0..rounds {
        run();
    }
    (now() - start) as f64 / f64::from(rounds) / 1e6
}

/// CreateContainer of the last container, allowed and denied, in the agent's way of evaluation.
fn create(case: &Case) -> (f64, f64) {
    let mut session = Session::load(&case.policy().text).unwrap();
    let life = case.with(request::life);
    let last = life
        .iter()
        .rposition(|r| r.message == "CreateContainerRequest")
        .unwrap();
    for request in &life[..last] {
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    let mut hostile = life[last].input.clone();
    hostile["OCI"]["Process"]["Args"] = json!(["/bin/sh"]);
    let mut ask = |input, expected| {
        each(50, || {
            let decision = session.probe("CreateContainerRequest", input).unwrap();
            assert_eq!(decision.allowed, expected);
        })
    };
    (ask(&life[last].input, true), ask(&hostile, false))
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    for (name, case) in [("1", small()), ("3", mesh()), ("20", twenty())] {
        let (allowed, denied) = create(&case);
        let policy = case.policy();
        let check = each(5, || case.with(|i| self_check(&policy, i)).unwrap());
        let generation = each(20, || {
            case.policy().carrier(nacre_policy::Carrier::InitData);
        });
        let load = each(10, || {
            Session::load(&policy.text)
                .unwrap()
                .probe("SetPolicyRequest", &json!({}))
                .unwrap();
        });
        println!(
            "{name} containers: create {allowed:.2} ms, denied {denied:.2} ms, self-check \
             {check:.2} ms, generation with annotation {generation:.2} ms, load {load:.2} ms"
        );
    }
    if let Some(folder) = std::env::var_os("NACRE_PEER") {
        peer(Path::new(&folder));
    }
}

/// A policy of genpolicy with the requests recorded for its pod, as `microsoft/regorus` has them in
/// `tests/kata/data/*`: `policy.rego`, and a message a line in `inputs.txt`.
fn peer(folder: &Path) {
    let text = fs::read_to_string(folder.join("policy.rego")).unwrap();
    let inputs = fs::read_to_string(folder.join("inputs.txt")).unwrap();
    let load = each(10, || {
        Session::load(&text)
            .unwrap()
            .probe("GuestDetailsRequest", &json!({}))
            .unwrap();
    });
    let mut session = Session::load(&text).unwrap();
    let mut figures = Vec::new();
    for line in inputs.lines().filter(|line| !line.trim().is_empty()) {
        let line = line.strip_prefix("[\"ep\":\"").unwrap();
        let (message, rest) = line.split_once("\",").unwrap();
        let input = rest.trim_end_matches(',').strip_suffix(']').unwrap();
        let input: serde_json::Value = serde_json::from_str(input).unwrap();
        if message == "CreateContainerRequest" {
            let mut hostile = input.clone();
            hostile["OCI"]["Process"]["Args"] = json!(["/bin/sh"]);
            let mut ask = |input| {
                let allowed = session.probe(message, input).unwrap().allowed;
                (
                    allowed,
                    each(20, || drop(session.probe(message, input).unwrap())),
                )
            };
            figures.push([ask(&input), ask(&hostile)]);
        }
        session.request(message, &input).unwrap();
    }
    println!(
        "the peer's {}: load {load:.2} ms, CreateContainer, then with another command \
         (allowed, ms): {figures:.2?}",
        folder.display()
    );
}
