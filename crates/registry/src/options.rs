//! How to resolve images.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use nacre_imagelock::{ImageReference, Platform};

use crate::credentials::AuthFiles;
use crate::http::Timing;
use crate::store::LocalStore;

/// How to resolve images.
#[derive(Clone, Debug)]
pub struct Options {
    /// The platform to resolve for.
    pub platform: Platform,
    /// Read passwd and group of every image, not only where the image's user needs them.
    pub always_read_users: bool,
    /// No network.
    pub offline: bool,
    /// OCI layout folders, asked before any registry.
    pub layouts: Vec<LocalStore>,
    /// OCI and docker-save archives, asked before any registry.
    pub archives: Vec<LocalStore>,
    /// Mirrors, asked in order before the registry they stand for. A mirror decides what a tag
    /// means; a digest it cannot change.
    pub mirrors: Vec<Mirror>,
    /// Registries (host and port) to be reached over plain HTTP.
    pub insecure_registries: BTreeSet<String>,
    /// Certificate authorities in addition to the system's, PEM.
    pub ca_files: Vec<PathBuf>,
    /// Where to look for credentials.
    pub auth_files: AuthFiles,
    /// Folder kept between runs; `None` keeps nothing.
    pub cache_dir: Option<PathBuf>,
    /// How many images are worked on at a time.
    pub parallel: NonZeroUsize,
    /// Patience.
    pub timing: Timing,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            platform: Platform::default(),
            always_read_users: false,
            offline: false,
            layouts: Vec::new(),
            archives: Vec::new(),
            mirrors: Vec::new(),
            insecure_registries: BTreeSet::new(),
            ca_files: Vec::new(),
            auth_files: AuthFiles::none(),
            cache_dir: None,
            parallel: NonZeroUsize::MIN.saturating_add(7),
            timing: Timing::default(),
        }
    }
}

/// A mirror of a registry, written `REGISTRY=HOST[:PORT][/PREFIX]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub(crate) registry: String,
    pub(crate) host: String,
    pub(crate) prefix: String,
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        let fail = || MirrorError {
            text: text.chars().take(200).collect(),
        };
        let (registry, place) = text.split_once('=').ok_or_else(fail)?;
        let (host, prefix) = place.split_once('/').unwrap_or((place, ""));
        // What the reference grammar takes as a registry is one.
        let is_registry = |host: &str| {
            ImageReference::parse(&format!("{host}/x")).is_ok_and(|r| r.registry() == host)
        };
        let prefix = prefix.trim_end_matches('/');
        let prefix_ok = prefix.is_empty()
            || ImageReference::parse(&format!("a.io/{prefix}/x")).is_ok_and(|r| r.tag().is_none());
        if !is_registry(registry) || !is_registry(host) || !prefix_ok {
            return Err(fail());
        }
        Ok(Self {
            registry: registry.to_owned(),
            host: host.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// A text that is no mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a mirror such as docker.io=mirror.example:5000")]
#[non_exhaustive]
pub struct MirrorError {
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read() {
        let mirror: Mirror = "docker.io=mirror.example:5000/hub/".parse().unwrap();
        assert_eq!(
            (mirror.host.as_str(), mirror.prefix.as_str()),
            ("mirror.example:5000", "hub")
        );
        for bad in [
            "",
            "docker.io",
            "docker.io=",
            "=x.io",
            "docker.io=http://x",
            "a=b=c",
            "x.io=y.io/A:1",
        ] {
            assert!(bad.parse::<Mirror>().is_err(), "{bad}");
        }
    }
}
