//! Order and presence: what the state of the rules enforces.

use nacre_policy::evaluate::Session;
use nacre_policy::request::{self, Request};
use serde_json::{Value, json};

use crate::common::mesh;

/// A guest of the mesh example and the requests of its pod.
struct Guest {
    session: Session,
    life: Vec<Request>,
}

impl Guest {
    fn new() -> Self {
        let case = mesh();
        Self {
            session: case.policy().session().unwrap(),
            life: case.with(request::life),
        }
    }

    fn find(&self, message: &str, container: &str) -> Request {
        let found = self.life.iter().find(|r| {
            r.message == message
                && r.container.as_deref() == (!container.is_empty()).then_some(container)
        });
        found
            .unwrap_or_else(|| panic!("no {message} for {container:?}"))
            .clone()
    }

    fn ask(&mut self, message: &str, input: &Value) -> bool {
        self.session
            .request(message, input)
            .is_ok_and(|d| d.allowed)
    }

    fn send(&mut self, message: &str, container: &str) -> bool {
        let request = self.find(message, container);
        self.ask(message, &request.input)
    }

    /// Everything up to, and without, this request.
    fn until(mut self, message: &str, container: &str) -> Self {
        for request in self.life.clone() {
            if request.message == message && request.container.as_deref() == Some(container) {
                return self;
            }
            assert!(
                self.ask(request.message, &request.input),
                "{}",
                request.title
            );
        }
        panic!("no {message} for {container}");
    }
}

const INIT: &str = "contrast-initializer";
const MESH: &str = "contrast-service-mesh";
const CREATE: &str = "CreateContainerRequest";
const START: &str = "StartContainerRequest";

#[test]
fn nothing_before_the_sandbox_and_only_one() {
    let mut guest = Guest::new();
    assert!(!guest.send(CREATE, "."));
    assert!(!guest.send(START, "."));
    assert!(guest.send("CreateSandboxRequest", ""));
    assert!(!guest.send("CreateSandboxRequest", ""));
}

#[test]
fn containers_start_in_order() {
    let mut guest = Guest::new();
    assert!(guest.send("UpdateInterfaceRequest", ""));
    assert!(guest.send("CreateSandboxRequest", ""));
    for early in [INIT, MESH, "web"] {
        assert!(
            !guest.send(CREATE, early),
            "{early} before the pause container"
        );
    }
    assert!(guest.send(CREATE, "."));
    assert!(
        !guest.send(CREATE, INIT),
        "the pause container is not started yet"
    );
    assert!(guest.send(START, "."));
    assert!(!guest.send(CREATE, MESH));
    assert!(!guest.send(CREATE, "web"));
    assert!(guest.send(CREATE, INIT));
    assert!(!guest.send(CREATE, MESH), "created is not started");
    assert!(guest.send(START, INIT));
    assert!(!guest.send(CREATE, "web"), "the mesh is missing");
    assert!(guest.send(CREATE, MESH));
    assert!(guest.send(START, MESH));
    assert!(guest.send(CREATE, "web"));
    assert!(guest.send(START, "web"));
}

#[test]
fn one_live_instance_and_retry_after_failure() {
    let mut guest = Guest::new().until(START, "web");
    let mut again = guest.find(CREATE, "web").input;
    // The same id never comes back.
    assert!(!guest.ask(CREATE, &again));
    // A create that failed is tried again under a new id, and the old id is dead.
    let first = again["container_id"].as_str().unwrap().to_owned();
    rename(&mut again, &"a".repeat(64));
    assert!(guest.ask(CREATE, &again));
    assert!(!guest.ask(START, &json!({"container_id": first})));
    assert!(guest.ask(START, &json!({"container_id": "a".repeat(64)})));
    assert!(
        !guest.ask(START, &json!({"container_id": "a".repeat(64)})),
        "started once"
    );
    // While it runs there is no second one.
    rename(&mut again, &"b".repeat(64));
    assert!(!guest.ask(CREATE, &again));
    // Removing a dead id does not free the name; removing the live one does.
    assert!(guest.ask(
        "RemoveContainerRequest",
        &json!({"container_id": first, "timeout": 0})
    ));
    assert!(!guest.ask(CREATE, &again));
    let remove = json!({"container_id": "a".repeat(64), "timeout": 0});
    assert!(guest.ask("RemoveContainerRequest", &remove));
    assert!(guest.ask(CREATE, &again));
}

