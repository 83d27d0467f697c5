//! The types of single values: how each is read, and its schema.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use nacre_imagelock::ImageLock;
use nacre_manifest::{
    ChipId, GuestPolicy, HostDataBinding, Identity, KeyDigest, LaunchMeasurement, OwnerKeyError,
    PlatformInfo, PolicyHash, Product, Profile, ReferenceValues, SeedshareOwnerKey, SignerDigest,
    SigningKey, TrustDomain,
};
use serde_json::{Map, Value, json};

use crate::error::Reason;
use crate::flat::json_or_text;
use crate::object::{ConfigValue, Reader};

impl ConfigValue for bool {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(*value),
            other => {
                reader.wrong_type("true or false", other);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }

    fn words() -> String {
        "true or false".to_owned()
    }

    fn from_flat(text: &str) -> Value {
        text.parse().map_or_else(|_| Value::from(text), Value::Bool)
    }
}

impl ConfigValue for String {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        match value {
            Value::String(text) if text.is_empty() => {
                reader.error(Reason::WrongValue, "must not be empty");
                None
            }
            Value::String(text) => Some(text.clone()),
            other => {
                reader.wrong_type("a text", other);
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn words() -> String {
        "text".to_owned()
    }
}

/// Whole numbers of one size.
macro_rules! number {
    ($type:ty) => {
        impl ConfigValue for $type {
            fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
                let Value::Number(number) = value else {
                    reader.wrong_type("a whole number", value);
                    return None;
                };
                let read = number.as_u64().and_then(|number| Self::try_from(number).ok());
                if read.is_none() {
                    let most = Self::MAX;
                    reader.error(Reason::WrongValue, format!("{number} is not from 0 to {most}"));
                }
                read
            }

            fn schema() -> Value {
                json!({ "type": "integer", "minimum": 0, "maximum": Self::MAX })
            }

            fn words() -> String {
                "whole number".to_owned()
            }

            fn from_flat(text: &str) -> Value {
                text.parse::<Self>().map_or_else(|_| Value::from(text), Value::from)
            }
        }
    };
}

number!(u8);
number!(u32);
number!(u64);

impl<T: ConfigValue> ConfigValue for Option<T> {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        T::read(value, reader).map(Some)
    }

    fn schema() -> Value {
        T::schema()
    }

    fn words() -> String {
        T::words()
    }

    fn from_flat(text: &str) -> Value {
        T::from_flat(text)
    }

    fn fields() -> &'static [crate::object::Field] {
        T::fields()
    }
}

impl<T: ConfigValue> ConfigValue for Vec<T> {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let Value::Array(items) = value else {
            reader.wrong_type("a list", value);
            return None;
        };
        let read = items.iter().enumerate().map(|(index, item)| {
            reader.within(&format!("[{index}]"), |reader| T::read(item, reader))
        });
        // Every item is read, so that every mistake is found.
        let read: Vec<Option<T>> = read.collect();
        read.into_iter().collect()
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }

    fn words() -> String {
        format!("list of {}", T::words())
    }

    fn from_flat(text: &str) -> Value {
        match json_or_text(text) {
            Value::String(text) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Value::Array(items.map(T::from_flat).collect())
            }
            json => json,
        }
    }

    fn fields() -> &'static [crate::object::Field] {
        T::fields()
    }
}

impl ConfigValue for BTreeMap<String, String> {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let Value::Object(entries) = value else {
            reader.wrong_type("an object", value);
            return None;
        };
        let read = entries.iter().map(|(key, value)| {
            reader.within(key, |reader| {
                let Value::String(text) = value else {
                    reader.wrong_type("a text", value);
                    return None;
                };
                Some((key.clone(), text.clone()))
            })
        });
        let read: Vec<Option<(String, String)>> = read.collect();
        read.into_iter().collect()
    }

    fn schema() -> Value {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }

    fn words() -> String {
        "object of texts".to_owned()
    }

    fn from_flat(text: &str) -> Value {
        json_or_text(text)
    }
}

impl ConfigValue for BTreeMap<Identity, Vec<String>> {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let Value::Object(entries) = value else {
            reader.wrong_type("an object", value);
            return None;
        };
        let read = entries.iter().map(|(key, value)| {
            reader.within(&format!("[{key:?}]"), |reader| {
                let identity = parsed::<Identity>(key, reader);
                let names = Vec::<String>::read(value, reader);
                identity.zip(names)
            })
        });
        let read: Vec<Option<(Identity, Vec<String>)>> = read.collect();
        read.into_iter().collect()
    }

    fn schema() -> Value {
        json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$" },
            "additionalProperties": Vec::<String>::schema(),
        })
    }

    fn words() -> String {
        "object: `<namespace>/<Kind>/<name>` to list of text".to_owned()
    }

    fn from_flat(text: &str) -> Value {
        json_or_text(text)
    }
}

