//! Every field of every message, changed one by one, with values made from the schema.

use std::collections::BTreeSet;

use nacre_policy::evaluate::Session;
use nacre_policy::request::{self, Request};
use nacre_policy::rules::RULES;
use nacre_policy::schema::{FIELDS, Field, Guard, Kind, fields};
use serde_json::Value;

use crate::common::{Case, attached, mesh, rich, small};

fn cases() -> [Case; 5] {
    [small(), mesh(), rich("kata-3"), rich("kata-4"), attached()]
}

/// Paths of a request, as the schema spells them.
fn paths(request: &Request) -> BTreeSet<String> {
    fn walk(message: &str, value: &Value, path: &str, out: &mut BTreeSet<String>) {
        let listed = fields(message).find(|field| field.path == path);
        if listed.is_some_and(|field| field.kind != Kind::List) {
            out.insert(path.to_owned());
            return;
        }
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(message, member, &format!("{path}{dot}{key}"), out);
                }
            }
            Value::Array(items) => {
                out.insert(path.to_owned());
                for item in items {
                    walk(message, item, &format!("{path}[]"), out);
                }
            }
            _ => {
                out.insert(path.to_owned());
            }
        }
    }
    let mut out = BTreeSet::new();
    walk(request.message, &request.input, "", &mut out);
    out
}

#[test]
fn the_builder_and_the_schema_have_the_same_fields() {
    let mut seen: BTreeSet<(&str, String)> = BTreeSet::new();
    for case in cases() {
        for request in case.with(request::life) {
            if fields(request.message).next().is_none() {
                continue;
            }
            seen.extend(
                paths(&request)
                    .into_iter()
                    .map(|path| (request.message, path)),
            );
        }
    }
    let listed: BTreeSet<(&str, String)> = FIELDS
        .iter()
        .map(|f| (f.message, f.path.to_owned()))
        .collect();
    assert_eq!(listed.len(), FIELDS.len(), "a field is listed twice");
    let unlisted: Vec<_> = seen.difference(&listed).collect();
    assert!(unlisted.is_empty(), "no guard is named for {unlisted:#?}");
    let unmade: Vec<_> = listed.difference(&seen).collect();
    assert!(unmade.is_empty(), "no request has {unmade:#?}");
}

#[test]
fn messages_without_fields_are_answered_whatever_they_hold() {
    for case in cases() {
        for request in case.with(request::life) {
            let message = request.message;
            if fields(message).next().is_none() {
                let line = format!("\n{message} := true\n");
                assert!(RULES.contains(&line), "{message} has a rule and no fields");
            }
        }
    }
}

#[test]
fn every_check_of_the_rules_guards_a_field_or_the_state() {
    // These look at what happened before, not at a value of the request.
    let state = ["once", "live", "order", "dns", "host"];
    for line in RULES.lines() {
        let Some((_, rest)) = line.split_once(" contains \"") else {
            continue;
        };
        let check = rest.split('"').next().unwrap();
        let guards = FIELDS.iter().any(|field| field.is_guarded_by(check));
        assert!(guards || state.contains(&check), "{check} guards no field");
    }
}

/// Whether a guard is about this request at all: some depend on another field of it.
fn applies(field: &Field, request: &Request) -> bool {
    let kind = request.input.get("file_type").and_then(Value::as_str);
    let pause = request.container.as_deref() == Some(".");
    match (field.message, field.path) {
        ("CopyFileRequest", "symlink_target") => kind == Some("Symlink"),
        ("CopyFileRequest", "file_mode") => kind == Some("Regular"),
        // The agent takes the user of the sandbox from the measured guest.
        ("CreateContainerRequest", path) => !(pause && path.starts_with("OCI.Process.User")),
        _ => true,
    }
}

#[derive(Default)]
struct Found {
    tried: usize,
    wrong: Vec<String>,
    /// Checks that failed alone for some value.
    alone: BTreeSet<String>,
}

