//! Reading the parts that every Kubernetes object has.

use nacre_findings::ResourceRef;
use serde_json::{Map, Value};

/// Which object a value is, for findings.
pub fn resource_ref(object: &Value) -> ResourceRef {
    let metadata = object.get("metadata");
    let text = |node: Option<&Value>, key: &str| {
        node.and_then(|n| n.get(key))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    ResourceRef {
        api_version: text(Some(object), "apiVersion").unwrap_or_default(),
        kind: text(Some(object), "kind").unwrap_or_default(),
        namespace: text(metadata, "namespace").filter(|n| !n.is_empty()),
        name: text(metadata, "name").unwrap_or_default(),
    }
}

/// `metadata.annotations` of an object or template.
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}

/// `metadata.labels` of an object or template.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("labels")?.as_object()
}

/// Sets an annotation, making `metadata` and `annotations` where they are missing.
///
/// Returns false when one of them is there and no mapping.
pub fn set_annotation(object: &mut Value, key: &str, value: &str) -> bool {
    let metadata = child(object, "metadata");
    let Some(annotations) = metadata.and_then(|m| child(m, "annotations")) else {
        return false;
    };
    let Some(map) = annotations.as_object_mut() else {
        return false;
    };
    if map.get(key).and_then(Value::as_str) != Some(value) {
        map.insert(key.to_owned(), Value::from(value));
    }
    true
}

/// Removes an annotation.
pub fn remove_annotation(object: &mut Value, key: &str) {
    let annotations = object
        .get_mut("metadata")
        .and_then(|m| m.get_mut("annotations"))
        .and_then(Value::as_object_mut);
    if let Some(map) = annotations {
        map.shift_remove(key);
    }
}

/// The mapping below a key, made where it is missing or null.
fn child<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let map = object.as_object_mut()?;
    let node = map.entry(key).or_insert(Value::Null);
    if node.is_null() {
        *node = Value::Object(Map::new());
    }
    node.is_object().then_some(node)
}

/// The list below a key; missing and null read as no list.
pub(crate) fn list<'a>(node: &'a Value, key: &str) -> &'a [Value] {
    node.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The string below a key.
pub(crate) fn text<'a>(node: &'a Value, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Value::as_str)
}

/// A path without empty and `.` parts, `..` resolved, as the runtime sees it.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_are_made_where_missing() {
        let mut object = json!({"metadata": {"annotations": null}});
        assert!(set_annotation(&mut object, "a.b/c", "1"));
        assert_eq!(object, json!({"metadata": {"annotations": {"a.b/c": "1"}}}));
        remove_annotation(&mut object, "a.b/c");
        assert_eq!(object, json!({"metadata": {"annotations": {}}}));
        assert!(!set_annotation(&mut json!({"metadata": []}), "a", "1"));
    }

    #[test]
    fn a_reference_reads_what_is_there() {
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": ""}});
        let reference = resource_ref(&object);
        assert_eq!(reference.to_string(), "Pod a");
    }
}
