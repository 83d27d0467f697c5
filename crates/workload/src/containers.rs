//! Walking over the containers of a pod spec.

use nacre_findings::{Finding, codes::workload as codes};
use serde_json::Value;

use crate::object::{list, text};

/// The lists of containers, in the order in which they start.
pub(crate) const LISTS: [&str; 2] = ["initContainers", "containers"];

/// One container and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// `initContainers` or `containers`.
    pub list: &'static str,
    /// Place in the list.
    pub index: usize,
    /// The container.
    pub value: &'a Value,
}

impl<'a> Container<'a> {
    /// Its name; empty when it has none.
    pub fn name(&self) -> &'a str {
        text(self.value, "name").unwrap_or_default()
    }

    /// The path of a field of it, below the pod spec.
    pub fn field(&self, spec_field: &str, rest: &str) -> String {
        format!("{spec_field}.{}[{}].{rest}", self.list, self.index)
    }
}

/// Every init container, then every container.
pub fn containers(pod_spec: &Value) -> impl Iterator<Item = Container<'_>> {
    LISTS.into_iter().flat_map(move |key| {
        list(pod_spec, key)
            .iter()
            .enumerate()
            .map(move |(index, value)| Container {
                list: key,
                index,
                value,
            })
    })
}

/// Every container, to be changed, with its list and index, in the order of the mapping's keys.
pub fn containers_mut(
    pod_spec: &mut Value,
) -> impl Iterator<Item = (&'static str, usize, &mut Value)> {
    let entries = pod_spec.as_object_mut().into_iter().flatten();
    let lists = entries.filter_map(|(key, value)| {
        let name = LISTS.into_iter().find(|name| *name == key)?;
        Some((name, value.as_array_mut()?))
    });
    lists.flat_map(|(name, items)| {
        let items = items.iter_mut().enumerate();
        items.map(move |(index, value)| (name, index, value))
    })
}

/// What is wrong with the shape of a pod spec, so that the rest can rely on it.
pub fn shape(pod_spec: Option<&Value>, spec_field: &str) -> Vec<Finding> {
    let Some(spec) = pod_spec.filter(|spec| !spec.is_null()) else {
        let message = "the workload has no pod specification";
        return vec![no_containers(message).field(spec_field)];
    };
    let mut findings = Vec::new();
    let mut malformed = |field: String, expected: &str| {
        findings.push(
            Finding::error(codes::MALFORMED_POD, format!("expected {expected}")).field(field),
        );
    };
    if !spec.is_object() {
        malformed(spec_field.to_owned(), "a pod specification");
        return findings;
    }
    for key in ["containers", "initContainers", "volumes"] {
        match spec.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let field = format!("{spec_field}.{key}[{index}]");
                    match item.as_object() {
                        None => malformed(field, "a mapping with a name"),
                        Some(map) => {
                            if !matches!(map.get("name"), Some(Value::String(name)) if !name.is_empty())
                            {
                                malformed(format!("{field}.name"), "a name");
                            }
                            for list in ["volumeMounts", "env"] {
                                let fits = |v: &Value| {
                                    v.is_null()
                                        || v.as_array()
                                            .is_some_and(|a| a.iter().all(Value::is_object))
                                };
                                if !map.get(list).is_none_or(fits) {
                                    malformed(format!("{field}.{list}"), "a list of mappings");
                                }
                            }
                            for path in COMMANDS {
                                let value = path.iter().try_fold(item, |node, key| node.get(key));
                                if !value.is_none_or(is_command) {
                                    let path = path.join(".");
                                    malformed(
                                        format!("{field}.{path}"),
                                        "a list of strings: write numbers and booleans in quotes",
                                    );
                                }
                            }
                        }
                    }
                }
            }
            Some(_) => malformed(format!("{spec_field}.{key}"), "a list"),
        }
    }
    if findings.is_empty() && list(spec, "containers").is_empty() {
        findings.push(
            no_containers("the pod has no containers").field(format!("{spec_field}.containers")),
        );
    }
    if !list(spec, "ephemeralContainers").is_empty() {
        findings.push(
            Finding::error(
                codes::EPHEMERAL_CONTAINERS,
                "ephemeral containers cannot be part of a confidential pod",
            )
            .help(
                "they are added to a running pod by the cluster, which is not trusted; put a debug \
                 container into the pod template, or use the policy profile debug",
            )
            .field(format!("{spec_field}.ephemeralContainers")),
        );
    }
    duplicate_names(spec, spec_field, &mut findings);
    findings
}

