//! Image references: the grammar and the normalisation container runtimes apply.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError, printable};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";

/// An image reference, `[registry/]repository[:tag][@digest]`.
///
/// The grammar is that of the distribution project's reference documentation; the
/// normalisation is what containerd does with the string the kubelet hands it: no registry
/// means `docker.io`, one path component there means `library/…`, no tag means `latest`.
/// The name is kept as it was written, so that a pinned reference looks like the user's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// The name as written, before tag and digest.
    name: String,
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Reads a reference.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let fail = |reason| ReferenceError {
            reference: printable(text),
            reason,
        };
        if text.is_empty() {
            return Err(fail(Reason::Empty));
        }
        if text.len() > 1024 {
            return Err(fail(Reason::TooLong));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => (
                rest,
                Some(digest.parse().map_err(|e| fail(Reason::Digest(e)))?),
            ),
        };
        // A colon after the last slash starts a tag; one before it is a registry's port.
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest.get(last_slash..).and_then(|last| last.find(':')) {
            None => (rest, None),
            Some(at) => {
                let (name, tag) = rest.split_at(last_slash + at);
                (name, tag.strip_prefix(':'))
            }
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(fail(Reason::Tag));
        }
        let (registry, path) = split_registry(name);
        if !is_registry(registry) {
            return Err(fail(Reason::Registry));
        }
        if path.len() > 255 {
            return Err(fail(Reason::TooLong));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(fail(Reason::UpperCase));
        }
        if !path.split('/').all(is_component) {
            return Err(fail(Reason::Repository));
        }
        if path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(fail(Reason::LooksLikeId));
        }
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Ok(Self {
            name: name.to_owned(),
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The name as written, without tag and digest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The registry's host and port; `docker.io` where none is written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry, `library/` included.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Whether a text is a reference with a digest.
    pub fn is_pinned(text: &str) -> bool {
        Self::parse(text).is_ok_and(|image| image.digest().is_some())
    }

    /// The digest, if one is written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask a registry for: the digest, else the tag, else `latest`.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or(DEFAULT_TAG)
    }

    /// The full form in which the lock files an image: `docker.io/library/nginx:latest`.
    /// `latest` is added only where neither tag nor digest is written.
    pub fn normalised(&self) -> String {
        self.clone().into_normalised().to_string()
    }

    /// The same reference, written as [`normalised`](Self::normalised) writes it.
    pub fn into_normalised(self) -> Self {
        let tag = match (self.tag, &self.digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag,
        };
        Self {
            name: format!("{}/{}", self.registry, self.repository),
            tag,
            ..self
        }
    }

    /// The reference with this digest in place of any it has: `name:tag@sha256:…`. Name and
    /// tag stay as written.
    pub fn pinned(&self, digest: &Digest) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}@{digest}", self.name),
            None => format!("{}@{digest}", self.name),
        }
    }

    /// The same image without its digest, if it has a tag as well.
    pub(crate) fn without_digest(&self) -> Option<Self> {
        self.tag.as_ref()?;
        Some(Self {
            digest: None,
            ..self.clone()
        })
    }

    /// Whether both name the same repository of the same registry.
    pub fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// As written.
impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A text that is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reference:?} is not an image reference")]
#[non_exhaustive]
pub struct ReferenceError {
    /// The text, cut to a printable length.
    pub reference: String,
    /// What is wrong with it.
    #[source]
    pub reason: Reason,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Nothing is written.
    #[error("it is empty")]
    Empty,
    /// Longer than any registry takes.
    #[error("it is too long")]
    TooLong,
    /// The part before the first slash is no host name.
    #[error("the registry is no host name with an optional port")]
    Registry,
    /// Upper-case letters in the repository.
    #[error("a repository name has lower-case letters only")]
    UpperCase,
    /// A path component outside the grammar.
    #[error(
        "a repository name has letters and digits, separated by single '.', '/', one or two '_', \
         or '-'"
    )]
    Repository,
    /// 64 hexadecimal digits: runtimes take that for an image id.
    #[error("64 hexadecimal digits are an image id, not a name")]
    LooksLikeId,
    /// A tag outside the grammar.
    #[error(
        "a tag has at most 128 letters, digits, '_', '.' and '-' and does not begin with '.' or \
         '-'"
    )]
    Tag,
    /// The text behind `@`.
    #[error("the digest is malformed")]
    Digest(#[source] DigestError),
}

