//! The lock as an object, in one order and with one checksum per entry.

use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::entry::{Entry, ImageFacts};
use crate::lock::ImageLock;
use crate::user::{ResolvedUser, UserDatabase};

/// `apiVersion` of the lock.
pub const API_VERSION: &str = "nacre.dev/v1alpha1";
/// `kind` of the lock.
pub const KIND: &str = "ImageLock";

impl ImageLock {
    /// The lock as a Kubernetes-shaped object for a YAML or JSON writer. The same lock gives
    /// the same value, key order included.
    pub fn to_value(&self) -> Value {
        let images: Vec<_> = self.entries().map(with_checksum).collect();
        json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": self.name,
                // Not an object for the cluster: kpt and kustomize leave it out.
                "annotations": { "config.kubernetes.io/local-config": "true" },
            },
            "spec": { "images": images },
        })
    }
}

impl Entry {
    /// SHA-256 of the entry's canonical JSON without this checksum. It tells a changed or badly
    /// merged entry from what `nacre lock` wrote; it is no signature.
    pub fn checksum(&self) -> Digest {
        Digest::of(Value::Object(entry_value(self)).to_string().as_bytes())
    }
}

fn with_checksum(entry: &Entry) -> Value {
    let mut object = entry_value(entry);
    object.insert("checksum".to_owned(), text(&entry.checksum()));
    Value::Object(object)
}

fn entry_value(entry: &Entry) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("reference", entry.reference.normalised().into());
    put("digest", text(&entry.digest));
    if let Some(digest) = &entry.index_digest {
        put("indexDigest", text(digest));
    }
    if let Some(digest) = &entry.config_digest {
        put("configDigest", text(digest));
    }
    put("platform", text(&entry.platform));
    put("source", entry.source.as_str().into());
    put("sizeBytes", entry.size_bytes.into());
    put("config", facts_value(&entry.config));
    if let Some(user) = &entry.resolved_user {
        put("resolvedUser", user_value(user));
    }
    if let Some(users) = &entry.users {
        put("users", users_value(users));
    }
    let layers: Vec<_> = entry
        .layers
        .iter()
        .map(|layer| {
            let mut object = Map::new();
            object.insert("digest".to_owned(), text(&layer.digest));
            object.insert("diffId".to_owned(), text(&layer.diff_id));
            object.insert("sizeBytes".to_owned(), layer.size_bytes.into());
            if let Some(root) = &layer.verity_root {
                object.insert("verityRoot".to_owned(), root.clone().into());
            }
            Value::Object(object)
        })
        .collect();
    put("layers", layers.into());
    object
}

fn facts_value(facts: &ImageFacts) -> Value {
    let mut object = Map::new();
    let lists = [
        ("entrypoint", &facts.entrypoint),
        ("cmd", &facts.cmd),
        ("env", &facts.env),
        ("volumes", &facts.volumes),
        ("exposedPorts", &facts.exposed_ports),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            object.insert(key.to_owned(), list.clone().into());
        }
    }
    let words = [
        ("user", facts.user.as_str()),
        ("workingDir", &facts.working_dir),
        ("stopSignal", facts.stop_signal.as_deref().unwrap_or("")),
    ];
    for (key, word) in words {
        if !word.is_empty() {
            object.insert(key.to_owned(), word.into());
        }
    }
    if !facts.labels.is_empty() {
        let labels = facts
            .labels
            .iter()
            .map(|(k, v)| (k.clone(), v.clone().into()))
            .collect();
        object.insert("labels".to_owned(), Value::Object(labels));
    }
    Value::Object(object)
}

fn user_value(user: &ResolvedUser) -> Value {
    let mut object = Map::new();
    object.insert("uid".to_owned(), user.uid.into());
    object.insert("gid".to_owned(), user.gid.into());
    object.insert("groups".to_owned(), user.groups.clone().into());
    if let Some(name) = &user.username {
        object.insert("username".to_owned(), name.clone().into());
    }
    Value::Object(object)
}

/// One line per entry, in the manner of the files themselves: `name:uid:gid` and
/// `name:gid:member,member`.
fn users_value(users: &UserDatabase) -> Value {
    let passwd: Vec<_> = users
        .passwd
        .iter()
        .map(|e| format!("{}:{}:{}", e.name, e.uid, e.gid))
        .collect();
    let group: Vec<_> = users
        .group
        .iter()
        .map(|g| format!("{}:{}:{}", g.name, g.gid, g.members.join(",")))
        .collect();
    json!({ "passwd": passwd, "group": group })
}

fn text(value: &impl ToString) -> Value {
    Value::String(value.to_string())
}
