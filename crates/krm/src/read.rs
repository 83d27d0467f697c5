//! Reading a [`Tree`]: JSON values, look-ups by key, comparison.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::{Error, Position};
use crate::path::Step;
use crate::scalar::{self, Scalar};
use crate::tree::{Id, Kind, TagKind, Tree};

/// A tree and the text it points into.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    tree: &'a Tree,
}

/// A scalar's meaning.
pub(crate) enum Meaning<'a> {
    Scalar(Scalar),
    Text(Cow<'a, str>),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, tree: &'a Tree) -> Self {
        Self { text, tree }
    }

    /// Every scalar has a JSON value; numbers and tags that have none are refused here.
    pub(crate) fn check_scalar(&self, id: Id) -> Result<(), Error> {
        match self.meaning(id) {
            Ok(Meaning::Scalar(Scalar::NotJson)) => Err(Error::Number {
                at: self.position(id),
                text: self.tree.scalar(self.text, id).to_owned(),
            }),
            Ok(_) => Ok(()),
            Err(tag) => Err(Error::Tag {
                at: self.position(id),
                tag,
            }),
        }
    }

    /// What a scalar means; the tag it does not fit otherwise.
    pub(crate) fn meaning(&self, id: Id) -> Result<Meaning<'a>, &'static str> {
        let node = self.tree.node(id);
        let text = self.tree.scalar(self.text, id);
        let Some(tag) = self.tree.tag(id) else {
            return Ok(match node.kind {
                Kind::Empty => Meaning::Scalar(Scalar::Null),
                Kind::Plain => match scalar::resolve(text) {
                    Scalar::Text => Meaning::Text(Cow::Borrowed(text)),
                    other => Meaning::Scalar(other),
                },
                _ => Meaning::Text(Cow::Borrowed(text)),
            });
        };
        let resolved = scalar::resolve(text);
        let fits = |scalar: Scalar, name| match scalar {
            Scalar::Text => Err(name),
            other => Ok(Meaning::Scalar(other)),
        };
        match (tag.kind, resolved) {
            (TagKind::Int, Scalar::Int(_) | Scalar::UInt(_)) => fits(resolved, "!!int"),
            (TagKind::Int, _) => Err("!!int"),
            (TagKind::Float, Scalar::Int(i)) => Ok(Meaning::Scalar(Scalar::Float(i as f64))),
            (TagKind::Float, Scalar::Float(_) | Scalar::NotJson) => fits(resolved, "!!float"),
            (TagKind::Float, _) => Err("!!float"),
            (TagKind::Bool, Scalar::Bool(_)) => fits(resolved, "!!bool"),
            (TagKind::Bool, _) => Err("!!bool"),
            (TagKind::Null, Scalar::Null) => fits(resolved, "!!null"),
            (TagKind::Null, _) => Err("!!null"),
            (TagKind::Binary, _) => binary(text)
                .map(|s| Meaning::Text(Cow::Owned(s)))
                .ok_or("!!binary (base64 of UTF-8 text)"),
            (TagKind::Timestamp, _) if scalar::is_date(text) => {
                Ok(Meaning::Text(Cow::Borrowed(text)))
            }
            (TagKind::Timestamp, _) => Err("!!timestamp"),
            (TagKind::Str | TagKind::Merge | TagKind::Other, _) => {
                Ok(Meaning::Text(Cow::Borrowed(text)))
            }
        }
    }

    /// Keys are strings or become strings, each is set once, merges merge mappings. Whether there
    /// is a merge.
    pub(crate) fn check_mapping(&self, id: Id) -> Result<bool, Error> {
        let mut keys: Vec<(Cow<'a, str>, Id)> = Vec::new();
        let mut merges: Option<Id> = None;
        for (key, value) in self.tree.entries(id) {
            if self.is_merge(key) {
                self.check_merge(value)?;
                let mut merged = BTreeSet::new();
                if !keys.is_empty() {
                    self.merged_names(value, &mut merged);
                }
                for (name, first) in &keys {
                    if merged.contains(name) {
                        return Err(Error::MergeOrder {
                            at: self.position(key),
                            key: name.clone().into_owned(),
                            first: self.position(*first),
                        });
                    }
                }
                if let Some(first) = merges {
                    return Err(Error::DuplicateKey {
                        at: self.position(key),
                        key: "<<".to_owned(),
                        first: self.position(first),
                    });
                }
                merges = Some(key);
                continue;
            }
            keys.push((self.checked_key(key)?, key));
        }
        self.check_unique(keys)?;
        Ok(merges.is_some())
    }

    fn check_unique(&self, mut keys: Vec<(Cow<'a, str>, Id)>) -> Result<(), Error> {
        const PAIRWISE: usize = 12;
        let mut twice = None;
        if keys.len() <= PAIRWISE {
            'outer: for (i, (key, id)) in keys.iter().enumerate() {
                for (other, first) in keys.iter().take(i) {
                    if key == other {
                        twice = Some((*first, *id));
                        break 'outer;
                    }
                }
            }
        } else {
            keys.sort_unstable();
            twice = keys
                .windows(2)
                .filter_map(|pair| match pair {
                    [(a, first), (b, second)] if a == b => Some((*first, *second)),
                    _ => None,
                })
                .min_by_key(|(_, second)| *second);
        }
        match twice {
            None => Ok(()),
            Some((first, second)) => Err(Error::DuplicateKey {
                at: self.position(second),
                key: self.key(second).unwrap_or_default().into_owned(),
                first: self.position(first),
            }),
        }
    }

    fn checked_key(&self, id: Id) -> Result<Cow<'a, str>, Error> {
        let node = self.tree.node(self.tree.follow(id));
        if node.kind.is_collection() {
            let at = self.position(id);
            let template = node.kind == Kind::FlowMap
                && self
                    .text
                    .get(..node.from())
                    .is_some_and(|before| before.ends_with('{'));
            return Err(if template {
                Error::Template { at }
            } else {
                Error::Key {
                    at,
                    found: if node.kind.is_map() {
                        "a mapping"
                    } else {
                        "a list"
                    },
                }
            });
        }
        self.key(id).ok_or_else(|| Error::Key {
            at: self.position(id),
            found: match self.meaning(self.tree.follow(id)) {
                Ok(Meaning::Scalar(Scalar::Null)) => "null",
                _ => "a number beyond 64 bits with sign",
            },
        })
    }

    fn check_merge(&self, value: Id) -> Result<(), Error> {
        let target = self.tree.follow(value);
        let kind = self.tree.node(target).kind;
        let fine = kind.is_map()
            || (kind.is_seq()
                && target == value
                && self
                    .tree
                    .items(target)
                    .all(|item| self.tree.node(self.tree.follow(item)).kind.is_map()));
        if fine {
            return Ok(());
        }
        Err(Error::Merge {
            at: self.position(value),
        })
    }

    /// Whether a key is the merge key: `<<` without quotes.
    pub(crate) fn is_merge(&self, key: Id) -> bool {
        let node = self.tree.node(key);
        match self.tree.tag(key) {
            None => node.kind == Kind::Plain && self.tree.scalar(self.text, key) == "<<",
            Some(tag) => tag.kind == TagKind::Merge && self.tree.scalar(self.text, key) == "<<",
        }
    }

    /// The value of the merge key of a mapping.
    pub(crate) fn merge_value(&self, map: Id) -> Option<Id> {
        if !self.tree.has_merge(map) {
            return None;
        }
        self.tree
            .entries(map)
            .find(|(key, _)| self.is_merge(*key))
            .map(|(_, value)| value)
    }

    /// The text of a mapping key in JSON.
    pub(crate) fn key(&self, id: Id) -> Option<Cow<'a, str>> {
        match self.meaning(self.tree.follow(id)).ok()? {
            Meaning::Text(text) => Some(text),
            Meaning::Scalar(scalar) => scalar.key().map(Cow::Owned),
        }
    }

    /// The value under a key: the mapping's own, else a merged one.
    pub(crate) fn get(&self, map: Id, key: &str) -> Option<Id> {
        self.get_own(map, key)
            .or_else(|| self.merged(self.merge_value(map)?, key))
    }

    /// The value under a key that the mapping itself has.
    pub(crate) fn get_own(&self, map: Id, key: &str) -> Option<Id> {
        let merges = self.tree.has_merge(map);
        self.tree
            .entries(map)
            .find(|(k, _)| !(merges && self.is_merge(*k)) && self.key(*k).is_some_and(|k| k == key))
            .map(|(_, value)| value)
    }

    /// The value under a key of what a merge key merges; earlier items of a list win.
    pub(crate) fn merged(&self, value: Id, key: &str) -> Option<Id> {
        let target = self.tree.follow(value);
        if self.tree.node(target).kind.is_map() {
            return self.get(target, key);
        }
        self.tree
            .items(target)
            .find_map(|item| self.get(self.tree.follow(item), key))
    }

    /// The keys of what a merge key merges.
    fn merged_names(&self, value: Id, names: &mut BTreeSet<Cow<'a, str>>) {
        let target = self.tree.follow(value);
        if !self.tree.node(target).kind.is_map() {
            for item in self.tree.items(target) {
                self.merged_names(item, names);
            }
            return;
        }
        let merges = self.tree.has_merge(target);
        for (key, value) in self.tree.entries(target) {
            if merges && self.is_merge(key) {
                self.merged_names(value, names);
            } else {
                names.extend(self.key(key));
            }
        }
    }

    /// The node one step inside, aliases followed.
    pub(crate) fn step(&self, id: Id, step: &Step) -> Option<Id> {
        let id = self.tree.follow(id);
        let kind = self.tree.node(id).kind;
        match step {
            Step::Key(key) if kind.is_map() => self.get(id, key),
            Step::Index(index) if kind.is_seq() => self.tree.items(id).nth(*index),
            _ => None,
        }
    }

    /// The node at a path.
    pub(crate) fn at(&self, steps: &[Step]) -> Option<Id> {
        let mut id = Id::ROOT;
        for step in steps {
            id = self.step(id, step)?;
        }
        Some(id)
    }

    /// The string at a scalar node; `None` for anything else.
    pub(crate) fn str(&self, id: Id) -> Option<Cow<'a, str>> {
        let id = self.tree.follow(id);
        if self.tree.node(id).kind.is_collection() {
            return None;
        }
        match self.meaning(id).ok()? {
            Meaning::Text(text) => Some(text),
            Meaning::Scalar(_) => None,
        }
    }

    /// Whether a node reads as a value.
    pub(crate) fn eq(&self, id: Id, value: &Value) -> bool {
        let id = self.tree.follow(id);
        let kind = self.tree.node(id).kind;
        if kind.is_map() {
            let Value::Object(map) = value else {
                return false;
            };
            if self.tree.has_merge(id) {
                return same(&self.value(id), value);
            }
            let mut next = map.iter();
            let mut count = 0;
            for (key, child) in self.tree.entries(id) {
                let Some(name) = self.key(key) else {
                    return false;
                };
                let wanted = match next.next() {
                    Some((wanted_key, wanted)) if *wanted_key == *name => Some(wanted),
                    _ => map.get(name.as_ref()),
                };
                count += 1;
                if !wanted.is_some_and(|wanted| self.eq(child, wanted)) {
                    return false;
                }
            }
            return count == map.len();
        }
        if kind.is_seq() {
            let Value::Array(items) = value else {
                return false;
            };
            let mut wanted = items.iter();
            return self
                .tree
                .items(id)
                .all(|item| wanted.next().is_some_and(|w| self.eq(item, w)))
                && wanted.next().is_none();
        }
        match (self.meaning(id), value) {
            (Ok(Meaning::Text(text)), Value::String(wanted)) => text == wanted.as_str(),
            (Ok(Meaning::Scalar(Scalar::Null)), Value::Null) => true,
            (Ok(Meaning::Scalar(Scalar::Bool(b))), Value::Bool(wanted)) => b == *wanted,
            (Ok(Meaning::Scalar(scalar)), Value::Number(wanted)) => match scalar.to_value() {
                Some(Value::Number(number)) => same_number(&number, wanted),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a node reads as a node of another text.
    pub(crate) fn same(&self, id: Id, other: &Reader<'_>, other_id: Id) -> bool {
        let (id, other_id) = (self.tree.follow(id), other.tree.follow(other_id));
        let (node, other_node) = (self.tree.node(id), other.tree.node(other_id));
        if node.kind.is_map() && other_node.kind.is_map() {
            if self.tree.has_merge(id) || other.tree.has_merge(other_id) {
                return same(&self.value(id), &other.value(other_id));
            }
            let mut pairs = other.tree.entries(other_id);
            let mut count = 0;
            for (key, child) in self.tree.entries(id) {
                count += 1;
                let Some(name) = self.key(key) else {
                    return false;
                };
                let found = match pairs.next() {
                    Some((k, v)) if other.key(k).is_some_and(|k| k == name) => Some(v),
                    _ => other.get(other_id, &name),
                };
                if !found.is_some_and(|found| self.same(child, other, found)) {
                    return false;
                }
            }
            return count == other.tree.entries(other_id).count();
        }
        if node.kind.is_seq() && other_node.kind.is_seq() {
            let mut items = other.tree.items(other_id);
            return self
                .tree
                .items(id)
                .all(|item| items.next().is_some_and(|o| self.same(item, other, o)))
                && items.next().is_none();
        }
        if node.kind.is_collection() || other_node.kind.is_collection() {
            return false;
        }
        match (self.meaning(id), other.meaning(other_id)) {
            (Ok(Meaning::Text(a)), Ok(Meaning::Text(b))) => a == b,
            (Ok(Meaning::Scalar(a)), Ok(Meaning::Scalar(b))) => same(
                &a.to_value().unwrap_or(Value::Null),
                &b.to_value().unwrap_or(Value::Null),
            ),
            _ => false,
        }
    }

    pub(crate) fn is_map(&self, id: Id) -> bool {
        self.tree.node(self.tree.follow(id)).kind.is_map()
    }

    pub(crate) fn is_seq(&self, id: Id) -> bool {
        self.tree.node(self.tree.follow(id)).kind.is_seq()
    }

    /// The entries of a mapping without merge keys, by name. Nothing for other nodes.
    pub(crate) fn named(&self, id: Id) -> impl Iterator<Item = (Cow<'a, str>, Id)> + use<'a> {
        let id = self.tree.follow(id);
        let reader = *self;
        let entries = self
            .tree
            .node(id)
            .kind
            .is_map()
            .then(|| self.tree.entries(id));
        entries
            .into_iter()
            .flatten()
            .filter_map(move |(key, value)| Some((reader.key(key)?, value)))
    }

    /// The items of a sequence. Nothing for other nodes.
    pub(crate) fn list(&self, id: Id) -> impl Iterator<Item = Id> + use<'a> {
        let id = self.tree.follow(id);
        self.tree
            .node(id)
            .kind
            .is_seq()
            .then(|| self.tree.items(id))
            .into_iter()
            .flatten()
    }

    /// Whether a node reads as null.
    pub(crate) fn value_is_null(&self, id: Id) -> bool {
        let id = self.tree.follow(id);
        !self.tree.node(id).kind.is_collection()
            && matches!(self.meaning(id), Ok(Meaning::Scalar(Scalar::Null)))
    }

    /// The JSON value of a node, aliases and merges resolved. Depth and size were bounded when
    /// the tree was built.
    pub(crate) fn value(&self, id: Id) -> Value {
        let id = self.tree.follow(id);
        let kind = self.tree.node(id).kind;
        if kind.is_map() {
            return Value::Object(self.map(id));
        }
        if kind.is_seq() {
            return Value::Array(self.tree.items(id).map(|item| self.value(item)).collect());
        }
        match self.meaning(id) {
            Ok(Meaning::Text(text)) => Value::String(text.into_owned()),
            Ok(Meaning::Scalar(scalar)) => scalar.to_value().unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }

    fn map(&self, id: Id) -> Map<String, Value> {
        let mut map = Map::new();
        let merges = self.tree.has_merge(id);
        for (key, value) in self.tree.entries(id) {
            if merges && self.is_merge(key) {
                self.merge_into(value, &mut map);
            } else if let Some(key) = self.key(key) {
                map.insert(key.into_owned(), self.value(value));
            }
        }
        map
    }

    pub(crate) fn merge_into(&self, value: Id, map: &mut Map<String, Value>) {
        let target = self.tree.follow(value);
        if self.tree.node(target).kind.is_map() {
            map.append(&mut self.map(target));
            return;
        }
        let items: Vec<Id> = self.tree.items(target).collect();
        for item in items.into_iter().rev() {
            map.append(&mut self.map(self.tree.follow(item)));
        }
    }

    fn position(&self, id: Id) -> Position {
        Position::of(self.text, self.tree.node(id).from())
    }
}

/// Equality of JSON values; `1` and `1.0` are the same number, as in Go.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn same_number(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    a == b || ((a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64())
}

/// The text behind base64, if it is text.
fn binary(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits = 0u32;
    let mut count = 0u32;
    let mut padding = 0;
    for b in text.bytes().filter(|b| !matches!(b, b'\n' | b'\r')) {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(six);
        count += 1;
        if count.is_multiple_of(4) {
            bytes.extend_from_slice(&[(bits >> 16) as u8, (bits >> 8) as u8, bits as u8]);
            bits = 0;
        }
    }
    match (count % 4, padding) {
        (0, 0) => {}
        (2, 2) => bytes.push((bits >> 4) as u8),
        (3, 1) => bytes.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return None,
    }
    String::from_utf8(bytes).ok()
}