/// Types that are written as a text and say themselves what is wrong with one.
macro_rules! text_value {
    ($type:ty, $words:expr, $schema:expr) => {
        impl ConfigValue for $type {
            fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
                match value {
                    Value::String(text) => parsed(text, reader),
                    other => {
                        reader.wrong_type("a text", other);
                        None
                    }
                }
            }

            fn schema() -> Value {
                $schema
            }

            fn words() -> String {
                $words.to_owned()
            }
        }
    };
}

text_value!(PolicyHash, "64 hex digits", hex_schema(PolicyHash::LEN));
text_value!(
    LaunchMeasurement,
    "96 hex digits",
    hex_schema(LaunchMeasurement::LEN)
);
text_value!(ChipId, "128 hex digits", hex_schema(ChipId::LEN));
text_value!(SignerDigest, "96 hex digits", hex_schema(SignerDigest::LEN));
text_value!(
    TrustDomain,
    "trust domain",
    json!({ "type": "string", "pattern": "^[a-z0-9._-]{1,255}$" })
);

fn parsed<T: FromStr<Err: Display>>(text: &str, reader: &mut Reader) -> Option<T> {
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            reader.error(Reason::WrongValue, error.to_string());
            None
        }
    }
}

fn hex_schema(bytes: usize) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{}}}$", bytes * 2) })
}

/// Types with a handful of names.
macro_rules! choice {
    ($type:ty, $($name:literal => $value:expr),+) => {
        impl ConfigValue for $type {
            fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
                const NAMES: &[&str] = &[$($name),+];
                let read = match value {
                    $(Value::String(text) if text == $name => Some($value),)+
                    _ => None,
                };
                if read.is_none() {
                    $crate::values::no_such_choice(value, NAMES, reader);
                }
                read
            }

            fn schema() -> Value {
                serde_json::json!({ "enum": [$($name),+] })
            }

            fn words() -> String {
                [$(concat!("`", $name, "`")),+].join(", ")
            }
        }
    };
}
pub(crate) use choice;

choice!(Profile, "strict" => Profile::Strict, "logs" => Profile::Logs, "debug" => Profile::Debug);
choice!(Product, "Milan" => Product::Milan, "Genoa" => Product::Genoa, "Turin" => Product::Turin);
choice!(
    HostDataBinding,
    "enforced" => HostDataBinding::Enforced,
    "none" => HostDataBinding::None
);
choice!(SigningKey, "VCEK" => SigningKey::Vcek, "VLEK" => SigningKey::Vlek);

/// Says that a value is none of the names, and which one was probably meant.
pub(crate) fn no_such_choice(value: &Value, names: &[&str], reader: &mut Reader) {
    let Value::String(text) = value else {
        reader.wrong_type(&format!("one of {}", names.join(", ")), value);
        return;
    };
    let suggestion = crate::flat::closest(text, names.iter().copied());
    let suggestion = suggestion.map(|name| format!("did you mean {name}?"));
    let message = format!("{text:?} is not one of {}", names.join(", "));
    reader.error_with(Reason::WrongValue, message, suggestion);
}

impl ConfigValue for KeyDigest {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let by_text = |text: &str, reader: &mut Reader| match text.contains("-----BEGIN") {
            true => key(Self::from_pem(text), reader),
            false => parsed(text, reader),
        };
        owner(value, reader, "digest", Self::from_pem, by_text)
    }

    fn schema() -> Value {
        owner_schema("digest", hex_schema(Self::LEN))
    }

    fn words() -> String {
        "`{pem: …}` or `{digest: …}`".to_owned()
    }
}

impl ConfigValue for SeedshareOwnerKey {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let by_text = |text: &str, reader: &mut Reader| match text.contains("-----BEGIN") {
            true => key(Self::from_pem(text), reader),
            false => parsed(text, reader),
        };
        owner(value, reader, "publicKey", Self::from_pem, by_text)
    }

    fn schema() -> Value {
        owner_schema(
            "publicKey",
            json!({ "type": "string", "pattern": "^([0-9a-f]{2})+$" }),
        )
    }

    fn words() -> String {
        "`{pem: …}` or `{publicKey: …}`".to_owned()
    }
}

