//! From the bytes of a policy back to its rules and data: what a guest will be told, whoever wrote it.
//!
//! Nothing is evaluated here. Rules are compared with published ones by the hash of their text, and data are
//! read as the plain terms that [`crate::generate()`] writes, with the members that those rules read; anything
//! else is not recognised, never guessed at.

use nacre_manifest::PolicyHash;
use serde_json::{Map, Value};

use crate::carrier::{Carrier, CarrierError, Decoded};
use crate::generate::Policy;
use crate::rules;

mod form;
mod shape;

/// Deepest nesting of data that is read.
const MAX_DEPTH: usize = 32;

/// A policy as it was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Read {
    /// Identity: SHA-256 of the raw bytes.
    pub hash: PolicyHash,
    /// What the raw bytes are: an initdata document or the policy text itself.
    pub carrier: Carrier,
    /// Whose rules these are.
    pub rules: Rules,
    /// Keys of the initdata document beside the policy, which configure other parts of the guest.
    pub other_keys: Vec<String>,
}

/// The rules of a policy that was read.
#[derive(Clone, Debug)]
pub enum Rules {
    /// Published rules of this version, with data that were read in full.
    Known {
        /// Name of the rules.
        version: &'static str,
        /// The policy, for [`crate::report`].
        policy: Box<Policy>,
    },
    /// Anything else: nothing can be said about what it allows.
    Unknown {
        /// SHA-256 in hex of the rules part, or of the whole text when it has no data part.
        digest: String,
        /// Why.
        reason: Unknown,
    },
}

/// Why rules are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The text has no data part.
    #[error("it has another form than the policies of this program")]
    Form,
    /// The rules are none that were published.
    #[error("its rules are not among those this program knows")]
    Rules,
    /// The data hold something that is not plain data, or have another form than the rules read.
    #[error("its data are not plain data in the form that its rules read")]
    Data,
}

impl Read {
    /// Reads the raw bytes of a policy, as they are hashed.
    pub fn of_raw(raw: &[u8]) -> Result<Self, CarrierError> {
        let Decoded {
            carrier,
            policy,
            hash,
            other_keys,
        } = Carrier::read_raw(raw)?;
        Ok(Self {
            hash,
            carrier,
            rules: Rules::of_text(policy),
            other_keys,
        })
    }

    /// The policy, where its rules are known and nothing else is in its document.
    pub fn known(&self) -> Option<&Policy> {
        match &self.rules {
            Rules::Known { policy, .. } if self.other_keys.is_empty() => Some(policy),
            _ => None,
        }
    }
}

impl Rules {
    /// Reads a policy text.
    pub fn of_text(text: String) -> Self {
        Self::among(rules::PUBLISHED, text)
    }

    /// Reads a policy text whose rules are one of these.
    fn among(published: &[rules::Published], text: String) -> Self {
        let Some((head, data)) = rules::split(&text) else {
            return Self::Unknown {
                digest: rules::digest_of(&text),
                reason: Unknown::Form,
            };
        };
        let Some(published) = rules::find(published, head) else {
            return Self::Unknown {
                digest: rules::digest_of(head),
                reason: Unknown::Rules,
            };
        };
        match data_of(data).and_then(published.read) {
            Some(data) => Self::Known {
                version: published.version,
                policy: Box::new(Policy {
                    text,
                    findings: Vec::new(),
                    data,
                }),
            },
            None => Self::Unknown {
                digest: rules::digest_of(head),
                reason: Unknown::Data,
            },
        }
    }
}

impl Policy {
    /// The value that the policy pins a variable to, by container. A variable the host may choose, or that
    /// may be absent, is not in it.
    pub fn pinned_variable(&self, name: &str) -> Vec<(&str, &str)> {
        let containers = self.data.get("containers").and_then(Value::as_object);
        let mut out = Vec::new();
        for (container, data) in containers.into_iter().flatten() {
            let rule = data.get("env").and_then(|env| env.get(name)?.as_str());
            // Braces may stand for what only the guest's state knows.
            if let Some(value) = rule
                .and_then(|rule| rule.strip_prefix('='))
                .filter(|v| !v.contains('{'))
            {
                out.push((container.as_str(), value));
            }
        }
        out
    }
}

/// Data in the form of the present rules, as they are.
pub(crate) fn as_written(data: Value) -> Option<Value> {
    Some(data).filter(form::is_ours)
}

/// Reads the whole data part: one object, and a line break behind it.
fn data_of(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    (reader.rest == "\n" && value.is_object()).then_some(value)
}

/// A reader of terms: JSON, commas before a closing bracket, and `concat("", [...])` of literals.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches(['\n', '\t', ' ']);
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take("concat(\"\", [") {
            let pieces = self.items("]", |reader| reader.string())?;
            return self.take(")").then(|| Value::from(pieces.concat()));
        }
        if self.take("{") {
            let mut object = Map::new();
            let members = self.items("}", |reader| {
                let key = reader.string()?;
                reader.take(": ").then_some(())?;
                Some((key, reader.value(depth + 1)?))
            })?;
            for (key, value) in members {
                if object.insert(key, value).is_some() {
                    return None;
                }
            }
            return Some(Value::Object(object));
        }
        if self.take("[") {
            return self
                .items("]", |reader| reader.value(depth + 1))
                .map(Value::Array);
        }
        if self.rest.starts_with('"') {
            return self.string().map(Value::from);
        }
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            if self.take(word) {
                return Some(value);
            }
        }
        let end = self
            .rest
            .find(|c: char| !matches!(c, '0'..='9' | '-'))
            .unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end)?;
        let value = serde_json::from_str(number).ok()?;
        self.rest = rest;
        Some(value)
    }

    /// Items up to the closing bracket, a comma between them and perhaps behind the last one.
    fn items<T>(
        &mut self,
        end: &str,
        mut item: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.space();
            if self.take(end) {
                return Some(items);
            }
            items.push(item(self)?);
            self.space();
            if !self.take(",") {
                self.space();
                return self.take(end).then_some(items);
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        self.space();
        let mut escaped = false;
        let mut quotes = 0;
        let end = self.rest.char_indices().find_map(|(at, c)| {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quotes += 1,
                _ if at == 0 => return Some(0),
                _ => {}
            }
            (quotes == 2).then_some(at + 1)
        })?;
        let (literal, rest) = self.rest.split_at_checked(end)?;
        let text = serde_json::from_str(literal).ok()?;
        self.rest = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests;
