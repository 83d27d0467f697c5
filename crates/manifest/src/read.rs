//! Strict reading: JSON without duplicate keys, fields without unknown ones.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::Error;
use crate::manifest::{API_VERSION, KIND, Manifest};

/// Most bytes of a manifest: about 2 500 workloads. One message carries it to the Coordinator, with its
/// signatures.
pub const MAX_BYTES: usize = 2 * 1024 * 1024 - 64 * 1024;

/// Parses JSON and refuses duplicate keys.
pub(crate) fn json(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::TooLarge {
            bytes: bytes.len(),
            limit: MAX_BYTES,
        });
    }
    let duplicate = RefCell::new(None);
    let path = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Strict {
        duplicate: &duplicate,
        path: &path,
    };
    let parsed = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    parsed.map_err(|error| match duplicate.into_inner() {
        Some((path, key)) => Error::DuplicateKey {
            path,
            key,
            line: error.line(),
        },
        None => Error::Syntax {
            line: error.line(),
            column: error.column(),
            reason: reason_without_place(&error),
        },
    })
}

/// Reads the fields of a manifest, unwrapping the object form.
pub(crate) fn manifest(value: Value) -> Result<Manifest, Error> {
    let Value::Object(mut object) = value else {
        return Err(Error::NotAnObject);
    };
    match object.remove("apiVersion") {
        Some(Value::String(version)) if version == API_VERSION => {}
        Some(other) => {
            return Err(Error::ApiVersionUnknown {
                found: other.to_string(),
            });
        }
        None if crate::v08::looks_like(&object) => return Err(Error::ListForm),
        None => return Err(Error::ApiVersionMissing),
    }
    match object.remove("kind") {
        None => {}
        Some(Value::String(kind)) if kind == KIND => check_metadata(object.remove("metadata"))?,
        Some(other) => {
            return Err(Error::KindUnknown {
                found: other.to_string(),
            });
        }
    }
    fields(Value::Object(object))
}

/// Deserialises with the path of the first mistake.
pub(crate) fn fields<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        field_error(&path, &error.into_inner().to_string())
    })
}

/// What serde says of a field, in words that do not ask for Rust.
fn field_error(path: &str, said: &str) -> Error {
    let path = match path {
        "." => "manifest".to_owned(),
        path => path.to_owned(),
    };
    if let Some(rest) = said.strip_prefix("unknown field ") {
        // ``unknown field `x`, expected one of `a`, `b` ``; the field may have any character in its name.
        let known = rest
            .rsplit_once(", expected ")
            .map_or("", |(_, known)| known);
        let known = known.split('`').skip(1).step_by(2).map(str::to_owned);
        return Error::FieldUnknown {
            path,
            known: known.collect(),
        };
    }
    let wrong = said
        .strip_prefix("invalid type: ")
        .or_else(|| said.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let reason = match wrong {
        Some((found, expected)) => format!("{} expected, not {found}", in_words(expected)),
        None => said.to_owned(),
    };
    Error::Field { path, reason }
}

/// The name of a type, as a reader of JSON knows it.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number up to 255",
        "u16" | "u32" | "u64" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// Metadata says nothing about the deployment, so only its shape is checked.
fn check_metadata(metadata: Option<Value>) -> Result<(), Error> {
    let field = |path: String, reason: &str| Error::Field {
        path,
        reason: reason.to_owned(),
    };
    let Some(metadata) = metadata else {
        return Ok(());
    };
    let Value::Object(metadata) = metadata else {
        return Err(field("metadata".to_owned(), "expected an object"));
    };
    for (key, value) in &metadata {
        let path = format!("metadata.{key}");
        match (key.as_str(), value) {
            ("name" | "namespace", Value::String(_)) => {}
            ("annotations" | "labels", Value::Object(entries)) => {
                if let Some((entry, _)) = entries.iter().find(|(_, value)| !value.is_string()) {
                    return Err(field(format!("{path}.{entry}"), "expected a string"));
                }
            }
            ("name" | "namespace", _) => return Err(field(path, "expected a string")),
            ("annotations" | "labels", _) => return Err(field(path, "expected an object")),
            _ => return Err(field(path, "unknown field")),
        }
    }
    Ok(())
}

fn reason_without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// Builds a [`Value`], refusing an object that has a key twice.
#[derive(Clone, Copy)]
struct Strict<'a> {
    duplicate: &'a RefCell<Option<(String, String)>>,
    path: &'a RefCell<Vec<String>>,
}

impl Strict<'_> {
    fn here(&self) -> String {
        let path = self.path.borrow();
        if path.is_empty() {
            "the manifest".to_owned()
        } else {
            path.join(".")
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            self.path.borrow_mut().push(list.len().to_string());
            let item = items.next_element_seed(self)?;
            self.path.borrow_mut().pop();
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let reason = format!("duplicate key {key:?}");
                self.duplicate.replace(Some((self.here(), key)));
                return Err(A::Error::custom(reason));
            }
            self.path.borrow_mut().push(key.clone());
            let value = entries.next_value_seed(self)?;
            self.path.borrow_mut().pop();
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
