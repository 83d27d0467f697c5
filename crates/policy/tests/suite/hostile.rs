//! What a hostile host could send instead: every change is denied, but for a documented few.

use std::collections::BTreeSet;

use nacre_policy::mutate::HARMLESS;
use nacre_policy::{mutate, request};
use serde_json::Value;

use crate::agent::Definitions;
use crate::common::{Case, attached, mesh, rich, small};

/// Every mutation of every request of the pod's life, at the point of its life where the
/// original passes.
fn survivors(case: &Case) -> (usize, BTreeSet<String>) {
    let policy = case.policy();
    let mut session = policy.session().unwrap();
    let (mut tried, mut survived) = (0, BTreeSet::new());
    let mut seen = BTreeSet::new();
    for request in case.with(request::life) {
        // One of each kind: the next container is asked the same.
        let kind = (request.message, request.input["file_type"].to_string());
        let app = request.container.as_deref() == Some("web");
        let create = matches!(
            request.message,
            "CreateContainerRequest" | "ExecProcessRequest"
        );
        let skip = if create {
            !app && case.initializer
        } else {
            !seen.insert(kind)
        };
        if skip {
            assert!(
                session
                    .request(request.message, &request.input)
                    .unwrap()
                    .allowed
            );
            continue;
        }
        for mutation in mutate::all(request.message, &request.input) {
            tried += 1;
            let allowed = session
                .probe(request.message, &mutation.input)
                .is_ok_and(|d| d.allowed);
            if allowed && mutate::harmless(request.message, &mutation).is_none() {
                survived.insert(format!("{}: {}", request.title, mutation.title));
            }
        }
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    (tried, survived)
}

#[test]
fn hostile_mutations_are_denied() {
    for case in [small(), mesh(), rich("kata-4")] {
        let (tried, survived) = survivors(&case);
        assert!(tried >= 300, "only {tried} mutations");
        assert!(
            survived.is_empty(),
            "{} of {tried}: {survived:#?}",
            survived.len()
        );
    }
}

#[test]
fn every_harmless_change_is_one_that_happens() {
    let mut used = BTreeSet::new();
    for case in [small(), mesh(), rich("kata-3"), rich("kata-4"), attached()] {
        let mut session = case.policy().session().unwrap();
        for request in case.with(request::life) {
            for mutation in mutate::all(request.message, &request.input) {
                let Some(row) = mutate::harmless(request.message, &mutation) else {
                    continue;
                };
                let at = HARMLESS.iter().position(|other| other == row).unwrap();
                if !used.contains(&at) {
                    let decision = session.probe(request.message, &mutation.input);
                    if decision.is_ok_and(|decision| decision.allowed) {
                        used.insert(at);
                    }
                }
            }
            session.request(request.message, &request.input).unwrap();
        }
    }
    let unused = HARMLESS.iter().enumerate();
    let unused: Vec<_> = unused.filter(|(at, _)| !used.contains(at)).collect();
    assert!(unused.is_empty(), "nothing needs {unused:#?}");
}

/// Objects in which a member that a newer agent adds may hold something: limits, device numbers, the network and
/// messages that are answered whatever they hold or by the container they name.
const FREE: &[(&str, &[&str])] = &[
    (
        "CreateContainerRequest",
        &[
            "OCI.Linux.Devices[]",
            "OCI.Linux.Resources.CPU",
            "OCI.Linux.Resources.Memory",
        ],
    ),
    // The agent takes the user of the sandbox from the measured guest.
    (
        "pause",
        &[
            "OCI.Linux.Resources.CPU",
            "OCI.Linux.Resources.Memory",
            "OCI.Process.User",
        ],
    ),
    (
        "UpdateInterfaceRequest",
        &["", "interface", "interface.IPAddresses[]"],
    ),
    ("UpdateRoutesRequest", &["", "routes", "routes.Routes[]"]),
    (
        "AddARPNeighborsRequest",
        &[
            "",
            "neighbors",
            "neighbors.ARPNeighbors[]",
            "neighbors.ARPNeighbors[].toIPAddress",
        ],
    ),
    ("CloseStdinRequest", &[""]),
    ("CopyFileRequest", &[""]),
    ("DestroySandboxRequest", &[""]),
    ("GetOOMEventRequest", &[""]),
    ("GuestDetailsRequest", &[""]),
    ("ReadStreamRequest", &[""]),
    ("RemoveContainerRequest", &[""]),
    ("SignalProcessRequest", &[""]),
    ("StartContainerRequest", &[""]),
    ("StatsContainerRequest", &[""]),
    ("WaitProcessRequest", &[""]),
    ("WriteStreamRequest", &[""]),
];

/// A JSON pointer with list positions left out, as paths of fields are written.
fn general(pointer: &str) -> String {
    let mut out = String::new();
    for step in pointer.split('/').skip(1) {
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str("[]");
        } else {
            let dot = if out.is_empty() { "" } else { "." };
            out.push_str(dot);
            out.push_str(step);
        }
    }
    out
}

#[test]
fn a_member_of_a_newer_agent_must_be_empty() {
    let agent = Definitions::read();
    let (mut free, mut whole) = (BTreeSet::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for case in [small(), mesh(), rich("kata-3"), rich("kata-4"), attached()] {
        let mut session = case.policy().session().unwrap();
        for request in case.with(request::life) {
            let objects = agent.objects(request.message, &request.input);
            for (pointer, _) in objects.iter().filter(|(_, members)| members.is_some()) {
                let mut ask = |value: Value| {
                    let mut input = request.input.clone();
                    let object = input.pointer_mut(pointer).unwrap();
                    object["Newer"] = value;
                    // What cannot be evaluated is denied.
                    let decision = session.probe(request.message, &input);
                    decision.is_ok_and(|decision| decision.allowed)
                };
                let pause = request.message == "CreateContainerRequest"
                    && request.container.as_deref() == Some(".");
                let message = if pause { "pause" } else { request.message };
                let place = (message, general(pointer));
                let answers = [ask("something".into()), ask(1.into())];
                assert_eq!(answers[0], answers[1], "{place:?}");
                if answers[0] {
                    free.insert(place.clone());
                }
                if !ask(Value::Null) {
                    whole.insert(place.clone());
                }
                seen.insert(place);
            }
            let decision = session.request(request.message, &request.input);
            assert!(decision.unwrap().allowed, "{}", request.title);
        }
    }
    let listed: BTreeSet<_> = FREE
        .iter()
        .flat_map(|(message, paths)| paths.iter().map(|path| (*message, (*path).to_owned())))
        .collect();
    assert_eq!(free, listed);
    // In what is compared as a whole it may not even stand.
    let capabilities = "OCI.Process.Capabilities".to_owned();
    let compared = ["CreateContainerRequest", "pause"].map(|m| (m, capabilities.clone()));
    assert_eq!(whole, compared.into());
    assert!(seen.len() > 50, "{}", seen.len());
}
