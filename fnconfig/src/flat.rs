//! Flat forms of the configuration: ConfigMap entries, flags, variables.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use strsim::osa_distance;

use crate::config;
use crate::error::Reason;
use crate::object::{Field, Reader};

/// Every flat name: the path of each field as `coordinator.host`, the same as `coordinator-host`, and
/// the further names of single fields.
pub fn flat_names() -> Vec<String> {
    leaves().into_iter().flat_map(|leaf| leaf.names).collect()
}

/// A field that can be given by a flat name.
struct Leaf {
    path: Vec<&'static str>,
    names: Vec<String>,
    field: &'static Field,
}

fn leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect(&mut Vec::new(), config::fields(), &mut leaves);
    // Some names of one field are the spelling of another (reference-values is the platform, as on
    // Contrast's command line): the further name wins.
    let aliases: Vec<&str> = leaves
        .iter()
        .flat_map(|leaf: &Leaf| leaf.field.aliases.iter().copied())
        .collect();
    for leaf in &mut leaves {
        let own = leaf.field.aliases;
        leaf.names
            .retain(|name| own.contains(&name.as_str()) || !aliases.contains(&name.as_str()));
    }
    leaves
}

fn collect(path: &mut Vec<&'static str>, fields: &'static [Field], leaves: &mut Vec<Leaf>) {
    for field in fields {
        path.push(field.key);
        let children = (field.fields)();
        if children.is_empty() || (field.words)().starts_with("list") {
            leaves.push(Leaf {
                path: path.clone(),
                names: names(path, field),
                field,
            });
        } else {
            collect(path, children, leaves);
        }
        path.pop();
    }
}

fn names(path: &[&str], field: &Field) -> Vec<String> {
    let mut names = vec![path.join(".")];
    let kebab = path
        .iter()
        .map(|step| kebab(step))
        .collect::<Vec<_>>()
        .join("-");
    if !names.contains(&kebab) {
        names.push(kebab);
    }
    names.extend(field.aliases.iter().map(|alias| (*alias).to_owned()));
    names
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            text.push('-');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

/// The flat names of a field, by its path; empty for fields that have none.
pub(crate) fn names_of(path: &[&str]) -> Vec<String> {
    leaves()
        .into_iter()
        .find(|leaf| leaf.path == path)
        .map(|leaf| leaf.names)
        .unwrap_or_default()
}

/// The entries of a ConfigMap.
pub(crate) fn config_map(value: &Value, reader: &mut Reader) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    if value.get("binaryData").is_some() {
        reader.within("binaryData", |reader| {
            reader.error(Reason::UnknownField, "a configuration has texts only");
        });
    }
    let Some(data) = value.get("data") else {
        return entries;
    };
    let Value::Object(data) = data else {
        reader.within("data", |reader| reader.wrong_type("an object", data));
        return entries;
    };
    for (key, value) in data {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            other => {
                reader.within(&format!("data.{key}"), |reader| {
                    reader.wrong_type("a text", other)
                });
                continue;
            }
        };
        entries.insert(key.clone(), text);
    }
    entries
}

/// The object that flat entries stand for.
pub(crate) fn nested(entries: &BTreeMap<String, String>, reader: &mut Reader) -> Value {
    let leaves = leaves();
    let mut root = Map::new();
    let mut given: BTreeMap<Vec<&str>, &str> = BTreeMap::new();
    for (name, text) in entries {
        let Some(leaf) = leaves.iter().find(|leaf| leaf.names.contains(name)) else {
            let all = leaves
                .iter()
                .flat_map(|leaf| leaf.names.iter().map(String::as_str));
            let suggestion = closest(name, all).map(str::to_owned);
            reader.within(name, |reader| {
                reader.error_with(Reason::UnknownField, "unknown name", suggestion);
            });
            continue;
        };
        if let Some(other) = given.insert(leaf.path.clone(), name) {
            reader.within(name, |reader| {
                reader.error(
                    Reason::Conflict,
                    format!("the same as {other}, which is given too"),
                );
            });
            continue;
        }
        insert(&mut root, &leaf.path, (leaf.field.from_flat)(text));
    }
    Value::Object(root)
}

