//! What a pod spec should not have beside what we inject.

use nacre_findings::{Finding, codes::workload as codes};
use nacre_meshconfig::ADMIN_PORT_DEFAULT;
use serde_json::Value;

pub use escapes::{WAYS_OUT, powers};

use crate::containers::{Container, containers};
use crate::inject::MeshSettings;
use crate::mesh::{Egress, Ingress, IngressTls};
use crate::names::{MESH_PORT_MUTUAL, MESH_PORT_SERVER};
use crate::object::{list, text};
use escapes::{escapes, raw_sockets};

mod escapes;

/// Everything about a pod with the mesh sidecar. `written` are the containers that were put into it,
/// [`crate::inject::Injection::written`]; the others are the user's, whatever they are called.
pub fn mesh_pod(
    pod_spec: &Value,
    spec_field: &str,
    settings: &MeshSettings,
    written: &[&str],
    strict: bool,
) -> Vec<Finding> {
    let ingress = settings.ingress();
    let users: Vec<_> = containers(pod_spec)
        .filter(|container| !written.contains(&container.name()))
        .collect();
    let mut findings = escapes(pod_spec, spec_field, &users);
    if settings.strict_egress {
        findings.extend(raw_sockets(pod_spec, spec_field, &users, strict));
    }
    for container in users {
        mesh_ports(&container, spec_field, settings, &mut findings);
        probes(&container, spec_field, &ingress, &mut findings);
        ports(&container, spec_field, settings, &ingress, &mut findings);
        if let Some((_, egress)) = &settings.egress {
            egress_ports(&container, spec_field, egress, &mut findings);
        }
    }
    findings
}

/// Pull secrets reach the host's runtime only; `delivery` says how the guest gets credentials.
pub fn pull_secrets(pod_spec: &Value, spec_field: &str, delivery: &str) -> Option<Finding> {
    (!list(pod_spec, "imagePullSecrets").is_empty()).then(|| {
        Finding::warning(
            codes::PULL_SECRETS,
            "imagePullSecrets do not reach the guest",
        )
        .help(delivery)
        .field(format!("{spec_field}.imagePullSecrets"))
    })
}

/// The kubelet's requests come in from outside, so they are redirected like everybody's.
fn probes(
    container: &Container<'_>,
    spec_field: &str,
    ingress: &Ingress,
    findings: &mut Vec<Finding>,
) {
    let lifecycle = container.value.get("lifecycle");
    let places = [
        ("livenessProbe", container.value.get("livenessProbe")),
        ("readinessProbe", container.value.get("readinessProbe")),
        ("startupProbe", container.value.get("startupProbe")),
        (
            "lifecycle.postStart",
            lifecycle.and_then(|l| l.get("postStart")),
        ),
        (
            "lifecycle.preStop",
            lifecycle.and_then(|l| l.get("preStop")),
        ),
    ];
    for (place, probe) in places {
        let Some(probe) = probe else { continue };
        for action in ["httpGet", "tcpSocket", "grpc"] {
            let Some(target) = probe.get(action) else {
                continue;
            };
            if target.is_null() || text(target, "host").is_some_and(|host| !host.is_empty()) {
                continue;
            }
            let Some(port) = port_number(container.value, target.get("port")) else {
                continue;
            };
            let https = text(target, "scheme").is_some_and(|s| s.eq_ignore_ascii_case("https"));
            let effect = match (action, ingress.tls(port)) {
                (_, IngressTls::Plain) => continue,
                ("httpGet", IngressTls::Server) if https => continue,
                ("tcpSocket", _) => "always succeeds, because the mesh accepts every connection",
                ("httpGet", IngressTls::Server) => "fails, because the mesh expects TLS",
                ("grpc", IngressTls::Server) => {
                    "fails, because the mesh expects TLS and gRPC probes are plain text"
                }
                _ => {
                    "fails, because the mesh asks for a client certificate and the kubelet has none"
                }
            };
            findings.push(
                Finding::warning(
                    codes::PROBE_REDIRECTED,
                    format!("the {action} check on port {port} {effect}"),
                )
                .help(format!(
                    "use an exec check, or serve it on a port of its own that the ingress annotation \
                     lists as plain text: health#{port}#true"
                ))
                .field(container.field(spec_field, &format!("{place}.{action}.port"))),
            );
        }
    }
}

