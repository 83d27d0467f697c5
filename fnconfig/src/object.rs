//! How a field is declared: once, for the struct, the reader, the schema and the documentation.

use serde_json::{Map, Value};

use crate::error::{ConfigError, Reason};

/// A type that can stand in a configuration.
pub(crate) trait ConfigValue: Sized {
    /// Reads a value; says what is wrong to `reader` and gives nothing then.
    fn read(value: &Value, reader: &mut Reader) -> Option<Self>;

    /// Changes what a value names and keeps the rest; objects go field by field.
    fn update(&mut self, value: &Value, reader: &mut Reader) {
        if let Some(read) = Self::read(value, reader) {
            *self = read;
        }
    }

    /// JSON Schema of the type.
    fn schema() -> Value;

    /// The type in words, for the documentation.
    fn words() -> String;

    /// The value that a flat text (a flag, a ConfigMap entry, a variable) stands for; a text that
    /// stands for none is returned as it is, and `read` will say what is wrong with it.
    fn from_flat(text: &str) -> Value {
        Value::from(text)
    }

    /// The fields, where the type is an object.
    fn fields() -> &'static [Field] {
        &[]
    }
}

/// One field as declared.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name in the object.
    pub(crate) key: &'static str,
    /// Other names of the field in flat forms.
    pub(crate) aliases: &'static [&'static str],
    /// Lines of documentation.
    pub(crate) doc: &'static [&'static str],
    /// Whether the field must be given.
    pub(crate) required: bool,
    /// Default in words; empty = nothing.
    pub(crate) default: &'static str,
    pub(crate) schema: fn() -> Value,
    pub(crate) words: fn() -> String,
    pub(crate) from_flat: fn(&str) -> Value,
    pub(crate) fields: fn() -> &'static [Field],
}

impl Field {
    /// The documentation as one text.
    pub(crate) fn text(&self) -> String {
        self.doc
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Where a reader is and what it found wrong.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    path: Vec<String>,
    pub(crate) errors: Vec<ConfigError>,
}

impl Reader {
    /// Runs `inner` one step further down. Steps that are no plain names are put into brackets.
    pub(crate) fn within<T>(&mut self, step: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step.to_owned());
        let result = inner(self);
        self.path.pop();
        result
    }

    pub(crate) fn path(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            if !text.is_empty() && !step.starts_with('[') {
                text.push('.');
            }
            text.push_str(step);
        }
        text
    }

    pub(crate) fn error(&mut self, reason: Reason, message: impl Into<String>) {
        self.error_with(reason, message, None);
    }

    pub(crate) fn error_with(
        &mut self,
        reason: Reason,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        let path = self.path();
        self.errors.push(ConfigError {
            path,
            message: message.into(),
            suggestion,
            known: Vec::new(),
            reason,
        });
    }

    /// Says that there is no such field among these.
    fn unknown_field(&mut self, key: &str, fields: &'static [Field]) {
        let path = self.within(key, |reader| reader.path());
        self.errors.push(ConfigError {
            path,
            message: "unknown field".to_owned(),
            suggestion: crate::flat::suggest(key, fields),
            known: fields.iter().map(|field| field.key).collect(),
            reason: Reason::UnknownField,
        });
    }

    /// Says that a value has another type than `expected`.
    pub(crate) fn wrong_type(&mut self, expected: &str, found: &Value) {
        let found = match found {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.error(
            Reason::WrongType,
            format!("expected {expected}, found {found}"),
        );
    }

    /// The object behind a value, whose keys must all be declared.
    pub(crate) fn object<'v>(
        &mut self,
        value: &'v Value,
        fields: &'static [Field],
    ) -> Option<&'v Map<String, Value>> {
        let Value::Object(object) = value else {
            self.wrong_type("an object", value);
            return None;
        };
        for key in object
            .keys()
            .filter(|key| !fields.iter().any(|field| field.key == *key))
        {
            self.unknown_field(key, fields);
        }
        for field in fields.iter().filter(|field| field.required) {
            if !object.contains_key(field.key) {
                self.within(field.key, |reader| reader.error(Reason::Missing, "missing"));
            }
        }
        Some(object)
    }
}

/// Schema of an object with these fields.
pub(crate) fn object_schema(fields: &'static [Field]) -> Value {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = (field.schema)();
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), Value::from(field.text()));
        }
        properties.insert(field.key.to_owned(), schema);
    }
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field.required)
        .map(|field| field.key)
        .collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), Value::from("object"));
    schema.insert("additionalProperties".to_owned(), Value::from(false));
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::from(required));
    }
    schema.insert("properties".to_owned(), Value::Object(properties));
    Value::Object(schema)
}

/// Declares an object: a struct with documented public fields, its `Default`, its reader and its
/// description.
///
/// A field is `name: Type as "key"`, then optionally `required`, `also "flat-name", …`, and
/// `= default ("in words")`.
macro_rules! config_object {
    (
        $(#[$meta:meta])*
        pub struct $object:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty as $key:literal
                $(, required $required:literal)?
                $(, also $($alias:literal)+)?
                $(, default $default:expr => $words:literal)?;
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $object {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $object {
            fn default() -> Self {
                Self { $( $field: config_object!(@default $($default)?), )+ }
            }
        }

        impl $crate::object::ConfigValue for $object {
            fn read(
                value: &serde_json::Value,
                reader: &mut $crate::object::Reader,
            ) -> Option<Self> {
                let mut object = Self::default();
                let before = reader.errors.len();
                object.update(value, reader);
                (reader.errors.len() == before).then_some(object)
            }

            fn update(
                &mut self,
                value: &serde_json::Value,
                reader: &mut $crate::object::Reader,
            ) {
                let Some(object) = reader.object(value, Self::fields()) else {
                    return;
                };
                $(
                    if let Some(value) = object.get($key) {
                        reader.within($key, |reader| {
                            $crate::object::ConfigValue::update(&mut self.$field, value, reader);
                        });
                    }
                )+
            }

            fn schema() -> serde_json::Value {
                $crate::object::object_schema(Self::fields())
            }

            fn words() -> String {
                "object".to_owned()
            }

            fn from_flat(text: &str) -> serde_json::Value {
                $crate::flat::json_or_text(text)
            }

            fn fields() -> &'static [$crate::object::Field] {
                const FIELDS: &[$crate::object::Field] = &[
                    $($crate::object::Field {
                        key: $key,
                        aliases: &[$($($alias),+)?],
                        doc: &[$($doc),+],
                        required: config_object!(@flag $($required)?),
                        default: config_object!(@words $($words)?),
                        schema: <$type as $crate::object::ConfigValue>::schema,
                        words: <$type as $crate::object::ConfigValue>::words,
                        from_flat: <$type as $crate::object::ConfigValue>::from_flat,
                        fields: <$type as $crate::object::ConfigValue>::fields,
                    },)+
                ];
                FIELDS
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@flag) => { false };
    (@flag $required:literal) => { $required };
    (@words) => { "" };
    (@words $words:literal) => { $words };
}
