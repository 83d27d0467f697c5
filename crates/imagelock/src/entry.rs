//! What the lock says about one image.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, printable};
use crate::reference::ImageReference;
use crate::user::{ResolvedUser, UserDatabase, UserError, UserRequest, resolve};

/// Label of images built with test roots (simulation). The function refuses them.
pub const TEST_ROOT_LABEL: &str = "nacre.dev/test-root";

/// Label of images whose program only says that it is none, for examples and tests. Their digests are real.
pub const STAND_IN_LABEL: &str = "nacre.dev/stand-in";

/// One image, resolved for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The reference this entry answers for, in normalised form.
    pub reference: ImageReference,
    /// Digest of the image manifest for `platform`: what a guest pulls.
    pub digest: Digest,
    /// Digest of the index (multi-platform list) the manifest was found through.
    pub index_digest: Option<Digest>,
    /// Digest of the image configuration the facts were read from.
    pub config_digest: Option<Digest>,
    /// The platform resolved for.
    pub platform: Platform,
    /// Where it was read from.
    pub source: Source,
    /// Compressed size of all layers, in bytes.
    pub size_bytes: u64,
    /// Facts of the image configuration.
    pub config: ImageFacts,
    /// The identity of a container whose pod says nothing about users.
    pub resolved_user: Option<ResolvedUser>,
    /// passwd and group of the image, for every other identity; `None` if not read.
    pub users: Option<UserDatabase>,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
}

impl Entry {
    /// An entry with nothing but its identity; the caller fills in the facts.
    pub fn new(reference: ImageReference, digest: Digest) -> Self {
        Self {
            reference,
            digest,
            index_digest: None,
            config_digest: None,
            platform: Platform::default(),
            source: Source::Registry,
            size_bytes: 0,
            config: ImageFacts::default(),
            resolved_user: None,
            users: None,
            layers: Vec::new(),
        }
    }

    /// The identity of a container of this image under this request.
    pub fn resolve_user(&self, request: &UserRequest) -> Result<ResolvedUser, UserError> {
        resolve(&self.config.user, request, self.users.as_ref())
    }

    /// What `resolved_user` must be, given the other facts.
    pub fn default_user(&self) -> Option<ResolvedUser> {
        self.resolve_user(&UserRequest::default()).ok()
    }

    /// Whether the image holds a program that says so and fails, in place of the one that its name promises.
    pub fn is_stand_in(&self) -> bool {
        self.config.labels.contains_key(STAND_IN_LABEL)
    }

    /// Whether the image was built with test roots.
    pub fn has_test_root(&self) -> bool {
        self.config.labels.contains_key(TEST_ROOT_LABEL)
    }
}

/// The facts of an image configuration (OCI image specification, "Image configuration") a
/// policy depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, as `NAME=value` in order.
    pub env: Vec<String>,
    /// `User`, as written; empty if there is none.
    pub user: String,
    /// `WorkingDir`; empty if there is none.
    pub working_dir: String,
    /// Keys of `Volumes`, sorted.
    pub volumes: Vec<String>,
    /// Keys of `ExposedPorts`, sorted: `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// `StopSignal`.
    pub stop_signal: Option<String>,
    /// `Labels`.
    pub labels: BTreeMap<String, String>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the (compressed) blob.
    pub digest: Digest,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Size of the blob in bytes.
    pub size_bytes: u64,
    /// dm-verity root hash, for platforms that deliver layers as verified block devices; 32
    /// bytes in hexadecimal.
    pub verity_root: Option<String>,
}

/// An operating system, architecture and optional variant: `linux/amd64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v8`, for architectures that have variants.
    pub variant: Option<String>,
}

/// `linux/amd64`, the only platform with SEV-SNP.
impl Default for Platform {
    fn default() -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            variant: None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: Option<&str>| match part {
            Some(part)
                if !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) =>
            {
                Ok(part.to_owned())
            }
            _ => Err(PlatformError {
                found: printable(text),
            }),
        };
        let mut parts = text.split('/');
        let (os, architecture) = (word(parts.next())?, word(parts.next())?);
        let variant = match parts.next() {
            None => None,
            part => Some(word(part)?),
        };
        match parts.next() {
            None => Ok(Self {
                os,
                architecture,
                variant,
            }),
            Some(_) => Err(PlatformError {
                found: printable(text),
            }),
        }
    }
}

/// A text that is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a platform such as linux/amd64")]
#[non_exhaustive]
pub struct PlatformError {
    /// The text.
    pub found: String,
}

/// Where an entry was read from. Names no path and no mirror, so that two people get the same
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Source {
    /// A registry, or a mirror of it.
    Registry,
    /// An OCI layout folder.
    Layout,
    /// An OCI or docker-save archive.
    Archive,
}

impl Source {
    /// The word in the lock.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Layout => "oci-layout",
            Self::Archive => "archive",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Registry, Self::Layout, Self::Archive]
            .into_iter()
            .find(|s| s.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_round_trip() {
        for text in ["linux/amd64", "linux/arm64/v8"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "linux",
            "linux/",
            "Linux/amd64",
            "linux/amd64/",
            "linux/a/b/c",
            "l x/a",
        ] {
            assert_eq!(text.parse::<Platform>().unwrap_err().found, text);
        }
    }
}
