//! For each check about the guest's state: a request that passes, and its twin that only this check
//! refuses. Checks about values have theirs in `messages`.

use nacre_policy::evaluate::Session;
use nacre_policy::request::{self, Request};
use serde_json::{Value, json};

use crate::common::{Case, mesh, rich, small};

/// A guest before one of its pod's requests.
struct Guest {
    session: Session,
    next: Request,
}

fn before(case: &Case, message: &str, container: Option<&str>) -> Guest {
    let mut session = case.policy().session().unwrap();
    for request in case.with(request::life) {
        if request.message == message && request.container.as_deref() == container {
            return Guest {
                session,
                next: request,
            };
        }
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    panic!("no {message} for {container:?}");
}

impl Guest {
    /// The request passes; changed, exactly this check fails.
    #[track_caller]
    fn pair(&mut self, check: &str, changed: &Value) {
        let good = self
            .session
            .probe(self.next.message, &self.next.input)
            .unwrap();
        assert!(good.allowed, "{}: {:?}", self.next.title, good.prints);
        self.denied(check, changed);
    }

    #[track_caller]
    fn denied(&mut self, check: &str, input: &Value) {
        let bad = self.session.probe(self.next.message, input).unwrap();
        let checks = bad.denial().map(|denial| denial.checks);
        assert_eq!((bad.allowed, checks), (false, Some(vec![check.to_owned()])));
    }

    fn send(&mut self) {
        let request = self.next.clone();
        assert!(
            self.session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
}

/// The same request under another id.
fn renamed(input: &Value, id: &str) -> Value {
    let old = input["container_id"].as_str().unwrap();
    serde_json::from_str(&input.to_string().replace(old, id)).unwrap()
}

#[test]
fn sandbox_once() {
    let mut guest = before(&small(), "CreateSandboxRequest", None);
    guest.send();
    let again = guest.next.input.clone();
    guest.denied("once", &again);
}

#[test]
fn interface_once() {
    let mut guest = before(&small(), "UpdateInterfaceRequest", None);
    guest.send();
    let mut other = guest.next.input.clone();
    other["interface"]["mtu"] = 9000.into();
    guest.pair("once", &other);
}

#[test]
fn resolver_of_the_pod() {
    let mut case = small();
    case.spec["dnsPolicy"] = json!("None");
    case.spec["dnsConfig"] = json!({"nameservers": ["10.0.0.2"], "searches": ["a.example"]});
    let mut guest = before(&case, "CreateSandboxRequest", None);
    for dns in [
        json!([]),
        json!(["nameserver 10.6.6.6"]),
        json!(["search a.example", "nameserver 10.0.0.2", "options x"]),
    ] {
        let mut other = guest.next.input.clone();
        other["dns"] = dns;
        guest.pair("dns", &other);
    }
}

#[test]
fn a_volume_at_two_paths_has_a_storage_for_each() {
    for target in ["kata-3", "kata-4"] {
        let mut case = rich(target);
        let mounts = case.spec["containers"][0]["volumeMounts"]
            .as_array_mut()
            .unwrap();
        mounts.push(json!({"name": "memory", "mountPath": "/more/memory"}));
        mounts.push(json!({"name": "disk", "mountPath": "/more/disk"}));
        let mut guest = before(&case, "CreateContainerRequest", Some("web"));
        let mut storages = guest.next.input["storages"].as_array().unwrap().clone();
        storages[1..].sort_by_key(|storage| storage["mount_point"].to_string());
        // Of the image, then two of each volume.
        assert_eq!(storages.len(), 5);
        for of in [1, 3] {
            assert_eq!(storages[of], storages[of + 1]);
        }
        for changed in [
            vec![0, 1, 2, 3],
            vec![0, 1, 3, 4],
            vec![0, 1, 2, 3, 4, 4],
            vec![0, 1, 1, 2, 3, 4],
            vec![0, 1, 2, 2, 3],
            vec![0, 1, 3, 4, 4],
        ] {
            let mut other = guest.next.input.clone();
            other["storages"] = changed.iter().map(|at| storages[*at].clone()).collect();
            guest.pair("storages", &other);
        }
        let mut other = guest.next.input.clone();
        other["storages"][4]["shared"] = json!(target == "kata-3");
        guest.pair("storages", &other);
        guest.send();
    }
}

#[test]
fn order_of_containers() {
    // The pause container, then the initializer, then the mesh, then the app.
    let case = mesh();
    let life = case.with(request::life);
    let create = |name: &str| {
        let found = life.iter().find(|r| {
            r.message == "CreateContainerRequest" && r.container.as_deref() == Some(name)
        });
        found.unwrap().input.clone()
    };
    let mut guest = before(
        &case,
        "CreateContainerRequest",
        Some("contrast-initializer"),
    );
    guest.pair("order", &create("contrast-service-mesh"));
    guest.pair("order", &create("web"));
    let mut guest = before(
        &case,
        "CreateContainerRequest",
        Some("contrast-service-mesh"),
    );
    guest.pair("order", &create("web"));
    // And no init container after an app container.
    let mut guest = before(&case, "StartContainerRequest", Some("web"));
    guest.next.message = "CreateContainerRequest";
    let late = renamed(&create("contrast-initializer"), &"c".repeat(64));
    guest.denied("order", &late);
}

#[test]
fn one_live_instance() {
    let case = small();
    let mut guest = before(&case, "WaitProcessRequest", Some("web"));
    let life = case.with(request::life);
    let create = life
        .iter()
        .find(|r| r.message == "CreateContainerRequest" && r.container.as_deref() == Some("web"));
    guest.next = create.unwrap().clone();
    let second = renamed(&guest.next.input, &"d".repeat(64));
    guest.denied("live", &second);
}

#[test]
fn start_and_removal() {
    let case = small();
    let mut guest = before(&case, "StartContainerRequest", Some("web"));
    guest.pair("current", &json!({"container_id": "e".repeat(64)}));
    guest.send();
    let again = guest.next.input.clone();
    guest.denied("current", &again);
    let mut guest = before(&case, "RemoveContainerRequest", Some("web"));
    guest.pair(
        "known",
        &json!({"container_id": "e".repeat(64), "timeout": 0}),
    );
    let mut limited = guest.next.input.clone();
    limited["timeout"] = 5.into();
    guest.pair("timeout", &limited);
}

#[test]
fn commands_only_while_it_runs() {
    let case = rich("kata-3");
    let mut guest = before(&case, "ExecProcessRequest", Some("web"));
    let good = guest.next.input.clone();
    let mut other = good.clone();
    other["exec_id"] = good["container_id"].clone();
    guest.pair("live", &other);
    let remove = json!({"container_id": good["container_id"], "timeout": 0});
    assert!(
        guest
            .session
            .request("RemoveContainerRequest", &remove)
            .unwrap()
            .allowed
    );
    guest.denied("live", &good);
}

#[test]
fn no_new_privileges_of_a_container_and_of_its_commands() {
    for wanted in [true, false] {
        let mut case = rich("kata-4");
        case.spec["containers"][0]["securityContext"] =
            json!({"allowPrivilegeEscalation": !wanted});
        let mut guest = before(&case, "CreateContainerRequest", Some("web"));
        assert_eq!(
            guest.next.input["OCI"]["Process"]["NoNewPrivileges"],
            json!(wanted)
        );
        let mut other = guest.next.input.clone();
        other["OCI"]["Process"]["NoNewPrivileges"] = json!(!wanted);
        guest.pair("nnp", &other);
        // Kata sends false for every command; true passes only where the container has it.
        let mut guest = before(&case, "ExecProcessRequest", Some("web"));
        assert_eq!(guest.next.input["process"]["NoNewPrivileges"], json!(false));
        let mut other = guest.next.input.clone();
        other["process"]["NoNewPrivileges"] = json!(true);
        if wanted {
            let decision = guest.session.probe(guest.next.message, &other);
            assert!(decision.unwrap().allowed);
            guest.next.input = other;
            let mut other = guest.next.input.clone();
            other["process"]["Terminal"] = json!(true);
            guest.pair("process", &other);
        } else {
            guest.pair("process", &other);
        }
        let open = nacre_policy::report::open(&case.policy(), &|_| false);
        let named = open.iter().any(|open| {
            open.what == "no-new-privileges of its probes and hooks"
                && open.container.as_deref() == Some("web")
                && open.risk == nacre_policy::report::Risk::Low
        });
        assert_eq!(named, wanted);
        // Without commands there is nothing to say.
        case.spec["containers"][0]
            .as_object_mut()
            .unwrap()
            .remove("livenessProbe");
        let open = nacre_policy::report::open(&case.policy(), &|_| false);
        assert!(!open.iter().any(|open| open.what.contains("no-new")));
    }
}

#[test]
fn the_pods_name_is_one_for_all_containers() {
    let case = mesh();
    let mut guest = before(&case, "CreateContainerRequest", Some("web"));
    let old = guest.next.input["OCI"]["Annotations"]["io.kubernetes.cri.sandbox-name"].clone();
    let text = guest
        .next
        .input
        .to_string()
        .replace(old.as_str().unwrap(), "web-6d4cf56db9-zzzzz");
    let mut other: Value = serde_json::from_str(&text).unwrap();
    // What the downward API says follows the state, not the annotation.
    other["OCI"]["Process"] = guest.next.input["OCI"]["Process"].clone();
    guest.pair("annotations", &other);
}
