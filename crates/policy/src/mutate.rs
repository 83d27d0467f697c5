//! Changes a hostile host could make to a request.
//!
//! The mutations are made from the request itself: every member of every object and list is
//! changed, removed and added to in turn, and after that come attacks with a name. A field that
//! a newer agent adds is therefore mutated without anyone thinking of it.

use serde_json::{Value, json};

use attacks::attacks;
pub use harmless::{HARMLESS, Harmless, harmless};

mod attacks;
pub(crate) mod harmless;

/// One changed request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mutation {
    /// What was changed.
    pub title: String,
    /// Where, with list positions left out (`OCI.Process.Args[]`).
    pub path: String,
    /// In which way.
    pub kind: Kind,
    /// The changed request.
    pub input: Value,
    /// The item that was taken away, the text that was altered.
    before: Value,
}

/// Ways to change a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Something where nothing was.
    Fill,
    /// Another scalar.
    Change,
    /// Another text of the same shape.
    Alter,
    /// Nothing where something was.
    Empty,
    /// A list the other way round.
    Reverse,
    /// An item more.
    Add,
    /// A member more, with something in it, as a newer agent could have it; today only maps can.
    AddMember,
    /// A member less; protobuf fills it with its default, so only maps can really lack it.
    RemoveMember,
    /// The first item once more.
    Repeat,
    /// An item less.
    Remove,
    /// A named attack.
    Attack,
}

impl Kind {
    /// The change, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fill => "something where nothing was",
            Self::Change => "another value",
            Self::Alter => "another value of its shape",
            Self::Empty => "none",
            Self::Reverse => "other order",
            Self::Add => "an item more",
            Self::AddMember => "a member more",
            Self::RemoveMember => "a member less",
            Self::Repeat => "an item twice",
            Self::Remove => "an item less",
            Self::Attack => "an attack",
        }
    }
}

/// Every change of one member, then the named attacks.
pub fn all(message: &str, input: &Value) -> Vec<Mutation> {
    let mut out = Vec::new();
    walk(input, input, &mut Vec::new(), &mut out);
    attacks(message, input, &mut out);
    out.retain(|m| m.input != *input);
    out
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn walk(root: &Value, here: &Value, at: &mut Vec<Step>, out: &mut Vec<Mutation>) {
    let mut push = |kind: Kind, what: &str, at: &[Step], value: Value| {
        let mut input = root.clone();
        if let Some(place) = find(&mut input, at) {
            let before = match (kind, &*place, &value) {
                (Kind::Alter, ..) => place.clone(),
                (Kind::Remove, Value::Array(old), Value::Array(new)) => old
                    .iter()
                    .find(|item| !new.contains(item))
                    .cloned()
                    .unwrap_or_default(),
                _ => Value::Null,
            };
            *place = value;
            out.push(Mutation {
                title: format!("{what} {}", exact(at)),
                path: general(at),
                kind,
                input,
                before,
            });
        }
    };
    match here {
        Value::Null => {
            push(
                Kind::Fill,
                "fill",
                at,
                json!({"uid": "0", "gid": "0", "additionalGids": []}),
            );
            push(Kind::Fill, "fill", at, json!([{"Path": "/bin/sh"}]));
        }
        Value::Bool(b) => push(Kind::Change, "negate", at, (!b).into()),
        Value::Number(n) => {
            push(
                Kind::Change,
                "increase",
                at,
                (n.as_i64().unwrap_or(0) + 1).into(),
            );
            if n.as_i64() != Some(0) {
                push(Kind::Change, "zero", at, 0.into());
            }
        }
        Value::String(s) => {
            push(Kind::Empty, "empty", at, "".into());
            push(Kind::Change, "extend", at, format!("{s}x").into());
            push(Kind::Change, "replace", at, "evil".into());
            push(Kind::Change, "climb", at, format!("{s}/../../etc").into());
            // What still has the shape of the original.
            if let Some(digit) = s.find(|c: char| c.is_ascii_digit()) {
                let (before, from) = s.split_at(digit);
                let other = if from.starts_with('7') { '4' } else { '7' };
                let altered = from.chars().skip(1);
                let altered: String = before.chars().chain([other]).chain(altered).collect();
                push(Kind::Alter, "alter a digit of", at, altered.into());
            }
        }
        Value::Array(items) => {
            push(Kind::Empty, "empty", at, json!([]));
            let mut more = items.clone();
            more.push(items.first().cloned().unwrap_or_else(|| "evil".into()));
            push(Kind::Repeat, "repeat the first of", at, more.into());
            for index in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(index);
                push(
                    Kind::Remove,
                    &format!("remove {index} of"),
                    at,
                    fewer.into(),
                );
            }
            if items.len() > 1 {
                let mut turned = items.clone();
                turned.reverse();
                push(Kind::Reverse, "reverse", at, turned.into());
            }
            if items.iter().all(Value::is_string) {
                let mut more = items.clone();
                more.push("evil".into());
                push(Kind::Add, "add to", at, more.into());
            }
        }
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("evil".to_owned(), "evil".into());
            push(Kind::AddMember, "add to", at, more.into());
            if !at.is_empty() {
                push(Kind::Empty, "take away", at, Value::Null);
            }
            for key in members.keys() {
                let mut fewer = members.clone();
                fewer.shift_remove(key);
                push(
                    Kind::RemoveMember,
                    &format!("remove {key} of"),
                    at,
                    fewer.into(),
                );
            }
        }
    }
    match here {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push(Step::Index(index));
                walk(root, item, at, out);
                at.pop();
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                at.push(Step::Key(key.clone()));
                walk(root, member, at, out);
                at.pop();
            }
        }
        _ => {}
    }
}

fn find<'a>(value: &'a mut Value, at: &[Step]) -> Option<&'a mut Value> {
    at.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key.as_str()),
        Step::Index(index) => value.get_mut(index),
    })
}

fn exact(at: &[Step]) -> String {
    text(at, |index| format!("[{index}]"))
}

fn general(at: &[Step]) -> String {
    text(at, |_| "[]".to_owned())
}

fn text(at: &[Step], index: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for step in at {
        match step {
            Step::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
            Step::Index(at) => out.push_str(&index(*at)),
        }
    }
    out
}

/// Another image, wherever the request names it: the guest pulls the source, and a host that changes it changes
/// the annotation and its copy in the metadata as well.
pub(crate) fn image(input: &mut Value, name: &str) -> bool {
    const KEY: &str = "io.kubernetes.cri.image-name";
    let pulled = |storage: &&mut Value| {
        storage.get("driver").and_then(Value::as_str) == Some("image_guest_pull")
    };
    let storages = input.get_mut("storages").and_then(Value::as_array_mut);
    let Some(storage) = storages.into_iter().flatten().find(pulled) else {
        return false;
    };
    if let Some(source) = storage.get_mut("source") {
        *source = name.into();
    }
    let options = storage.get_mut("driver_options");
    for option in options.and_then(Value::as_array_mut).into_iter().flatten() {
        let text = option.as_str().unwrap_or("").to_owned();
        let Some(metadata) = text.strip_prefix("image_guest_pull=") else {
            continue;
        };
        let mut metadata: Value = serde_json::from_str(metadata).unwrap_or_default();
        if let Some(named) = metadata.pointer_mut(&format!("/metadata/{KEY}")) {
            *named = name.into();
            *option = format!("image_guest_pull={metadata}").into();
        }
    }
    if let Some(named) = input.pointer_mut(&format!("/OCI/Annotations/{KEY}")) {
        *named = name.into();
    }
    true
}
