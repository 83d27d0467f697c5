//! What the Coordinator's own pod gets: the owners who may set the first manifest.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::{Value, json};

use super::list_mut;
use crate::names::{ENV_OWNERS, ROLE_COORDINATOR};
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
    let container = pod_spec
        .get_mut("containers")
        .and_then(|list| list.get_mut(index))
        .and_then(Value::as_object_mut);
    let Some(container) = container else {
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