#[test]
fn no_init_container_after_an_app_container() {
    let mut guest = Guest::new().until(START, "web");
    let mut init = guest.find(CREATE, INIT).input;
    rename(&mut init, &"c".repeat(64));
    assert!(!guest.ask(CREATE, &init));
    // A sidecar may be restarted.
    let mesh = guest.find(CREATE, MESH).input;
    let remove = json!({"container_id": mesh["container_id"], "timeout": 0});
    assert!(guest.ask("RemoveContainerRequest", &remove));
    let mut mesh = mesh;
    rename(&mut mesh, &"d".repeat(64));
    assert!(guest.ask(CREATE, &mesh));
}

#[test]
fn probes_run_in_their_own_container_only() {
    let mut guest = Guest::new().until("StatsContainerRequest", "web");
    let exec = guest.find("ExecProcessRequest", "web").input;
    assert!(guest.ask("ExecProcessRequest", &exec));
    let mesh = guest.find(CREATE, MESH).input["container_id"].clone();
    let pause = guest.find(CREATE, ".").input["container_id"].clone();
    for other in [mesh, pause] {
        let mut exec = exec.clone();
        exec["container_id"] = other;
        assert!(!guest.ask("ExecProcessRequest", &exec));
    }
    // Not before its start, not after its removal.
    assert!(guest.send("RemoveContainerRequest", "web"));
    assert!(!guest.ask("ExecProcessRequest", &exec));
}

#[test]
fn streams_follow_the_profile() {
    let mut guest = Guest::new().until("StatsContainerRequest", "web");
    for (container, logs) in [(INIT, true), (MESH, true), ("web", false)] {
        let id = guest.find(CREATE, container).input["container_id"].clone();
        let read = json!({"container_id": id, "exec_id": id, "len": 4096});
        assert_eq!(guest.ask("ReadStreamRequest", &read), logs, "{container}");
        let write = json!({"container_id": id, "exec_id": id, "data": [1]});
        assert!(!guest.ask("WriteStreamRequest", &write));
    }
}

#[test]
fn an_interface_is_set_once() {
    let mut guest = Guest::new();
    let interface = guest.find("UpdateInterfaceRequest", "").input;
    assert!(guest.ask("UpdateInterfaceRequest", &interface));
    assert!(
        guest.ask("UpdateInterfaceRequest", &interface),
        "the same again"
    );
    let mut other = interface.clone();
    other["interface"]["IPAddresses"][0]["address"] = "10.9.9.9".into();
    assert!(!guest.ask("UpdateInterfaceRequest", &other));
    // The agent finds the link by its hardware address, so another name is the same one set again.
    let mut renamed = interface.clone();
    renamed["interface"]["name"] = "eth7".into();
    assert!(!guest.ask("UpdateInterfaceRequest", &renamed));
    for n in 1..16 {
        let mut more = renamed.clone();
        more["interface"]["name"] = format!("net{n}").into();
        more["interface"]["hwAddr"] = format!("02:00:00:00:01:{n:02x}").into();
        assert!(guest.ask("UpdateInterfaceRequest", &more), "{n}");
    }
    renamed["interface"]["hwAddr"] = "02:00:00:00:01:ff".into();
    assert!(
        !guest.ask("UpdateInterfaceRequest", &renamed),
        "one too many"
    );
    assert!(
        guest.ask("UpdateInterfaceRequest", &interface),
        "the same again, with as many as there may be"
    );
}

