//! Who a workload is: trust domain, identity and the SPIFFE URI made of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most characters of a trust domain, by the SPIFFE specification.
const MAX_TRUST_DOMAIN: usize = 255;

/// Name of the set of workloads that one Coordinator speaks for; the authority of every SPIFFE URI.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The domain when the configuration names none.
    pub const DEFAULT: &'static str = "nacre.local";

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of every SPIFFE URI of this domain, with the slash behind the domain.
    pub fn uri_prefix(&self) -> String {
        format!("spiffe://{}/", self.0)
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, TrustDomainError> {
        if text.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        if text.len() > MAX_TRUST_DOMAIN {
            return Err(TrustDomainError::TooLong { length: text.len() });
        }
        match text
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_'))
        {
            Some(character) => Err(TrustDomainError::Character { character }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Why a text is not a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustDomainError {
    /// Nothing given.
    #[error("a trust domain must not be empty")]
    Empty,
    /// Longer than SPIFFE allows.
    #[error("a trust domain has at most {MAX_TRUST_DOMAIN} characters, this has {length}")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// A character that SPIFFE does not allow.
    #[error(
        "{character:?} may not stand in a trust domain: lower-case letters, digits, '.', '-' and '_' may"
    )]
    Character {
        /// The first such character.
        character: char,
    },
}

/// The Kubernetes object that a policy belongs to; one SPIFFE URI is minted from it.
///
/// Text form: `<namespace>/<Kind>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Identity {
    /// Namespace; `default` where the object has none.
    pub namespace: String,
    /// Kind as the object spells it, for example `Deployment`.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

impl Identity {
    /// The identity of an object.
    pub fn new(
        namespace: impl Into<String>,
        kind: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            kind: kind.into(),
            name: name.into(),
        }
    }

    /// The one SPIFFE URI of the workload: `spiffe://<trust domain>/ns/<namespace>/<kind>/<name>`,
    /// each part as the object spells it.
    pub fn spiffe_uri(&self, domain: &TrustDomain) -> String {
        format!(
            "{}ns/{}/{}/{}",
            domain.uri_prefix(),
            self.namespace,
            self.kind,
            self.name
        )
    }

    /// Whether each part may stand in a SPIFFE path as it is.
    pub fn check(&self) -> Result<(), IdentityError> {
        let parts = [
            ("Namespace", &self.namespace),
            ("Kind", &self.kind),
            ("Name", &self.name),
        ];
        for (part, text) in parts {
            if text.is_empty() {
                return Err(IdentityError::Empty { part });
            }
            if text == "." || text == ".." {
                return Err(IdentityError::Relative { part });
            }
            let odd = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
            if let Some(character) = text.chars().find(odd) {
                return Err(IdentityError::Character { part, character });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let mut parts = text.split('/');
        let (Some(namespace), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdentityError::Form);
        };
        let identity = Self::new(namespace, kind, name);
        identity.check()?;
        Ok(identity)
    }
}

/// Why an identity cannot be written as a SPIFFE path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not three parts.
    #[error("expected <namespace>/<Kind>/<name>")]
    Form,
    /// A part is empty.
    #[error("{part} is empty")]
    Empty {
        /// `Namespace`, `Kind` or `Name`.
        part: &'static str,
    },
    /// A part is `.` or `..`.
    #[error("{part} must not be a relative path")]
    Relative {
        /// `Namespace`, `Kind` or `Name`.
        part: &'static str,
    },
    /// A part has a character that may not stand in a SPIFFE path.
    #[error("{part} has the character {character:?}")]
    Character {
        /// `Namespace`, `Kind` or `Name`.
        part: &'static str,
        /// The first such character.
        character: char,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uri_per_object() {
        let identity: Identity = "shop/Deployment/web".parse().unwrap();
        assert_eq!(
            identity.spiffe_uri(&TrustDomain::default()),
            "spiffe://nacre.local/ns/shop/Deployment/web"
        );
        assert_eq!(identity.to_string(), "shop/Deployment/web");
    }

    #[test]
    fn an_identity_cannot_reach_outside_its_path() {
        assert_eq!("a/b".parse::<Identity>(), Err(IdentityError::Form));
        assert_eq!("a/B/c/d".parse::<Identity>(), Err(IdentityError::Form));
        let up = Identity::new("..", "Pod", "x").check();
        assert_eq!(up, Err(IdentityError::Relative { part: "Namespace" }));
        let slash = Identity::new("a", "Pod", "x/../y").check();
        assert_eq!(
            slash,
            Err(IdentityError::Character {
                part: "Name",
                character: '/'
            })
        );
        assert_eq!(
            "a//c".parse::<Identity>(),
            Err(IdentityError::Empty { part: "Kind" })
        );
    }

    #[test]
    fn a_trust_domain_is_a_lower_case_name() {
        assert!("shop.example_1-x".parse::<TrustDomain>().is_ok());
        assert_eq!("".parse::<TrustDomain>(), Err(TrustDomainError::Empty));
        assert_eq!(
            "Shop".parse::<TrustDomain>(),
            Err(TrustDomainError::Character { character: 'S' })
        );
        assert_eq!(
            "a".repeat(256).parse::<TrustDomain>(),
            Err(TrustDomainError::TooLong { length: 256 })
        );
        assert!(serde_json::from_str::<TrustDomain>("\"a/b\"").is_err());
    }
}
