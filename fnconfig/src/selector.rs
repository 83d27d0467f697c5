//! Selecting workloads without editing them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::Reason;
use crate::object::{ConfigValue, Reader};

config_object! {
    /// Workloads to be made confidential although they do not name the placeholder runtime class. A
    /// workload is selected when everything given here fits.
    pub struct Selector {
        /// Kind, for example `Deployment`.
        kind: Option<String> as "kind";
        /// Name; `*` stands for any text, `?` for one character.
        name: Option<NamePattern> as "name";
        /// Namespace; objects without one are in `default`.
        namespace: Option<String> as "namespace";
        /// Labels of the object that must have exactly these values.
        labels: BTreeMap<String, String> as "labels";
    }
}

impl Selector {
    /// Whether an object is selected. `namespace` is the effective one.
    pub fn matches<'l>(
        &self,
        kind: &str,
        name: &str,
        namespace: &str,
        label: impl Fn(&str) -> Option<&'l str>,
    ) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind)
            && self
                .name
                .as_ref()
                .is_none_or(|pattern| pattern.matches(name))
            && self
                .namespace
                .as_ref()
                .is_none_or(|wanted| wanted == namespace)
            && self
                .labels
                .iter()
                .all(|(key, value)| label(key) == Some(value))
    }

    /// Whether nothing is given, so that everything would be selected.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A name with `*` (any text) and `?` (one character).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether a name fits.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let mut fits = vec![false; pattern.len() + 1];
        if let Some(first) = fits.first_mut() {
            *first = true;
        }
        extend_stars(&pattern, &mut fits);
        for character in name.chars() {
            // fits[i]: the first i signs of the pattern fit the name read so far.
            let mut next = vec![false; pattern.len() + 1];
            for (index, sign) in pattern.iter().enumerate() {
                let here = fits.get(index).copied().unwrap_or_default();
                let target = match sign {
                    '*' if here => index,
                    '?' if here => index + 1,
                    literal if here && *literal == character => index + 1,
                    _ => continue,
                };
                if let Some(target) = next.get_mut(target) {
                    *target = true;
                }
            }
            extend_stars(&pattern, &mut next);
            fits = next;
        }
        fits.last().copied().unwrap_or_default()
    }
}

/// A `*` may stand for nothing.
fn extend_stars(pattern: &[char], fits: &mut [bool]) {
    for (index, sign) in pattern.iter().enumerate() {
        if *sign == '*'
            && fits.get(index).copied().unwrap_or_default()
            && let Some(behind) = fits.get_mut(index + 1)
        {
            *behind = true;
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern that no object name can fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{character:?} cannot stand in a name pattern: lower-case letters, digits, '-', '.', '*' and '?' can"
)]
pub struct NamePatternError {
    /// The first character that cannot stand there.
    pub character: char,
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        let odd = |c: &char| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '.' | '*' | '?');
        match text.chars().find(odd) {
            Some(character) => Err(NamePatternError { character }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl ConfigValue for NamePattern {
    fn read(value: &Value, reader: &mut Reader) -> Option<Self> {
        let text = String::read(value, reader)?;
        text.parse()
            .map_err(|error: NamePatternError| reader.error(Reason::WrongValue, error.to_string()))
            .ok()
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9.*?-]+$" })
    }

    fn words() -> String {
        "name pattern".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let fits =
            |pattern: &str, name: &str| pattern.parse::<NamePattern>().unwrap().matches(name);
        assert!(fits("web", "web"));
        assert!(!fits("web", "web-1"));
        assert!(fits("web-*", "web-"));
        assert!(fits("*", "anything"));
        assert!(fits("*-db-?", "shop-db-1"));
        assert!(!fits("*-db-?", "shop-db-10"));
        assert!(fits("a*b*c", "aXbXbXc".to_lowercase().as_str()));
        assert!(!fits("a*b*c", "acb"));
        assert!("Web".parse::<NamePattern>().is_err());
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern: NamePattern = "*a".repeat(100).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(50)));
        assert!(pattern.matches(&"a".repeat(200)));
    }

    #[test]
    fn everything_given_must_fit() {
        let selector = Selector {
            kind: Some("Deployment".to_owned()),
            namespace: Some("shop".to_owned()),
            labels: BTreeMap::from([("tier".to_owned(), "web".to_owned())]),
            ..Selector::default()
        };
        let label = |key: &str| (key == "tier").then_some("web");
        assert!(selector.matches("Deployment", "a", "shop", label));
        assert!(!selector.matches("Job", "a", "shop", label));
        assert!(!selector.matches("Deployment", "a", "default", label));
        assert!(!selector.matches("Deployment", "a", "shop", |_| Some("db")));
        assert!(!selector.matches("Deployment", "a", "shop", |_| None));
    }
}
