//! The two containers, as they stand in the pod.

use serde_json::{Map, Value, json};

use super::coordinator::{ATTESTATION_AGENT, bind_evidence_in as bind_evidence};
use super::{Injection, MeshSettings, list_mut};
use crate::mesh::PeerRules;
use crate::mesh::Resolved;
use crate::names::{
    ADMIN_PORT_NAME, CERTS_PATH, CERTS_VOLUME, ENV_ADMIN_PORT, ENV_ALLOW_UNATTESTED,
    ENV_COORDINATOR_HOST, ENV_COORDINATOR_POLICY_HASH, ENV_COORDINATOR_REFERENCE, ENV_EGRESS,
    ENV_EGRESS_PEER, ENV_EVIDENCE, ENV_INBOUND_UDP, ENV_INGRESS, ENV_INGRESS_ALLOW,
    ENV_RENEW_SECONDS, ENV_STRICT_EGRESS, INITIALIZER, MESH_PORT_MUTUAL, RENEWER, SERVICE_MESH,
};
use crate::object::text;

/// Memory of each injected container. Request and limit are equal, because guest memory is reserved
/// at boot; there is no CPU limit, because CPU limits change the number of vCPUs and with it the
/// launch measurement.
const MEMORY: &str = "64Mi";

/// The initializer. Runs as root because it prepares the volume for every user of the pod, whatever
/// the pod's own securityContext says.
pub(super) fn initializer(image: &str, injection: &Injection<'_>) -> Value {
    json!({
        "name": INITIALIZER,
        "image": image,
        "env": Value::Array(initializer_env(injection)),
        "resources": resources("10m"),
        "securityContext": security_context(None),
        "volumeMounts": [mount()],
    })
}

/// The renewer: the initializer once more, as a native sidecar that starts with what the initializer got.
/// It needs no probe, which a guest that drops inbound traffic until the mesh runs would not let through.
pub(super) fn renewer(image: &str, injection: &Injection<'_>) -> Value {
    let mut env = initializer_env(injection);
    let seconds = injection.renew_seconds.to_string();
    env.push(variable(ENV_RENEW_SECONDS, &seconds));
    json!({
        "name": RENEWER,
        "image": image,
        "restartPolicy": "Always",
        "env": env,
        "resources": resources("10m"),
        "securityContext": security_context(None),
        "volumeMounts": [mount()],
    })
}

/// Writes the variables of [`initializer`] into an initializer that the user placed.
pub(super) fn complete_initializer(container: &mut Value, injection: &Injection<'_>) {
    let Some(env) = container
        .as_object_mut()
        .and_then(|map| list_mut(map, "env"))
    else {
        return;
    };
    env.retain(|entry| {
        let name = text(entry, "name");
        ![
            ENV_COORDINATOR_POLICY_HASH,
            ENV_COORDINATOR_REFERENCE,
            ENV_ALLOW_UNATTESTED,
        ]
        .map(Some)
        .contains(&name)
    });
    bind_evidence(env, injection.attestation_agent);
    for wanted in initializer_env(injection) {
        let name = text(&wanted, "name").unwrap_or_default();
        let found = env.iter().position(|e| text(e, "name") == Some(name));
        match found.and_then(|at| env.get_mut(at)) {
            // The user's own host stays, and the user's own place of the agent.
            Some(_) if [ENV_COORDINATOR_HOST, ENV_EVIDENCE].contains(&name) => {}
            Some(entry) => *entry = wanted,
            None => env.push(wanted),
        }
    }
}

fn initializer_env(injection: &Injection<'_>) -> Vec<Value> {
    let link = injection.coordinator;
    let mut env = vec![variable(ENV_COORDINATOR_HOST, &link.host)];
    if !link.policy_hashes.is_empty() {
        let mut hashes = link.policy_hashes.clone();
        hashes.sort_unstable();
        hashes.dedup();
        env.push(variable(ENV_COORDINATOR_POLICY_HASH, &hashes.join(",")));
    }
    if let Some(reference) = &link.reference {
        env.push(variable(ENV_COORDINATOR_REFERENCE, reference));
    }
    if link.policy_hashes.is_empty() && link.allow_unattested {
        env.push(variable(ENV_ALLOW_UNATTESTED, "true"));
    }
    if injection.attestation_agent {
        env.push(variable(ENV_EVIDENCE, ATTESTATION_AGENT));
    }
    env
}

/// The mesh sidecar: a native sidecar, so that it runs before and as long as the app. NET_ADMIN is
/// what transparent sockets and packet filter rules need; it is not privileged.
pub(super) fn mesh(image: &str, settings: &MeshSettings) -> Value {
    let mut env = Vec::new();
    let mut ports = Vec::new();
    if let Some((text, _)) = &settings.ingress {
        env.push(variable(ENV_INGRESS, text));
    }
    if let Some((text, _)) = &settings.egress {
        env.push(variable(ENV_EGRESS, text));
    }
    if let Some(port) = settings.admin_port {
        env.push(variable(ENV_ADMIN_PORT, &port.to_string()));
        ports.push(json!({"name": ADMIN_PORT_NAME, "containerPort": port, "protocol": "TCP"}));
    }
    let mut peers = |name: &str, rules: &PeerRules| {
        let trust_domain = &settings.trust_domain;
        let text = Resolved {
            rules,
            trust_domain,
        }
        .to_string();
        if !text.is_empty() {
            env.push(variable(name, &text));
        }
    };
    peers(ENV_INGRESS_ALLOW, &settings.ingress_allow);
    peers(ENV_EGRESS_PEER, &settings.egress_peer);
    if settings.inbound_udp {
        env.push(variable(ENV_INBOUND_UDP, "allow"));
    }
    if settings.strict_egress {
        env.push(variable(ENV_STRICT_EGRESS, "true"));
    }
    let mut container = Map::new();
    let mut put = |key: &str, value: Value| container.insert(key.to_owned(), value);
    put("name", json!(SERVICE_MESH));
    put("image", json!(image));
    put("restartPolicy", json!("Always"));
    if !env.is_empty() {
        put("env", Value::Array(env));
    }
    if !ports.is_empty() {
        put("ports", Value::Array(ports));
    }
    put("resources", resources("10m"));
    put("securityContext", security_context(Some("NET_ADMIN")));
    put(
        "startupProbe",
        json!({"tcpSocket": {"port": MESH_PORT_MUTUAL}, "periodSeconds": 1, "failureThreshold": 60}),
    );
    put("volumeMounts", json!([mount()]));
    Value::Object(container)
}

fn variable(name: &str, value: &str) -> Value {
    // The kubelet expands $(NAME) in values; a doubled dollar sign is one.
    json!({"name": name, "value": value.replace('$', "$$")})
}

fn mount() -> Value {
    json!({"name": CERTS_VOLUME, "mountPath": CERTS_PATH})
}

fn resources(cpu_request: &str) -> Value {
    json!({
        "requests": {"cpu": cpu_request, "memory": MEMORY},
        "limits": {"memory": MEMORY},
    })
}

fn security_context(added_capability: Option<&str>) -> Value {
    let mut capabilities = json!({"drop": ["ALL"]});
    if let (Some(map), Some(added)) = (capabilities.as_object_mut(), added_capability) {
        map.insert("add".to_owned(), json!([added]));
    }
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": capabilities,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "runAsUser": 0,
    })
}
