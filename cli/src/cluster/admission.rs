//! Who changes pods between their rendering and their guest.

use nacre_findings::{Finding, codes};
use serde_json::Value;

use super::health::{Objects, resource, text};

/// Versions of MutatingAdmissionPolicy, the newest first; a server has one or several of them, or none.
pub(crate) const POLICY_VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

/// What has a pod in it: API group and resource, and the operations after which a pod is another one. A pod itself cannot be
/// given another spec; a template can.
const CARRIERS: &[(&str, &str, &[&str])] = &[
    ("", "pods", &["CREATE"]),
    ("", "replicationcontrollers", &["CREATE", "UPDATE"]),
    ("apps", "deployments", &["CREATE", "UPDATE"]),
    ("apps", "statefulsets", &["CREATE", "UPDATE"]),
    ("apps", "daemonsets", &["CREATE", "UPDATE"]),
    ("apps", "replicasets", &["CREATE", "UPDATE"]),
    ("batch", "jobs", &["CREATE", "UPDATE"]),
    ("batch", "cronjobs", &["CREATE", "UPDATE"]),
];

/// Webhooks and policies that see pods of the namespace, or what pods are made from.
pub(super) fn examine(objects: &Objects, findings: &mut Vec<Finding>) {
    for configuration in &objects.webhooks {
        let name = text(configuration, "/metadata/name");
        let hooks = configuration.get("webhooks").and_then(Value::as_array);
        for hook in hooks.into_iter().flatten() {
            let carriers = carriers(hook.get("rules"));
            if !carriers.is_empty() && selected(hook, objects) {
                let message = format!(
                    "webhook {} may change {} of this namespace",
                    text(hook, "/name"),
                    carriers.join(", ")
                );
                let about = resource(
                    "admissionregistration.k8s.io/v1",
                    "MutatingWebhookConfiguration",
                    name,
                );
                findings.push(
                    Finding::warning(codes::cluster::MUTATING_WEBHOOK, message).resource(about),
                );
            }
        }
    }
    for policy in &objects.admission_policies {
        let constraints = policy.pointer("/spec/matchConstraints");
        let carriers = carriers(constraints.and_then(|c| c.get("resourceRules")));
        if !carriers.is_empty() && constraints.is_none_or(|c| selected(c, objects)) {
            let name = text(policy, "/metadata/name");
            let message = format!(
                "admission policy {name} may change {} of this namespace",
                carriers.join(", ")
            );
            let about = resource(text(policy, "/apiVersion"), "MutatingAdmissionPolicy", name);
            findings
                .push(Finding::warning(codes::cluster::MUTATING_WEBHOOK, message).resource(about));
        }
    }
}

/// The policies of a server, read at each of its versions, newest first. It gives one policy at all of them.
pub(crate) fn policies(read: Vec<(&str, Vec<Value>)>) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for (version, items) in read {
        for mut item in items {
            let name = text(&item, "/metadata/name");
            if !found
                .iter()
                .any(|known| text(known, "/metadata/name") == name)
            {
                // Items of a list do not say it.
                let version = format!("admissionregistration.k8s.io/{version}");
                if let Some(fields) = item.as_object_mut() {
                    fields.insert("apiVersion".to_owned(), version.into());
                }
                found.push(item);
            }
        }
    }
    found
}

/// The resources with pods in them that some rule is about.
fn carriers(rules: Option<&Value>) -> Vec<&'static str> {
    let has = |rule: &Value, list: &str, wanted: &[&str]| {
        let items = rule.get(list).and_then(Value::as_array);
        let mut items = items.into_iter().flatten().filter_map(Value::as_str);
        items.any(|item| wanted.contains(&item))
    };
    let rules = rules
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let touched = CARRIERS.iter().filter(|(group, resource, operations)| {
        rules.iter().any(|rule| {
            has(rule, "apiGroups", &[group, "*"])
                && has(
                    rule,
                    "resources",
                    &[resource, "*", "*/*", &format!("{resource}/*")],
                )
                && (has(rule, "operations", operations) || has(rule, "operations", &["*"]))
        })
    });
    touched.map(|(_, resource, _)| *resource).collect()
}

/// Whether the `namespaceSelector` of a webhook or policy, if it has one, takes the namespace.
fn selected(holder: &Value, objects: &Objects) -> bool {
    let selector = holder.get("namespaceSelector");
    selector.is_none_or(|selector| selects(selector, &objects.namespace))
}

/// Whether a label selector selects an object.
fn selects(selector: &Value, object: &Value) -> bool {
    let label = |key: &str| {
        let labels = object.pointer("/metadata/labels");
        labels
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    };
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let exact = exact
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    exact
        && expressions.into_iter().flatten().all(|expression| {
            let value = label(text(expression, "/key"));
            let values = expression.get("values").and_then(Value::as_array);
            let listed = value.is_some_and(|value| {
                let mut values = values.into_iter().flatten();
                values.any(|other| other.as_str() == Some(value))
            });
            match text(expression, "/operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                // An operator of the future: better one warning too many.
                _ => true,
            }
        })
}
