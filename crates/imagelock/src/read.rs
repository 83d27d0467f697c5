//! Reading a lock: strict, and every mistake at once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::digest::{Digest, printable};
use crate::entry::{Entry, ImageFacts, Layer, Platform, Source};
use crate::lock::ImageLock;
use crate::reference::{ImageReference, Reason};
use crate::user::{GroupEntry, PasswdEntry, ResolvedUser, UserDatabase};
use crate::write::{API_VERSION, KIND};

impl ImageLock {
    /// Reads a lock from its object. Unknown fields, malformed digests, two entries for one
    /// image and entries that do not match their checksum are mistakes; all are reported. An
    /// entry without a checksum (written by hand) is taken as it is.
    pub fn from_value(value: &Value) -> Result<Self, InvalidLock> {
        let mut problems = Problems::default();
        let lock = lock(value, &mut problems);
        match problems.0.is_empty() {
            true => Ok(lock),
            false => Err(InvalidLock {
                problems: problems.0,
            }),
        }
    }

    /// What is sound in a lock that is about to be written anew, and the mistakes of the rest.
    pub fn sound_part(value: &Value) -> (Self, Vec<Problem>) {
        let mut problems = Problems::default();
        let lock = lock(value, &mut problems);
        (lock, problems.0)
    }
}

/// A lock with mistakes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image lock is not valid: {}", listed(.problems))]
#[non_exhaustive]
pub struct InvalidLock {
    /// All of them, in document order.
    pub problems: Vec<Problem>,
}

impl InvalidLock {
    /// The number of the finding code.
    pub const fn code(&self) -> u16 {
        307
    }
}

/// One mistake in a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where: `spec.images[3].digest`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn lock(value: &Value, problems: &mut Problems) -> ImageLock {
    let mut lock = ImageLock::default();
    let Some(mut root) = Fields::of(value, "", problems) else {
        return lock;
    };
    for (key, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match root.take(key).and_then(Value::as_str) {
            Some(found) if found == wanted => {}
            _ => problems.add(key, format!("must be {wanted}")),
        }
    }
    // Orchestrators add labels and annotations of their own; only the name is ours.
    if let Some(name) = root
        .take("metadata")
        .and_then(|m| m.get("name"))
        .and_then(Value::as_str)
    {
        name.clone_into(&mut lock.name);
    }
    let spec = root.take("spec");
    root.finish(problems);
    let Some(spec) = spec else {
        problems.add("spec", "is required");
        return lock;
    };
    let Some(mut spec) = Fields::of(spec, "spec", problems) else {
        return lock;
    };
    let images = spec.list("images", problems);
    spec.finish(problems);
    let mut seen = BTreeMap::new();
    for (path, image) in images {
        let Some(entry) = entry(image, &path, problems) else {
            continue;
        };
        let key = entry.reference.normalised();
        if let Some(first) = seen.get(&key) {
            problems.add(&path, format!("{key} already stands at {first}"));
        } else {
            seen.insert(key, path);
            lock.insert(entry);
        }
    }
    lock
}

fn entry(value: &Value, path: &str, problems: &mut Problems) -> Option<Entry> {
    let before = problems.0.len();
    let mut fields = Fields::of(value, path, problems)?;
    let reference = fields.parsed::<Reference>("reference", problems);
    let digest = fields.parsed::<Digest>("digest", problems);
    if reference.is_none() {
        fields.required("reference", problems);
    }
    if digest.is_none() {
        fields.required("digest", problems);
    }
    let index_digest = fields.parsed("indexDigest", problems);
    let config_digest = fields.parsed("configDigest", problems);
    let platform = fields
        .parsed::<Platform>("platform", problems)
        .unwrap_or_default();
    let source = fields
        .parsed::<Word>("source", problems)
        .map_or(Source::Registry, |w| w.0);
    let size_bytes = fields.number("sizeBytes", problems).unwrap_or(0);
    let config = fields
        .object("config", problems)
        .map(|f| facts(f, problems));
    let resolved_user = fields
        .object("resolvedUser", problems)
        .map(|f| user(f, problems));
    let users = fields.object("users", problems).map(|f| users(f, problems));
    let layers = fields.list("layers", problems);
    let layers = layers
        .into_iter()
        .filter_map(|(path, v)| layer(v, &path, problems))
        .collect();
    let checksum = fields.parsed::<Digest>("checksum", problems);
    fields.finish(problems);
    if problems.0.len() != before {
        return None;
    }
    let entry = Entry {
        index_digest,
        config_digest,
        platform,
        source,
        size_bytes,
        config: config.unwrap_or_default(),
        resolved_user,
        users,
        layers,
        ..Entry::new(reference?.0, digest?)
    };
    if let Some(recorded) = checksum
        && recorded != entry.checksum()
    {
        problems.add(
            path,
            format!(
                "the entry was changed after `nacre lock` wrote it (its checksum would be {}); \
                 run `nacre lock --update {} PATH…`",
                entry.checksum(),
                entry.reference
            ),
        );
        return None;
    }
    Some(entry)
}