/// An owner: `{pem}`, or the other form under `name`; in flat forms the text of either.
fn owner<T>(
    value: &Value,
    reader: &mut Reader,
    name: &str,
    from_pem: impl FnOnce(&str) -> Result<T, OwnerKeyError>,
    from_text: impl FnOnce(&str, &mut Reader) -> Option<T>,
) -> Option<T> {
    let entries = match value {
        Value::String(text) => return from_text(text, reader),
        Value::Object(entries) => entries,
        other => {
            reader.wrong_type("an object", other);
            return None;
        }
    };
    let mut entries = entries.iter();
    let (Some((field, value)), None) = (entries.next(), entries.next()) else {
        let message = format!("expected either pem or {name}");
        reader.error(Reason::Missing, message);
        return None;
    };
    let is_pem = field == "pem";
    if !is_pem && field != name {
        let names = ["pem", name];
        let suggestion = crate::flat::closest(field, names)
            .unwrap_or("pem")
            .to_owned();
        let unknown = |reader: &mut Reader| {
            reader.error_with(Reason::UnknownField, "unknown field", Some(suggestion));
        };
        reader.within(field, unknown);
        return None;
    }
    reader.within(field, |reader| {
        let text = String::read(value, reader)?;
        if is_pem {
            key(from_pem(&text), reader)
        } else {
            from_text(&text, reader)
        }
    })
}

/// Says what is wrong with a key; never repeats anything of it.
fn key<T>(read: Result<T, OwnerKeyError>, reader: &mut Reader) -> Option<T> {
    read.map_err(|error| reader.error(Reason::WrongValue, error.to_string()))
        .ok()
}

fn owner_schema(name: &str, other: Value) -> Value {
    let one = |name: &str, schema: Value| {
        let mut properties = Map::new();
        properties.insert(name.to_owned(), schema);
        json!({
            "type": "object", "additionalProperties": false,
            "required": [name], "properties": properties,
        })
    };
    json!({ "anyOf": [one("pem", json!({ "type": "string" })), one(name, other), { "type": "string" }] })
}

impl ConfigValue for ImageLock {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        match Self::from_value(value) {
            Ok(lock) => Some(lock),
            Err(invalid) => {
                for problem in invalid.problems {
                    reader.within(&problem.path, |reader| {
                        reader.error(Reason::WrongValue, problem.message);
                    });
                }
                None
            }
        }
    }

    fn schema() -> Value {
        json!({ "type": "object", "required": ["apiVersion", "kind", "spec"] })
    }

    fn words() -> String {
        "an `ImageLock` object".to_owned()
    }

    fn from_flat(text: &str) -> Value {
        json_or_text(text)
    }
}

impl ConfigValue for ReferenceValues {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let read = match value {
            Value::String(text) => Self::parse(text),
            other => Self::from_value(other.clone()),
        };
        read.map_err(|error| reader.error(Reason::WrongValue, error.to_string()))
            .ok()
    }

    fn schema() -> Value {
        let manifest = nacre_manifest::schema();
        let values = manifest
            .pointer("/properties/ReferenceValues")
            .cloned()
            .unwrap_or_default();
        json!({ "anyOf": [values, { "type": "string" }] })
    }

    fn words() -> String {
        "reference values as in a manifest".to_owned()
    }

    fn from_flat(text: &str) -> Value {
        json_or_text(text)
    }
}

/// Types of the manifest whose fields keep the manifest's names.
macro_rules! manifest_value {
    ($type:ty, $pointer:literal, $words:literal) => {
        impl ConfigValue for $type {
            fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
                if !value.is_object() {
                    reader.wrong_type("an object", value);
                    return None;
                }
                serde_json::from_value(value.clone())
                    .map_err(|error| reader.error(Reason::WrongValue, error.to_string()))
                    .ok()
            }

            fn schema() -> Value {
                let manifest = nacre_manifest::schema();
                manifest.pointer($pointer).cloned().unwrap_or_default()
            }

            fn words() -> String {
                $words.to_owned()
            }

            fn from_flat(text: &str) -> Value {
                json_or_text(text)
            }
        }
    };
}

manifest_value!(
    GuestPolicy,
    "/properties/ReferenceValues/properties/snp/items/properties/GuestPolicy",
    "object as `GuestPolicy` in a manifest"
);
manifest_value!(
    PlatformInfo,
    "/properties/ReferenceValues/properties/snp/items/properties/PlatformInfo",
    "object as `PlatformInfo` in a manifest"
);
manifest_value!(
    nacre_manifest::ModelTcb,
    "/properties/ReferenceValues/properties/snp/items/properties/MinimumTCBByModel/items",
    "object as an item of `MinimumTCBByModel` in a manifest"
);