/// Registry and remaining path. The first component is a registry when it could not be a
/// repository: it has a dot, a colon or an upper-case letter, or is `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (
                if first == "index.docker.io" {
                    DEFAULT_REGISTRY
                } else {
                    first
                },
                rest,
            )
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) if rest.is_empty() || rest.starts_with(':') => {
                let v6 = !host.is_empty()
                    && host.contains(':')
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.');
                if !v6 {
                    return false;
                }
                ("", rest.strip_prefix(':'))
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_ok = text.starts_with('[') || host.split('.').all(is_host_label);
    let port_ok = port.is_none_or(|p| {
        p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p != 0)
    });
    host_ok && port_ok
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends_ok =
        text.bytes().next().is_some_and(is_alnum) && text.bytes().last().is_some_and(is_alnum);
    ends_ok
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn normalises_as_containerd_does() {
        let cases = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            (
                "127.0.0.1:5000/a/b__c/d-e---f.g:V_1.0-x",
                "127.0.0.1:5000/a/b__c/d-e---f.g:V_1.0-x",
            ),
            ("[::1]:5000/app:1", "[::1]:5000/app:1"),
            ("Registry/app", "Registry/app:latest"),
            ("ghcr.io/o/app", "ghcr.io/o/app:latest"),
        ];
        for (text, normal) in cases {
            let reference = ImageReference::parse(text).unwrap();
            assert_eq!(reference.normalised(), normal);
            assert_eq!(reference.to_string(), text);
            assert_eq!(ImageReference::parse(normal).unwrap().normalised(), normal);
        }
        let both = ImageReference::parse(&format!("nginx:1@{D}")).unwrap();
        assert_eq!(both.normalised(), format!("docker.io/library/nginx:1@{D}"));
        let digest_only = ImageReference::parse(&format!("nginx@{D}")).unwrap();
        assert_eq!(
            digest_only.normalised(),
            format!("docker.io/library/nginx@{D}")
        );
        assert_eq!(digest_only.tag(), None);
    }

    #[test]
    fn pins_in_the_users_spelling() {
        let digest: Digest = D.parse().unwrap();
        let pin = |text: &str| ImageReference::parse(text).unwrap().pinned(&digest);
        assert_eq!(pin("nginx:1.27"), format!("nginx:1.27@{D}"));
        assert_eq!(pin("nginx"), format!("nginx@{D}"));
        let other = Digest::of(b"other");
        assert_eq!(pin(&format!("a.io/x:1@{other}")), format!("a.io/x:1@{D}"));
    }

    #[test]
    fn refuses_with_the_reason() {
        let hex = &D[7..];
        let cases = [
            ("", Reason::Empty),
            ("nginx:", Reason::Tag),
            ("nginx:.x", Reason::Tag),
            ("ngi nx", Reason::Repository),
            ("a..b/c", Reason::Registry),
            ("a//b", Reason::Repository),
            ("/a", Reason::Repository),
            ("a/", Reason::Repository),
            ("a___b", Reason::Repository),
            ("a.-b", Reason::Repository),
            ("Nginx", Reason::UpperCase),
            ("docker.io/Nginx", Reason::UpperCase),
            ("host:99999/a", Reason::Registry),
            ("host:/a", Reason::Registry),
            ("[::1/a", Reason::Registry),
            ("-a.io/x", Reason::Registry),
            (hex, Reason::LooksLikeId),
            (
                "nginx@sha256:00",
                Reason::Digest(DigestError::Length { found: 2 }),
            ),
            ("http://x.io/a", Reason::Registry),
        ];
        for (text, reason) in cases {
            assert_eq!(
                ImageReference::parse(text).unwrap_err().reason,
                reason,
                "{text}"
            );
        }
        assert_eq!(
            ImageReference::parse(&"a".repeat(300)).unwrap_err().reason,
            Reason::TooLong
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_what_is_read_prints_the_same(text in "\\PC{0,60}") {
            if let Ok(reference) = ImageReference::parse(&text) {
                prop_assert_eq!(reference.to_string(), text);
            }
        }

        #[test]
        fn generated_references_round_trip(
            registry in prop::option::of("[a-z0-9]{1,8}(\\.[a-z]{2,5}){1,2}(:[1-9][0-9]{0,3})?"),
            path in "[a-z0-9]{1,6}((_|__|-|\\.)[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,2}",
            tag in prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in prop::option::of(any::<[u8; 32]>()),
        ) {
            // A first component with a dot is a registry by definition.
            prop_assume!(registry.is_some() || !path.split('/').next().unwrap().contains('.') || !path.contains('/'));
            let mut text = registry.map(|r| format!("{r}/")).unwrap_or_default() + &path;
            if let Some(tag) = tag { text = format!("{text}:{tag}"); }
            if let Some(digest) = digest { text = format!("{text}@{}", Digest::from_bytes(digest)); }
            let reference = ImageReference::parse(&text).unwrap();
            prop_assert_eq!(reference.to_string(), text);
            let normal = reference.normalised();
            prop_assert_eq!(ImageReference::parse(&normal).unwrap().normalised(), normal);
        }
    }
}