/// Where a container says what to run.
const COMMANDS: [&[&str]; 7] = [
    &["command"],
    &["args"],
    &["livenessProbe", "exec", "command"],
    &["readinessProbe", "exec", "command"],
    &["startupProbe", "exec", "command"],
    &["lifecycle", "postStart", "exec", "command"],
    &["lifecycle", "preStop", "exec", "command"],
];

/// Whether a value is a command line as Kubernetes has it. A word that is none would be lost.
fn is_command(value: &Value) -> bool {
    value.is_null()
        || value
            .as_array()
            .is_some_and(|words| words.iter().all(Value::is_string))
}

fn no_containers(message: &str) -> Finding {
    Finding::error(codes::NO_CONTAINERS, message).help("give the pod at least one container")
}

fn duplicate_names(spec: &Value, spec_field: &str, findings: &mut Vec<Finding>) {
    let all: Vec<_> = containers(spec).collect();
    for (at, container) in all.iter().enumerate() {
        let before = all.get(..at).unwrap_or_default();
        if !container.name().is_empty() && before.iter().any(|c| c.name() == container.name()) {
            findings.push(
                Finding::error(
                    codes::DUPLICATE_CONTAINER,
                    format!("two containers are named {:?}", container.name()),
                )
                .help("Kubernetes refuses this too: rename one")
                .field(container.field(spec_field, "name")),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_come_first() {
        let mut spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "b"}], "volumes": [{"name": "v"}]});
        let names: Vec<_> = containers(&spec).map(|c| c.name().to_owned()).collect();
        assert_eq!(names, ["b", "a"]);
        let mutable: Vec<_> = containers_mut(&mut spec)
            .map(|(list, index, value)| (list, index, value["name"].clone()))
            .collect();
        assert_eq!(
            mutable,
            [
                ("containers", 0, json!("a")),
                ("initContainers", 0, json!("b"))
            ]
        );
    }

    #[test]
    fn odd_shapes_are_named() {
        for (spec, code, field) in [
            (None, codes::NO_CONTAINERS, "spec"),
            (Some(json!({})), codes::NO_CONTAINERS, "spec.containers"),
            (
                Some(json!({"containers": []})),
                codes::NO_CONTAINERS,
                "spec.containers",
            ),
            (Some(json!("x")), codes::MALFORMED_POD, "spec"),
            (
                Some(json!({"containers": "x"})),
                codes::MALFORMED_POD,
                "spec.containers",
            ),
            (
                Some(json!({"containers": ["x"]})),
                codes::MALFORMED_POD,
                "spec.containers[0]",
            ),
            (
                Some(json!({"containers": [{}]})),
                codes::MALFORMED_POD,
                "spec.containers[0].name",
            ),
            (
                Some(json!({"containers": [{"name": "a", "env": {}}]})),
                codes::MALFORMED_POD,
                "spec.containers[0].env",
            ),
            (
                Some(json!({"containers": [{"name": "a", "command": ["/app", "--port", 8080]}]})),
                codes::MALFORMED_POD,
                "spec.containers[0].command",
            ),
            (
                Some(json!({"containers": [{"name": "a", "args": "x y"}]})),
                codes::MALFORMED_POD,
                "spec.containers[0].args",
            ),
            (
                Some(
                    json!({"containers": [{"name": "a", "args": ["x"], "startupProbe": {"exec": {"command": [true]}}}]}),
                ),
                codes::MALFORMED_POD,
                "spec.containers[0].startupProbe.exec.command",
            ),
            (
                Some(
                    json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"exec": {"command": [null]}}}}]}),
                ),
                codes::MALFORMED_POD,
                "spec.containers[0].lifecycle.preStop.exec.command",
            ),
            (
                Some(json!({"containers": [{"name": "a"}], "initContainers": [{"name": "a"}]})),
                codes::DUPLICATE_CONTAINER,
                "spec.containers[0].name",
            ),
            (
                Some(
                    json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "b"}]}),
                ),
                codes::EPHEMERAL_CONTAINERS,
                "spec.ephemeralContainers",
            ),
        ] {
            let findings = shape(spec.as_ref(), "spec");
            assert_eq!(findings.len(), 1, "{spec:?}");
            assert_eq!(findings[0].code, code, "{spec:?}");
            assert_eq!(findings[0].field.as_deref(), Some(field));
        }
        assert_eq!(
            shape(
                Some(
                    &json!({"containers": [{"name": "a", "args": null, "command": []}], "volumes": null})
                ),
                "spec"
            ),
            []
        );
    }
}
