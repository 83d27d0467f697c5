//! Pods that ask to be confidential where nobody looks: in kinds that are not known.

use nacre_findings::{Finding, codes::generate as codes};
use nacre_fnconfig::Confidential;
use nacre_krm::Path;
use nacre_workload::kinds::Kinds;
use nacre_workload::names::RUNTIME_CLASS;
use nacre_workload::object::resource_ref;
use serde_json::Value;

use crate::catalogue::{API_VERSION, KIND, is_ours};
use crate::options::omission;
use crate::place::Place;

/// Kinds whose content is not a pod's, whatever it looks like.
const DATA: [&str; 3] = ["ConfigMap", "Secret", "Service"];

/// Pod specifications of an object that name a confidential runtime class and are not the one that
/// the kind is known for.
pub(crate) fn find(place: &Place<'_>, kinds: &Kinds, config: &Confidential) -> Vec<Finding> {
    let (Some(version), Some(kind)) = (place.text(&API_VERSION), place.text(&KIND)) else {
        return Vec::new();
    };
    if is_ours(&version) || version == "v1" && DATA.contains(&kind.as_ref()) {
        return Vec::new();
    }
    let claimed = kinds.template(&version, &kind).map(|t| t.spec_field());
    // Kubernetes' own kinds have one pod template each.
    let custom = config.custom_resources.iter();
    if claimed.is_some() && !custom.map(|c| &c.kind).any(|custom| *custom == kind) {
        return Vec::new();
    }
    let Some(object) = place.value(&Path::root()) else {
        return Vec::new();
    };
    let mut fields = Vec::new();
    pod_specs(&object, &mut String::new(), &mut fields);
    fields.retain(|field| Some(field) != claimed.as_ref());
    let severity = omission(config);
    let finding = |field: String| {
        let template = field.strip_suffix(".spec");
        let help = match template.filter(|template| !template.contains('[')) {
            Some(template) if claimed.is_none() => format!(
                "name it in the configuration: customResources: [{{apiVersion: {version}, kind: \
                 {kind}, podTemplate: {template}}}]"
            ),
            Some(template) => format!(
                "customResources has another podTemplate for {kind}: write {template}, or put the pod into \
                 a kind of its own"
            ),
            None => "a pod template in a list cannot be named: put the pod into a kind of its own"
                .to_owned(),
        };
        let location = place.locate(&field);
        Finding::new(
            codes::UNCLAIMED_POD,
            severity,
            format!(
                "this pod of {version} {kind} is left as it is: nothing says that there is one"
            ),
        )
        .help(help)
        .resource(resource_ref(&object))
        .field(format!("{field}.runtimeClassName"))
        .at(location)
    };
    fields.into_iter().map(finding).collect()
}

/// Paths of the pod specifications in a value that name a confidential runtime class.
fn pod_specs(value: &Value, at: &mut String, found: &mut Vec<String>) {
    let length = at.len();
    match value {
        Value::Object(members) => {
            let class = members.get("runtimeClassName").and_then(Value::as_str);
            if members.get("containers").is_some_and(Value::is_array)
                && class.is_some_and(|class| class.starts_with(RUNTIME_CLASS))
            {
                found.push(at.clone());
            }
            for (key, member) in members {
                if !at.is_empty() {
                    at.push('.');
                }
                at.push_str(key);
                pod_specs(member, at, found);
                at.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("[{index}]"));
                pod_specs(item, at, found);
                at.truncate(length);
            }
        }
        _ => {}
    }
}