#[test]
fn messages_without_use_are_never_allowed() {
    // Every message of the agent's service (`agent.proto`, 41 types) and the flag; those that no
    // pod's life needs are refused whatever they hold.
    for message in [
        "AddSwapPathRequest",
        "AddSwapRequest",
        "AllowRequestsFailingPolicy",
        "CloseStdinRequest",
        "GetDiagnosticDataRequest",
        "GetIPTablesRequest",
        "GetMetricsRequest",
        "ListInterfacesRequest",
        "ListRoutesRequest",
        "MemAgentCompactConfig",
        "MemAgentMemcgConfig",
        "MemHotplugByProbeRequest",
        "PauseContainerRequest",
        "ReseedRandomDevRequest",
        "ResizeVolumeRequest",
        "ResumeContainerRequest",
        "SetGuestDateTimeRequest",
        "SetIPTablesRequest",
        "SetPolicyRequest",
        "UpdateContainerRequest",
        "UpdateEphemeralMountsRequest",
        "VolumeStatsRequest",
        "WriteStreamRequest",
    ] {
        let mut guest = Guest::new();
        let decision = guest
            .session
            .request(message, &json!({"container_id": "x"}))
            .unwrap();
        assert!(!decision.allowed, "{message}");
    }
}

#[test]
fn every_guarded_message_has_a_rule() {
    // `agent.proto` of Kata 4.1, request types of the guarded calls.
    let messages = "AddARPNeighborsRequest AddSwapPathRequest AddSwapRequest CloseStdinRequest \
        CopyFileRequest CreateContainerRequest CreateSandboxRequest DestroySandboxRequest \
        ExecProcessRequest GetDiagnosticDataRequest GetIPTablesRequest GetMetricsRequest \
        GetOOMEventRequest GuestDetailsRequest ListInterfacesRequest ListRoutesRequest \
        MemAgentCompactConfig MemAgentMemcgConfig MemHotplugByProbeRequest OnlineCPUMemRequest \
        PauseContainerRequest ReadStreamRequest RemoveContainerRequest \
        RemoveStaleVirtiofsShareMountsRequest ReseedRandomDevRequest ResizeVolumeRequest \
        ResumeContainerRequest SetGuestDateTimeRequest SetIPTablesRequest SetPolicyRequest \
        SignalProcessRequest StartContainerRequest StatsContainerRequest TtyWinResizeRequest \
        UpdateContainerRequest UpdateEphemeralMountsRequest UpdateInterfaceRequest \
        UpdateRoutesRequest VolumeStatsRequest WaitProcessRequest WriteStreamRequest";
    let messages: Vec<_> = messages.split_whitespace().collect();
    assert_eq!(messages.len(), 41);
    for message in messages {
        let mut lines = nacre_policy::rules::RULES.lines();
        let rule = lines.find_map(|line| line.strip_prefix(message)?.strip_prefix(' '));
        let rule = rule.unwrap_or_else(|| panic!("{message}"));
        let fixed = rule == ":= false" || rule == ":= true";
        // Where the conditions do not hold there is a verdict all the same.
        let next = lines.find(|line| !line.starts_with(['\t', '}']));
        assert!(fixed || next == Some("else := false"), "{message}");
    }
}

#[test]
fn ids_cannot_forge_state() {
    let mut guest = Guest::new().until(CREATE, INIT);
    let original = guest.find(CREATE, INIT).input;
    for id in [
        "s",
        "s/pod",
        "../n/web",
        "a~1b",
        &"A".repeat(64),
        &"a".repeat(63),
        &"a".repeat(65),
    ] {
        let mut create = original.clone();
        rename(&mut create, id);
        assert!(!guest.ask(CREATE, &create), "{id}");
        assert!(!guest.ask(
            "RemoveContainerRequest",
            &json!({"container_id": id, "timeout": 0})
        ));
        assert!(!guest.ask(START, &json!({"container_id": id})));
    }
}

/// Gives a create request another id, in every place where the runtime puts it.
fn rename(create: &mut Value, id: &str) {
    let old = create["container_id"].as_str().unwrap().to_owned();
    let new = Value::from(id).to_string();
    let new = new.trim_matches('"');
    *create = serde_json::from_str(&create.to_string().replace(&old, new)).unwrap();
}
