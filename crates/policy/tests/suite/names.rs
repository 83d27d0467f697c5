//! Names that the cluster decides: what the first requests said holds in every later one, letter by letter.

use nacre_policy::request::Request;
use serde_json::{Value, json};

use crate::common::{Case, mesh, pinned, small};

/// A pod with a dot in its name, and values in which the name stands beside an address.
fn dotted() -> Case {
    let image = pinned("ghcr.io/example/web:1.2");
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let spec = json!({"enableServiceLinks": false, "containers": [{
        "name": "web", "image": image,
        "args": ["--at", "$(HOST):$(POD).x"],
        "env": [
            field("POD", "metadata.name"), field("HOST", "status.hostIP"), field("UID", "metadata.uid"),
            {"name": "URL", "value": "https://$(POD).shop/$(UID)?from=$(HOST)"},
        ],
        "livenessProbe": {"exec": {"command": ["/app", "--healthy"]}},
    }]});
    Case::new("Pod", "web.v1", spec).image(&image, |_| {})
}

/// What a pod's requests get, each changed first; `None` where all pass.
fn first_denial(case: &Case, change: impl Fn(&mut Request)) -> Option<(String, String)> {
    let mut session = case.policy().session().unwrap();
    for mut request in case.with(nacre_policy::request::life) {
        change(&mut request);
        let decision = session.request(request.message, &request.input).unwrap();
        if !decision.allowed {
            let checks = decision.denial().unwrap().checks.join(",");
            let container = request.container.unwrap_or_default();
            return Some((format!("{} {container}", request.message), checks));
        }
    }
    None
}

fn replace(request: &mut Request, from: &str, to: &str) {
    let text = request.input.to_string();
    request.input = serde_json::from_str(&text.replace(from, to)).unwrap();
}

fn create(request: &Request, container: &str) -> bool {
    request.message == "CreateContainerRequest" && request.container.as_deref() == Some(container)
}

#[test]
fn a_name_completes_no_placeholder() {
    let image = pinned("ghcr.io/example/web:1.2");
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    // With the braces around it the pod's name reads as that of its UID.
    for (name, value) in [
        ("uid", "{$(POD)}"),
        ("id", "{u$(POD)}"),
        ("u", "{$(POD)id}"),
    ] {
        let spec = json!({"enableServiceLinks": false, "containers": [{
            "name": "web", "image": image, "args": [value],
            "env": [field("POD", "metadata.name"), {"name": "X", "value": value}],
        }]});
        let case = Case::new("Pod", name, spec).image(&image, |_| {});
        assert_eq!(first_denial(&case, |_| {}), None, "{name} {value}");
        let uid = |request: &mut Request| {
            if create(request, "web") {
                let uid =
                    request.input["OCI"]["Annotations"]["io.kubernetes.cri.sandbox-uid"].clone();
                replace(request, "X={uid}", &format!("X={}", uid.as_str().unwrap()));
            }
        };
        let denied = first_denial(&case, uid).map(|(_, checks)| checks);
        assert_eq!(denied.as_deref(), Some("env"), "{name} {value}");
    }
}

#[test]
fn a_name_in_a_pattern_is_a_text() {
    let case = dotted();
    let data = case.policy().text;
    for pattern in [
        "\"^{ip}:{pod}\\\\.x$\"",
        "\"^https://{pod}\\\\.shop/{uid}\\\\?from={ip}$\"",
    ] {
        assert!(data.contains(pattern), "{pattern}");
    }
    assert_eq!(first_denial(&case, |_| {}), None);
    // A dot of the name is that dot and no other character, in arguments, variables and probes.
    for (place, checks) in [("/OCI/Process/Args", "args"), ("/OCI/Process/Env", "env")] {
        for other in ["web-v1", "webxv1", "web\\\\.v1", "web..v1", "webv1"] {
            let denial = first_denial(&case, |request| {
                if create(request, "web") {
                    let mut part = request.input.pointer(place).unwrap().to_string();
                    for frame in ["://web.v1.shop", ":web.v1.x"] {
                        part = part.replace(frame, &frame.replace("web.v1", other));
                    }
                    *request.input.pointer_mut(place).unwrap() = part.parse().unwrap();
                }
            });
            let denied = ("CreateContainerRequest web".to_owned(), checks.to_owned());
            assert_eq!(denial, Some(denied), "{other}");
        }
    }
    let denial = first_denial(&case, |request| {
        if request.message == "ExecProcessRequest" {
            replace(request, "://web.v1.shop", "://web-v1.shop");
        }
    });
    assert_eq!(
        denial,
        Some(("ExecProcessRequest web".to_owned(), "env".to_owned()))
    );
}