/// Puts every hostile value into every field of every request, at its place in the pod's life.
fn change_each(case: &Case, found: &mut Found) {
    let mut session: Session = case.policy().session().unwrap();
    let mut copied = BTreeSet::new();
    for request in case.with(request::life) {
        let kind = request.input.get("file_type").map(Value::to_string);
        // One of each kind of copied file: the next asks the same.
        if request.message != "CopyFileRequest" || copied.insert(kind) {
            for field in fields(request.message).filter(|field| applies(field, &request)) {
                change(field, &request, &mut session, found);
            }
        }
        let decision = session.request(request.message, &request.input).unwrap();
        assert!(decision.allowed, "{}", request.title);
    }
}

fn change(field: &Field, request: &Request, session: &mut Session, found: &mut Found) {
    for (pointer, value) in field.values(&request.input) {
        for hostile in field.hostile(value) {
            let mut input = request.input.clone();
            *input.pointer_mut(&pointer).unwrap() = hostile.clone();
            found.tried += 1;
            let decision = session.probe(request.message, &input);
            let (allowed, checks) = match &decision {
                Ok(decision) => (
                    decision.allowed,
                    decision.denial().map(|d| d.checks).unwrap_or_default(),
                ),
                Err(_) => (false, Vec::new()),
            };
            if let [check] = checks.as_slice() {
                found.alone.insert(check.clone());
            }
            let as_said = match field.guard {
                Guard::Checks(guards) => {
                    !allowed && checks.iter().any(|check| guards.contains(&check.as_str()))
                }
                Guard::Partly(guards, _) => {
                    allowed || checks.iter().any(|check| guards.contains(&check.as_str()))
                }
                Guard::Rule(_) => !allowed,
                Guard::Free(_) => allowed,
            };
            if !as_said {
                found.wrong.push(format!(
                    "{}: {pointer} = {hostile}: allowed {allowed}, {checks:?}",
                    request.title
                ));
            }
        }
    }
}

#[test]
fn each_field_changed_alone_meets_its_guard() {
    let mut found = Found::default();
    for case in [mesh(), rich("kata-3"), rich("kata-4")] {
        change_each(&case, &mut found);
    }
    assert!(
        found.wrong.is_empty(),
        "{} of {}: {:#?}",
        found.wrong.len(),
        found.tried,
        found.wrong
    );
    assert!(found.tried > 2_000, "{}", found.tried);
    println!("{} changed fields", found.tried);
    // Each check refuses something that no other check refuses: none is there for show.
    for field in FIELDS {
        let Guard::Checks(checks) = field.guard else {
            continue;
        };
        for check in checks {
            assert!(found.alone.contains(*check), "{check} never fails alone");
        }
    }
}

#[test]
fn streams_are_open_only_where_they_are_given() {
    let mut found = Found::default();
    let case = attached();
    let mut session = case.policy().session().unwrap();
    for request in case.with(request::life) {
        if [
            "WriteStreamRequest",
            "CloseStdinRequest",
            "ReadStreamRequest",
        ]
        .contains(&request.message)
        {
            for field in fields(request.message) {
                change(field, &request, &mut session, &mut found);
            }
        }
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    assert!(found.tried > 15, "{}", found.tried);
    assert!(found.wrong.is_empty(), "{:#?}", found.wrong);
}

#[test]
fn a_message_without_a_part_is_denied() {
    // Nothing where a message should be: protobuf can leave out any of them.
    let case = mesh();
    let mut session = case.policy().session().unwrap();
    let mut tried = 0;
    for request in case.with(request::life) {
        let guarded =
            fields(request.message).filter(|field| matches!(field.guard, Guard::Checks(_)));
        let mut parents = BTreeSet::new();
        for field in guarded.filter(|field| applies(field, &request) && !field.path.contains("[]"))
        {
            let mut path = field.path;
            while let Some((parent, _)) = path.rsplit_once('.') {
                parents.insert(parent.replace('.', "/"));
                path = parent;
            }
        }
        for parent in parents {
            let mut input = request.input.clone();
            let Some(place) = input.pointer_mut(&format!("/{parent}")) else {
                continue;
            };
            *place = Value::Null;
            tried += 1;
            let allowed = session
                .probe(request.message, &input)
                .is_ok_and(|d| d.allowed);
            assert!(!allowed, "{} without {parent}", request.title);
        }
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    assert!(tried > 20, "{tried}");
}