fn facts(mut fields: Fields<'_>, problems: &mut Problems) -> ImageFacts {
    let facts = ImageFacts {
        entrypoint: fields.texts("entrypoint", problems),
        cmd: fields.texts("cmd", problems),
        env: fields.texts("env", problems),
        user: fields.text("user", problems).unwrap_or_default(),
        working_dir: fields.text("workingDir", problems).unwrap_or_default(),
        volumes: sorted(fields.texts("volumes", problems)),
        exposed_ports: sorted(fields.texts("exposedPorts", problems)),
        stop_signal: fields.text("stopSignal", problems),
        labels: labels(&mut fields, problems),
    };
    fields.finish(problems);
    facts
}

fn labels(fields: &mut Fields<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if let Some(Fields { path, object, .. }) = fields.object("labels", problems) {
        for (key, value) in object {
            match value.as_str() {
                Some(text) => drop(labels.insert(key.clone(), text.to_owned())),
                None => problems.add(&format!("{path}.{}", printable(key)), "must be a text"),
            }
        }
    }
    labels
}

fn user(mut fields: Fields<'_>, problems: &mut Problems) -> ResolvedUser {
    let path = fields.path.clone();
    let id = |fields: &mut Fields<'_>, key, problems: &mut Problems| {
        let number = fields.number(key, problems);
        if number.is_none() {
            fields.required(key, problems);
        }
        narrow(number.unwrap_or(0), &format!("{path}.{key}"), problems)
    };
    let uid = id(&mut fields, "uid", problems);
    let gid = id(&mut fields, "gid", problems);
    let groups = fields.list("groups", problems);
    let groups = groups
        .into_iter()
        .map(|(path, value)| match value.as_u64() {
            Some(number) => narrow(number, &path, problems),
            None => {
                problems.add(&path, "must be a group id");
                0
            }
        })
        .collect();
    let username = fields.text("username", problems);
    fields.finish(problems);
    ResolvedUser {
        uid,
        gid,
        groups,
        username,
    }
}

fn users(mut fields: Fields<'_>, problems: &mut Problems) -> UserDatabase {
    let mut database = UserDatabase::default();
    for (path, value) in fields.list("passwd", problems) {
        let line = value.as_str().and_then(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?.to_owned();
            let (uid, gid) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            parts
                .next()
                .is_none()
                .then_some(PasswdEntry { name, uid, gid })
        });
        match line {
            Some(entry) => database.passwd.push(entry),
            None => problems.add(&path, "must be name:uid:gid"),
        }
    }
    for (path, value) in fields.list("group", problems) {
        let line = value.as_str().and_then(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?.to_owned();
            let gid = parts.next()?.parse().ok()?;
            let members = parts.next()?;
            let members = members
                .split(',')
                .filter(|m| !m.is_empty())
                .map(str::to_owned)
                .collect();
            parts
                .next()
                .is_none()
                .then_some(GroupEntry { name, gid, members })
        });
        match line {
            Some(entry) => database.group.push(entry),
            None => problems.add(&path, "must be name:gid:member,member"),
        }
    }
    fields.finish(problems);
    database
}

