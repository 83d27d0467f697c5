//! What a hostile host could send instead: every change is denied, but for a documented few.

use std::collections::BTreeSet;

use nacre_policy::{mutate, request};

use crate::common::{Case, mesh, small};

/// Every mutation of every request of the pod's life, at the point of its life where the
/// original passes.
fn survivors(case: &Case) -> (usize, BTreeSet<String>) {
    let policy = case.policy();
    let mut session = policy.session().unwrap();
    let (mut tried, mut survived) = (0, BTreeSet::new());
    let mut seen = BTreeSet::new();
    for request in case.with(request::life) {
        // One of each kind: the next container's files and signals are asked the same.
        let short = (request.message != "CreateContainerRequest")
            && (request.message != "ExecProcessRequest");
        if short
            && !seen.insert((
                request.message,
                request.input["file_type"].clone().to_string(),
            ))
        {
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
    for case in [small(), mesh()] {
        let (tried, survived) = survivors(&case);
        assert!(tried >= 300, "only {tried} mutations");
        assert!(
            survived.is_empty(),
            "{} of {tried}: {survived:#?}",
            survived.len()
        );
    }
}
