//! What the Coordinator's own pod gets: the owners who may set the first manifest, and the source of its
//! evidence.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::{Map, Value, json};

use super::list_mut;
use crate::names::{ENV_EVIDENCE, ENV_OWNERS, ROLE_COORDINATOR};
use crate::object::{list, text};

/// Writes `NACRE_OWNERS=<threshold>:<digest>,…` into the Coordinator's container, or removes it when
/// there are no owners. The policy pins the variable, so the hardware signs it.
///
/// The container is the one named `coordinator`, or the only one.
pub fn bind_owners(
    pod_spec: &mut Value,
    spec_field: &str,
    threshold: u32,
    digests: &[String],
) -> Result<(), Box<Finding>> {
    let Some(container) = own_container(pod_spec, spec_field)? else {
        return Ok(());
    };
    if digests.is_empty() {
        if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
            env.retain(|e| text(e, "name") != Some(ENV_OWNERS));
        }
        return Ok(());
    }
    let mut digests = digests.to_vec();
    digests.sort_unstable();
    digests.dedup();
    let wanted = json!({"name": ENV_OWNERS, "value": format!("{threshold}:{}", digests.join(","))});
    if let Some(env) = list_mut(container, "env") {
        let found = env.iter().position(|e| text(e, "name") == Some(ENV_OWNERS));
        match found.and_then(|at| env.get_mut(at)) {
            Some(entry) => *entry = wanted,
            None => env.push(wanted),
        }
    }
    Ok(())
}

/// Value of `NACRE_EVIDENCE` for reports from CoCo's attestation agent.
pub(super) const ATTESTATION_AGENT: &str = "coco-aa";

/// Writes `NACRE_EVIDENCE=coco-aa` into the Coordinator's container where reports come from CoCo's
/// attestation agent, and removes it elsewhere: the agent binds reports in another form, which the
/// manifest of other platforms does not accept.
pub fn bind_evidence(
    pod_spec: &mut Value,
    spec_field: &str,
    attestation_agent: bool,
) -> Result<(), Box<Finding>> {
    let Some(container) = own_container(pod_spec, spec_field)? else {
        return Ok(());
    };
    if !attestation_agent && !container.contains_key("env") {
        return Ok(());
    }
    if let Some(env) = list_mut(container, "env") {
        bind_evidence_in(env, attestation_agent);
    }
    Ok(())
}

/// The agent at another place of loopback, `coco-aa=<url>`, stays.
pub(super) fn bind_evidence_in(env: &mut Vec<Value>, attestation_agent: bool) {
    let is_agent = |entry: &Value| {
        let value = text(entry, "value").unwrap_or_default();
        value
            .strip_prefix(ATTESTATION_AGENT)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    env.retain(|entry| {
        text(entry, "name") != Some(ENV_EVIDENCE) || is_agent(entry) == attestation_agent
    });
    if attestation_agent && !env.iter().any(|e| text(e, "name") == Some(ENV_EVIDENCE)) {
        env.push(json!({"name": ENV_EVIDENCE, "value": ATTESTATION_AGENT}));
    }
}

/// The container named `coordinator`, or the only one.
fn own_container<'a>(
    pod_spec: &'a mut Value,
    spec_field: &str,
) -> Result<Option<&'a mut Map<String, Value>>, Box<Finding>> {
    let all = list(pod_spec, "containers");
    let named = all
        .iter()
        .position(|c| text(c, "name") == Some(ROLE_COORDINATOR));
    let Some(index) = named.or_else(|| (all.len() == 1).then_some(0)) else {
        return Err(Box::new(
            Finding::error(
                codes::COORDINATOR_CONTAINER,
                "the Coordinator's pod has several containers and none is named coordinator",
            )
            .help("name the one that runs the Coordinator")
            .field(format!("{spec_field}.containers")),
        ));
    };
    Ok(pod_spec
        .get_mut("containers")
        .and_then(|list| list.get_mut(index))
        .and_then(Value::as_object_mut))
}