#[test]
fn a_uid_in_a_pattern_is_the_pods() {
    let denial = first_denial(&dotted(), |request| {
        if create(request, "web") {
            let env = request.input.pointer_mut("/OCI/Process/Env").unwrap();
            let changed = env.to_string().replace(".shop/", ".shop/f");
            *env = changed.parse::<Value>().unwrap();
        }
    });
    assert_eq!(
        denial,
        Some(("CreateContainerRequest web".to_owned(), "env".to_owned()))
    );
}

#[test]
fn the_host_name_is_that_of_the_pod() {
    // Another name of the same shape: the sandbox is as it may be, and no container follows.
    let (host, other) = ("web-6d4cf56db9-x7k2p", "web-6d4cf56db9-x7k2q");
    let denial = first_denial(&mesh(), |request| {
        if request.message == "CreateSandboxRequest" {
            assert_eq!(request.input["hostname"], host);
            request.input["hostname"] = other.into();
        }
        // What the container is told agrees with the sandbox.
        let told = |name: &str| format!("\"HOSTNAME={name}\"");
        replace(request, &told(host), &told(other));
    });
    let message = "CreateContainerRequest contrast-initializer".to_owned();
    assert_eq!(denial, Some((message, "host".to_owned())));
    // Of another shape it is none from the beginning.
    for other in ["web", "web-v1", "webxv1", "localhost", "web.v1.", "WEB.V1"] {
        let denial = first_denial(&dotted(), |request| {
            if request.message == "CreateSandboxRequest" {
                request.input["hostname"] = other.into();
            }
        });
        let denied = ("CreateSandboxRequest ".to_owned(), "names".to_owned());
        assert_eq!(denial, Some(denied), "{other}");
    }
}

#[test]
fn a_host_name_of_the_pods_own_is_the_one() {
    let mut case = small();
    case.spec["hostname"] = json!("db");
    assert_eq!(first_denial(&case, |_| {}), None);
    let mut full = small();
    full.spec["setHostnameAsFQDN"] = json!(true);
    full.spec["subdomain"] = json!("backend");
    assert_eq!(first_denial(&full, |_| {}), None);
    let with_domain = |domain: &'static str| {
        move |request: &mut Request| {
            let host = "web-6d4cf56db9-x7k2p";
            match request.message {
                "CreateSandboxRequest" => {
                    request.input["hostname"] = format!("{host}{domain}").into();
                }
                "CreateContainerRequest" => {
                    let (from, to) = (
                        format!("\"HOSTNAME={host}\""),
                        format!("\"HOSTNAME={host}{domain}\""),
                    );
                    replace(request, &from, &to);
                }
                _ => {}
            }
        }
    };
    let fits = with_domain(".backend.shop.svc.cluster.local");
    assert_eq!(first_denial(&full, fits), None);
    for other in [
        ".other.shop.svc.cluster.local",
        ".backendxshop.svc.cluster.local",
    ] {
        let denial = first_denial(&full, with_domain(other));
        assert_eq!(denial.unwrap().1, "names", "{other}");
    }
}

#[test]
fn long_names_are_cut_as_the_kubelet_cuts_them() {
    let long = "a-name-that-is-as-long-as-a-name-can-be-and-then-some-more-of-it";
    for kind in [
        "Pod",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "Rollout",
    ] {
        for length in [12, 40, 52, 63, long.len()] {
            let mut case = small();
            case.kind = kind.to_owned();
            case.name = long[..length].trim_end_matches('-').to_owned();
            assert_eq!(first_denial(&case, |_| {}), None, "{kind} {}", case.name);
        }
    }
}

#[test]
fn an_address_that_the_pod_gives_is_that_address() {
    let mut case = small();
    let container = &mut case.spec["containers"][0];
    container["env"] = json!([{"name": "PEER", "value": "10.0.0.1"}]);
    container["livenessProbe"] = json!({"exec": {"command": ["/app", "probe"]}});
    assert_eq!(first_denial(&case, |_| {}), None);
    for message in ["CreateContainerRequest", "ExecProcessRequest"] {
        let denial = first_denial(&case, |request| {
            if request.message == message {
                replace(request, "PEER=10.0.0.1", "PEER=10.0.0.2");
            }
        });
        assert_eq!(denial, Some((format!("{message} web"), "env".to_owned())));
    }
}
