//! Explanations: from an event, a log line or a request to the cause.

use nacre_policy::explain::{Cause, ExplainError, Explanation, Pod, explain};
use nacre_policy::request;
use serde_json::{Value, json};

use crate::common::{Case, mesh};

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
fn an_unusual_network_is_not_the_hosts_attack() {
    let case = mesh();
    let first = |message: &str| {
        let life = case.with(request::life);
        life.into_iter().find(|r| r.message == message).unwrap()
    };
    let cause = |message: &str, pointer: &str, value: Value| {
        let mut input = first(message).input;
        *input.pointer_mut(pointer).unwrap() = value;
        let text = json!({"kind": message, "request": input}).to_string();
        let mut found = explained(&case, &text).unwrap();
        assert_eq!(found.causes.len(), 1, "{found:#?}");
        let cause = found.causes.remove(0);
        (cause.check, cause.likely)
    };
    let link = "UpdateInterfaceRequest";
    let (routes, neighbors) = ("UpdateRoutesRequest", "AddARPNeighborsRequest");
    let hardware = "/interface/hwAddr";
    let address = "/interface/IPAddresses/0/address";
    let (dest, to) = (
        "/routes/Routes/0/dest",
        "/neighbors/ARPNeighbors/0/toIPAddress/address",
    );
    let state = "/neighbors/ARPNeighbors/0/state";
    for (message, pointer, value, check, says) in [
        (
            link,
            hardware,
            json!("00:00:00:00:00:00"),
            "link",
            "the mesh's loopback",
        ),
        (
            link,
            hardware,
            json!(""),
            "link",
            "a link that is not Ethernet",
        ),
        (
            link,
            hardware,
            json!("9E:FF:1E:C5:E9:F5"),
            "link",
            "in capitals",
        ),
        (
            link,
            "/interface/raw_flags",
            json!(73),
            "link",
            "other flags",
        ),
        (
            link,
            address,
            json!("127.0.0.9"),
            "address",
            "the mesh's loopback",
        ),
        (
            link,
            address,
            json!("::ffff:127.0.0.9"),
            "address",
            "the mesh's loopback",
        ),
        (
            link,
            address,
            json!("fe80::1%eth0"),
            "address",
            "with a zone",
        ),
        (link, address, json!("FE80::1"), "address", "in capitals"),
        (
            routes,
            dest,
            json!("127.0.0.0/8"),
            "routes",
            "the host tried",
        ),
        (
            routes,
            dest,
            json!("64:ff9b::1.2.3.4/128"),
            "routes",
            "version 4 in one of",
        ),
        (
            neighbors,
            to,
            json!("::1"),
            "neighbors",
            "the mesh's loopback",
        ),
        (neighbors, state, json!(64), "neighbors", "in another state"),
    ] {
        let (found, likely) = cause(message, pointer, value.clone());
        assert_eq!(found, check, "{value}");
        assert!(likely.contains(says), "{value}: {likely}");
        // Whom the text accuses where the loopback was not asked for.
        let accused = likely.contains("the host tried");
        assert_eq!(
            accused,
            says.contains("loopback") || says.contains("host"),
            "{likely}"
        );
    }
    let cause = cause_of(|r| r["exec_id"] = "0".repeat(64).into());
    assert_eq!(cause.check, "id");
    assert!(
        cause.likely.starts_with("an id that was used before"),
        "{}",
        cause.likely
    );
    let cause = cause_of(|r| r["exec_id"] = "web-1".into());
    assert_eq!(cause.check, "id");
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