/// A port by number, or by the name of a container port.
fn port_number(container: &Value, port: Option<&Value>) -> Option<u16> {
    let port = port?;
    if let Some(number) = port.as_u64() {
        return u16::try_from(number).ok();
    }
    let name = port.as_str()?;
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let named = list(container, "ports")
        .iter()
        .find(|p| text(p, "name") == Some(name))?;
    u16::try_from(named.get("containerPort")?.as_u64()?).ok()
}

fn ports(
    container: &Container<'_>,
    spec_field: &str,
    settings: &MeshSettings,
    ingress: &Ingress,
    findings: &mut Vec<Finding>,
) {
    if *ingress == Ingress::Disabled {
        return;
    }
    for (index, port) in list(container.value, "ports").iter().enumerate() {
        let number = port.get("containerPort").and_then(Value::as_u64);
        let Some(number) = number.and_then(|n| u16::try_from(n).ok()) else {
            continue;
        };
        let field = container.field(spec_field, &format!("ports[{index}]"));
        match text(port, "protocol").unwrap_or("TCP") {
            "TCP" if ingress.tls(number) == IngressTls::Mutual => findings.push(
                Finding::info(
                    codes::PORT_NOT_LISTED,
                    format!("port {number} asks callers for a certificate of the mesh"),
                )
                .help(format!(
                    "that is the default for ports that the ingress annotation does not list; \
                     to change it write app#{number}#false (TLS for everybody) or app#{number}#true \
                     (plain text)"
                ))
                .field(field),
            ),
            "UDP" if !settings.inbound_udp => findings.push(
                Finding::warning(
                    codes::UDP_DROPPED,
                    format!("inbound UDP on port {number} is dropped: the mesh cannot protect it"),
                )
                .help("if it may be reached unprotected, write nacre.dev/servicemesh-inbound-udp: allow")
                .field(field),
            ),
            _ => {}
        }
    }
}

/// Ports that the mesh itself takes, with ingress or without: on all addresses, but the one for health and
/// metrics, unless it is asked for, on loopback, where an app on all addresses wants it as well.
fn mesh_ports(
    container: &Container<'_>,
    spec_field: &str,
    settings: &MeshSettings,
    findings: &mut Vec<Finding>,
) {
    let own = [
        MESH_PORT_MUTUAL,
        MESH_PORT_SERVER,
        settings.admin_port.unwrap_or(ADMIN_PORT_DEFAULT),
    ];
    for (index, port) in list(container.value, "ports").iter().enumerate() {
        let number = port.get("containerPort").and_then(Value::as_u64);
        let Some(number) = number.and_then(|n| u16::try_from(n).ok()) else {
            continue;
        };
        let tcp = text(port, "protocol").unwrap_or("TCP") == "TCP";
        if tcp && own.contains(&number) {
            findings.push(
                Finding::warning(
                    codes::MESH_PORT_TAKEN,
                    format!(
                        "container {:?} and the mesh sidecar both want port {number}",
                        container.name()
                    ),
                )
                .help("whoever starts second fails: give the app another port")
                .field(container.field(spec_field, &format!("ports[{index}].containerPort"))),
            );
        }
    }
}

