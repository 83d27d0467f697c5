//! What a hostile host could send instead: every change is denied, but for a documented few.

use std::collections::BTreeSet;

use nacre_policy::{mutate, request};

use crate::common::{Case, mesh, rich, small};

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

/// Members of each message of a create request, from `agent.proto` and `oci.proto` of Kata 4.1
/// (`protocols`, as serde spells them). A member added here without one in the request builder
/// fails this test; one added to the builder is mutated above and fails there without a rule.
const SCHEMA: &[(&str, &str)] = &[
    (
        "",
        "container_id exec_id string_user devices storages OCI sandbox_pidns shared_mounts stdin_port stdout_port stderr_port",
    ),
    (
        "/storages/0",
        "driver driver_options source fstype options mount_point fs_group shared",
    ),
    (
        "/OCI",
        "Version Process Root Hostname Mounts Hooks Annotations Linux Solaris Windows",
    ),
    (
        "/OCI/Process",
        "Terminal ConsoleSize User Args Env Cwd Capabilities Rlimits NoNewPrivileges ApparmorProfile OOMScoreAdj SelinuxLabel",
    ),
    ("/OCI/Process/User", "UID GID AdditionalGids Username"),
    (
        "/OCI/Process/Capabilities",
        "Bounding Effective Inheritable Permitted Ambient",
    ),
    ("/OCI/Root", "Path Readonly"),
    ("/OCI/Mounts/0", "destination source type_ options"),
    (
        "/OCI/Linux",
        "UIDMappings GIDMappings Sysctl Resources CgroupsPath Namespaces Devices Seccomp RootfsPropagation MaskedPaths ReadonlyPaths MountLabel IntelRdt",
    ),
    (
        "/OCI/Linux/Resources",
        "Devices Memory CPU Pids BlockIO HugepageLimits Network",
    ),
    ("/OCI/Linux/Namespaces/0", "Type Path"),
];

/// Members of objects that only some pods have.
const SOMETIMES: &[(&str, &str)] = &[
    ("/devices/0", "id type_ vm_path container_path options"),
    (
        "/OCI/Linux/Devices/0",
        "Path Type Major Minor FileMode UID GID",
    ),
];

/// Where a member that a newer agent adds may hold something: the agent puts in the guest's own numbers.
const FREE: &[&str] = &["/OCI/Linux/Devices/0"];

#[test]
fn a_member_of_a_newer_agent_must_be_empty() {
    let case = rich("kata-4");
    let mut session = case.policy().session().unwrap();
    let mut tried = BTreeSet::new();
    for request in case.with(request::life) {
        let app = request.container.as_deref() == Some("web");
        if app && request.message == "CreateContainerRequest" {
            for (pointer, members) in SCHEMA.iter().chain(SOMETIMES) {
                let mut ask = |value: serde_json::Value| {
                    let mut input = request.input.clone();
                    let object = input.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
                    let have: BTreeSet<_> = object.keys().map(String::as_str).collect();
                    assert_eq!(have, members.split_whitespace().collect(), "{pointer}");
                    object.insert("Newer".to_owned(), value);
                    // What cannot be evaluated is denied.
                    let decision = session.probe(request.message, &input);
                    decision.is_ok_and(|decision| decision.allowed)
                };
                let free = FREE.contains(pointer);
                assert_eq!(ask("something".into()), free, "{pointer}");
                assert_eq!(ask(1.into()), free, "{pointer}");
                // In what is compared as a whole it may not even stand.
                let whole = ["/OCI/Process/Capabilities"].contains(pointer);
                assert_eq!(ask(serde_json::Value::Null), !whole, "{pointer}");
                tried.insert(*pointer);
            }
        }
        let decision = session.request(request.message, &request.input);
        assert!(decision.unwrap().allowed, "{}", request.title);
    }
    assert_eq!(tried.len(), SCHEMA.len() + SOMETIMES.len());
}

#[test]
fn the_request_builder_has_every_field_of_the_messages() {
    let life = mesh().with(request::life);
    let creates = life
        .iter()
        .filter(|r| r.message == "CreateContainerRequest");
    for create in creates {
        for (pointer, members) in SCHEMA {
            let object = create.input.pointer(pointer).unwrap().as_object().unwrap();
            let have: BTreeSet<_> = object.keys().map(String::as_str).collect();
            let need: BTreeSet<_> = members.split_whitespace().collect();
            assert_eq!(have, need, "{}: {pointer}", create.title);
        }
    }
}