fn layer(value: &Value, path: &str, problems: &mut Problems) -> Option<Layer> {
    let mut fields = Fields::of(value, path, problems)?;
    let digest = fields.parsed::<Digest>("digest", problems);
    let diff_id = fields.parsed::<Digest>("diffId", problems);
    for (key, absent) in [("digest", digest.is_none()), ("diffId", diff_id.is_none())] {
        if absent {
            fields.required(key, problems);
        }
    }
    let size_bytes = fields.number("sizeBytes", problems).unwrap_or(0);
    let verity_root = fields.text("verityRoot", problems);
    if let Some(root) = &verity_root
        && (root.len() != 64 || !root.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    {
        problems.add(
            &format!("{path}.verityRoot"),
            "must be 64 lower-case hexadecimal digits",
        );
    }
    fields.finish(problems);
    Some(Layer {
        digest: digest?,
        diff_id: diff_id?,
        size_bytes,
        verity_root,
    })
}

fn narrow(number: u64, path: &str, problems: &mut Problems) -> u32 {
    u32::try_from(number).unwrap_or_else(|_| {
        problems.add(path, "must be below 4294967296");
        0
    })
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// A reference whose error names its reason, as there is one message per mistake here.
struct Reference(ImageReference);

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ImageReference::parse(text)
            .map(Self)
            .map_err(|e| match &e.reason {
                Reason::Digest(cause) => format!("{e}: {}: {cause}", e.reason),
                reason => format!("{e}: {reason}"),
            })
    }
}

struct Word(Source);

impl FromStr for Word {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Source::from_word(text)
            .map(Self)
            .ok_or("must be registry, oci-layout or archive")
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem {
            path: path.to_owned(),
            message: message.into(),
        });
    }
}

/// The fields of one object; what is not taken by the end is unknown.
struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
    taken: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value, path: &str, problems: &mut Problems) -> Option<Self> {
        match value.as_object() {
            Some(object) => Some(Self {
                path: path.to_owned(),
                object,
                taken: Vec::new(),
            }),
            None => {
                problems.add(path, "must be an object");
                None
            }
        }
    }

    /// The value of a field; `null` is as good as absent.
    fn take(&mut self, key: &'static str) -> Option<&'a Value> {
        self.taken.push(key);
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn required(&self, key: &str, problems: &mut Problems) {
        if self.object.get(key).is_none_or(Value::is_null) {
            problems.add(&self.at(key), "is required");
        }
    }

    fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<String> {
        let value = self.take(key)?;
        if value.as_str().is_none() {
            problems.add(&self.at(key), "must be a text");
        }
        value.as_str().map(str::to_owned)
    }

    fn parsed<T>(&mut self, key: &'static str, problems: &mut Problems) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(key, problems)?;
        text.parse()
            .map_err(|e: T::Err| problems.add(&self.at(key), e.to_string()))
            .ok()
    }

    fn number(&mut self, key: &'static str, problems: &mut Problems) -> Option<u64> {
        let value = self.take(key)?;
        if value.as_u64().is_none() {
            problems.add(&self.at(key), "must be a whole number");
        }
        value.as_u64()
    }

    fn object(&mut self, key: &'static str, problems: &mut Problems) -> Option<Fields<'a>> {
        let value = self.take(key)?;
        Fields::of(value, &self.at(key), problems)
    }

    fn list(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(String, &'a Value)> {
        let path = self.at(key);
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(i, v)| (format!("{path}[{i}]"), v))
                .collect(),
            Some(_) => {
                problems.add(&path, "must be a list");
                Vec::new()
            }
        }
    }

    fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<String> {
        let mut texts = Vec::new();
        for (path, value) in self.list(key, problems) {
            match value.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => problems.add(&path, "must be a text"),
            }
        }
        texts
    }

    fn finish(self, problems: &mut Problems) {
        for key in self.object.keys() {
            if !self.taken.contains(&key.as_str()) {
                problems.add(&self.at(&printable(key)), "is not a known field");
            }
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