/// An app that binds `0.0.0.0:port` cannot when the mesh listens on the port of a loopback address.
fn egress_ports(
    container: &Container<'_>,
    spec_field: &str,
    egress: &Egress,
    findings: &mut Vec<Finding>,
) {
    for (index, port) in list(container.value, "ports").iter().enumerate() {
        let number = port.get("containerPort").and_then(Value::as_u64);
        let taken = egress
            .entries
            .iter()
            .find(|entry| number == Some(u64::from(entry.listen.port())));
        if let Some(entry) = taken {
            findings.push(
                Finding::warning(
                    codes::EGRESS_PORT_SHARED,
                    format!(
                        "container {:?} listens on port {}, which egress {:?} uses on {}",
                        container.name(),
                        entry.listen.port(),
                        entry.name,
                        entry.listen.ip()
                    ),
                )
                .help("an app that listens on all addresses cannot start then: use another port in the egress annotation")
                .field(container.field(spec_field, &format!("ports[{index}].containerPort"))),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use nacre_findings::Code;
    use serde_json::json;

    use super::*;
    use crate::mesh::PeerRules;
    use crate::names::SERVICE_MESH;

    pub(super) fn settings(ingress: &str, egress: Option<&str>) -> MeshSettings {
        MeshSettings {
            ingress: Some((ingress.to_owned(), Ingress::parse(ingress).unwrap())),
            egress: egress.map(|text| (text.to_owned(), Egress::parse(text).unwrap())),
            admin_port: None,
            ingress_allow: PeerRules::default(),
            egress_peer: PeerRules::default(),
            trust_domain: "nacre.local".to_owned(),
            inbound_udp: false,
            strict_egress: false,
        }
    }

    pub(super) fn codes_of(spec: &Value, settings: &MeshSettings) -> Vec<(Code, String)> {
        let findings = mesh_pod(spec, "spec", settings, &[SERVICE_MESH], false);
        findings
            .into_iter()
            .map(|f| (f.code, f.field.unwrap()))
            .collect()
    }

    #[test]
    fn checks_of_the_kubelet_on_protected_ports() {
        let container = |probe: Value| {
            json!({"containers": [{
                "name": "a",
                "ports": [{"name": "http", "containerPort": 8001}],
                "livenessProbe": probe,
            }]})
        };
        let settings = settings("main#8001#false##health#8080#true", None);
        for (probe, hit) in [
            (json!({"httpGet": {"port": 9000}}), true),
            (json!({"httpGet": {"port": "http"}}), true),
            (
                json!({"httpGet": {"port": "http", "scheme": "HTTPS"}}),
                false,
            ),
            (json!({"httpGet": {"port": 8080}}), false),
            (json!({"httpGet": {"port": 9000, "host": "other"}}), false),
            (json!({"tcpSocket": {"port": 8001}}), true),
            (json!({"grpc": {"port": 9000}}), true),
            (json!({"exec": {"command": ["x"]}}), false),
        ] {
            let found = codes_of(&container(probe.clone()), &settings);
            assert_eq!(
                found
                    .iter()
                    .any(|(code, _)| *code == codes::PROBE_REDIRECTED),
                hit,
                "{probe}"
            );
        }
        let hook = json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"httpGet": {"port": 1}}}}]});
        assert_eq!(
            codes_of(&hook, &settings)[0].1,
            "spec.containers[0].lifecycle.preStop.httpGet.port"
        );
    }

    #[test]
    fn ports_that_the_annotations_do_not_fit() {
        let spec = json!({"containers": [{"name": "a", "ports": [
            {"containerPort": 8001}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}
        ]}]});
        let found: Vec<_> = codes_of(&spec, &settings("a#80#true", Some("b#127.0.0.1:80#c:1")));
        assert_eq!(
            found,
            [
                (
                    codes::PORT_NOT_LISTED,
                    "spec.containers[0].ports[0]".to_owned()
                ),
                (codes::UDP_DROPPED, "spec.containers[0].ports[1]".to_owned()),
                (
                    codes::EGRESS_PORT_SHARED,
                    "spec.containers[0].ports[2].containerPort".to_owned()
                ),
            ]
        );
        assert_eq!(codes_of(&spec, &settings("DISABLED", None)), []);
    }

    #[test]
    fn ports_that_the_mesh_takes_itself() {
        let spec = json!({"containers": [{"name": "a", "ports": [
            {"containerPort": 15006}, {"containerPort": 9901}, {"containerPort": 9901, "protocol": "UDP"},
            {"containerPort": 15090}
        ]}]});
        let mut settings = settings("", None);
        settings.admin_port = Some(9901);
        settings.inbound_udp = true;
        let taken = |settings: &MeshSettings| -> Vec<String> {
            codes_of(&spec, settings)
                .into_iter()
                .filter(|(code, _)| *code == codes::MESH_PORT_TAKEN)
                .map(|(_, field)| field)
                .collect()
        };
        let port = |index| format!("spec.containers[0].ports[{index}].containerPort");
        assert_eq!(taken(&settings), [port(0), port(1)]);
        settings.ingress = Some(("DISABLED".to_owned(), Ingress::Disabled));
        assert_eq!(taken(&settings), [port(0), port(1)]);
        // Without a port of its own the mesh has the one on loopback.
        settings.admin_port = None;
        assert_eq!(taken(&settings), [port(0), port(3)]);
    }

    #[test]
    fn pull_secrets_are_named() {
        let spec = json!({"imagePullSecrets": [{"name": "x"}]});
        assert_eq!(
            pull_secrets(&spec, "spec", "so").unwrap().field.as_deref(),
            Some("spec.imagePullSecrets")
        );
        assert!(pull_secrets(&json!({"imagePullSecrets": []}), "spec", "so").is_none());
    }
}