fn insert(object: &mut Map<String, Value>, path: &[&'static str], value: Value) {
    match path {
        [] => {}
        [key] => {
            object.insert((*key).to_owned(), value);
        }
        [key, rest @ ..] => {
            let child = object
                .entry(*key)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(child) = child {
                insert(child, rest, value);
            }
        }
    }
}

/// A text that is JSON of a list or an object as that, any other as it is.
pub(crate) fn json_or_text(text: &str) -> Value {
    let structured = text.trim_start().starts_with(['{', '[']);
    let parsed = structured
        .then(|| serde_json::from_str(text).ok())
        .flatten();
    parsed.unwrap_or_else(|| Value::from(text))
}

/// The field that was probably meant: one of these by another spelling, or one further down that has
/// this very name.
pub(crate) fn suggest(key: &str, fields: &'static [Field]) -> Option<String> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let same = |field: &&Field| {
        plain(field.key) == plain(key)
            || field.aliases.iter().any(|alias| plain(alias) == plain(key))
    };
    if let Some(field) = fields.iter().find(same) {
        return Some(field.key.to_owned());
    }
    let below = fields.iter().find_map(|field| {
        let child = (field.fields)()
            .iter()
            .find(|child| plain(child.key) == plain(key))?;
        Some(format!("{}.{}", field.key, child.key))
    });
    // `bootloaderVersion` for `bootloader`.
    let longer = || {
        let begins =
            |field: &&Field| field.key.len() > 2 && plain(key).starts_with(&plain(field.key));
        let longest = fields
            .iter()
            .filter(begins)
            .max_by_key(|field| field.key.len())?;
        Some(longest.key.to_owned())
    };
    below
        .or_else(|| closest(key, fields.iter().map(|field| field.key)).map(str::to_owned))
        .or_else(longer)
}

/// The name with the fewest differing letters, if at most a third of them differ.
pub fn closest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let text = text.to_ascii_lowercase();
    let distances = names
        .into_iter()
        .map(|name| (osa_distance(&text, &name.to_ascii_lowercase()), name));
    let (distance, name) = distances.min()?;
    (distance * 3 <= name.len().max(text.len())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_counts_swapped_letters_once_and_knows_no_case() {
        let names = ["platform", "namespace"];
        assert_eq!(closest("Platfrom", names), Some("platform"));
        assert_eq!(closest("target", names), None);
    }

    #[test]
    fn a_longer_name_means_the_field_that_it_is_closest_to() {
        use crate::object::ConfigValue as _;
        use crate::references::{References, TcbValues};
        let values = |key| suggest(key, References::fields());
        assert_eq!(
            values("minimumTcbByModels").as_deref(),
            Some("minimumTcbByModel")
        );
        assert_eq!(values("platformInfos").as_deref(), Some("platformInfo"));
        // Too far from each, and both begin it.
        let longest = values("minimumTcbByModelOfThisMachine");
        assert_eq!(longest.as_deref(), Some("minimumTcbByModel"));
        let tcb = suggest("bootloaderVersion", TcbValues::fields());
        assert_eq!(tcb.as_deref(), Some("bootloader"));
    }

    #[test]
    fn names_come_in_both_spellings() {
        let names = flat_names();
        for name in [
            "platform",
            "reference-values",
            "skipInitializer",
            "skip-initializer",
            "coordinator.host",
            "coordinator-host",
            "coordinator-policy-hash",
            "policy-profile",
            "manifest-out",
            "images-service-mesh",
            "referenceValues",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }

    #[test]
    fn no_name_stands_for_two_fields() {
        let mut names = flat_names();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
