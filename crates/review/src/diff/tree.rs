//! Two pod specs side by side, field by field; lists of named things by name.

use serde_json::{Map, Value};

/// A field that differs, with its place in words.
#[derive(Debug, PartialEq)]
pub(super) struct Leaf {
    /// Keys from the root, list items by name.
    pub(super) path: Vec<Step>,
    pub(super) old: Option<Value>,
    pub(super) new: Option<Value>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of an object.
    Key(String),
    /// An item of a list, by what names it.
    Item(String),
}

/// What names the items of a list, by the key of the list. `env` of two variables with the same name
/// and ports are matched by their whole key.
fn naming(list: &str) -> Option<&'static [&'static str]> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims"
        | "sysctls" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" => &["containerPort", "protocol"],
        "hostAliases" => &["ip"],
        "items" => &["path"],
        _ => return None,
    })
}

/// Every field that differs. Absent and null are the same; so are an absent and an empty list or object.
pub(super) fn leaves(old: Option<&Value>, new: Option<&Value>) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    walk(&mut Vec::new(), present(old), present(new), &mut leaves);
    leaves
}

fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    })
}

fn walk(path: &mut Vec<Step>, old: Option<&Value>, new: Option<&Value>, leaves: &mut Vec<Leaf>) {
    if old == new {
        return;
    }
    let whole_item = matches!(path.last(), Some(Step::Item(_)));
    // A variable is one thing, however its value is given.
    if let [.., Step::Key(list), Step::Item(_)] = path.as_slice()
        && list == "env"
    {
        leaves.push(Leaf {
            path: path.clone(),
            old: old.cloned(),
            new: new.cloned(),
        });
        return;
    }
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => objects(path, a, b, leaves),
        // A new or removed item is one change, not as many as it has fields.
        (Some(Value::Object(a)), None) if !whole_item => objects(path, a, &Map::new(), leaves),
        (None, Some(Value::Object(b))) if !whole_item => objects(path, &Map::new(), b, leaves),
        _ => match (items(path, old), items(path, new)) {
            (Some(a), Some(b)) => named(path, &a, &b, leaves),
            _ => leaves.push(Leaf {
                path: path.clone(),
                old: old.cloned(),
                new: new.cloned(),
            }),
        },
    }
}

fn objects(
    path: &mut Vec<Step>,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    leaves: &mut Vec<Leaf>,
) {
    let only_new = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(only_new) {
        path.push(Step::Key(key.clone()));
        walk(path, present(old.get(key)), present(new.get(key)), leaves);
        path.pop();
    }
}

type Named<'a> = Vec<(String, &'a Value)>;

/// The items of a list of named things, each with its name. `None` for other lists and for lists in
/// which a name is missing or stands twice.
fn items<'a>(path: &[Step], value: Option<&'a Value>) -> Option<Named<'a>> {
    let Some(Step::Key(list)) = path.last() else {
        return None;
    };
    let keys = naming(list)?;
    let Some(value) = value else {
        return Some(Vec::new());
    };
    let mut named: Named<'a> = Vec::new();
    for item in value.as_array()? {
        let parts = keys
            .iter()
            .filter_map(|key| item.get(key))
            .map(|part| match part {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
        let name = parts.collect::<Vec<_>>().join("/");
        if name.is_empty() || named.iter().any(|(known, _)| *known == name) {
            return None;
        }
        named.push((name, item));
    }
    Some(named)
}

fn named(path: &mut Vec<Step>, old: &Named<'_>, new: &Named<'_>, leaves: &mut Vec<Leaf>) {
    let find = |list: &Named<'_>, name: &str| {
        list.iter()
            .find(|(known, _)| known == name)
            .map(|(_, item)| (*item).clone())
    };
    let only_new = new.iter().filter(|(name, _)| find(old, name).is_none());
    for (name, _) in old.iter().chain(only_new) {
        path.push(Step::Item(name.clone()));
        let (before, after) = (find(old, name), find(new, name));
        walk(path, before.as_ref(), after.as_ref(), leaves);
        path.pop();
    }
    order(path, old, new, leaves);
}

/// Init containers run in order, and a later variable of the same name wins: order is meaning there.
fn order(path: &[Step], old: &Named<'_>, new: &Named<'_>, leaves: &mut Vec<Leaf>) {
    let Some(Step::Key(list)) = path.last() else {
        return;
    };
    if list != "initContainers" {
        return;
    }
    let common = |list: &Named<'_>, other: &Named<'_>| -> Vec<Value> {
        let in_both = |name: &&String| other.iter().any(|(known, _)| known == *name);
        let names = list.iter().map(|(name, _)| name).filter(in_both);
        names.map(|name| Value::from(name.as_str())).collect()
    };
    let (before, after) = (common(old, new), common(new, old));
    if before != after {
        let mut path = path.to_vec();
        path.push(Step::Item("order".to_owned()));
        leaves.push(Leaf {
            path,
            old: Some(Value::Array(before)),
            new: Some(Value::Array(after)),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(old: Value, new: Value) -> Vec<String> {
        let show = |step: &Step| match step {
            Step::Key(key) => format!(".{key}"),
            Step::Item(name) => format!("[{name}]"),
        };
        leaves(Some(&old), Some(&new))
            .iter()
            .map(|leaf| leaf.path.iter().map(show).collect())
            .collect()
    }

    #[test]
    fn items_are_compared_by_name_wherever_they_stand() {
        let old = json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b" }] });
        let new = json!({ "containers": [{ "name": "b" }, { "name": "a", "image": "2" }] });
        assert_eq!(paths(old, new), [".containers[a].image"]);
    }

    #[test]
    fn absent_null_and_empty_are_the_same() {
        let old = json!({ "volumes": [], "securityContext": {}, "hostname": null });
        assert_eq!(paths(old, json!({})), Vec::<String>::new());
    }

    #[test]
    fn a_new_item_is_one_change_and_a_new_object_is_its_fields() {
        let old = json!({ "containers": [{ "name": "a" }] });
        let new = json!({ "containers": [
            { "name": "a", "securityContext": { "privileged": true, "runAsUser": 0 } },
            { "name": "b", "image": "x" },
        ] });
        let expected = [
            ".containers[a].securityContext.privileged",
            ".containers[a].securityContext.runAsUser",
            ".containers[b]",
        ];
        assert_eq!(paths(old, new), expected);
    }

    #[test]
    fn lists_without_clear_names_are_compared_whole() {
        let old = json!({ "env": [{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }] });
        let new = json!({ "env": [{ "name": "A", "value": "2" }, { "name": "A", "value": "1" }] });
        assert_eq!(paths(old, new), [".env"]);
        assert_eq!(
            paths(json!({ "args": ["a"] }), json!({ "args": ["b"] })),
            [".args"]
        );
    }

    #[test]
    fn the_order_of_init_containers_is_meaning() {
        let old = json!({ "initContainers": [{ "name": "a" }, { "name": "b" }] });
        let new = json!({ "initContainers": [{ "name": "b" }, { "name": "x" }, { "name": "a" }] });
        assert_eq!(
            paths(old, new),
            [".initContainers[x]", ".initContainers[order]"]
        );
    }
}
