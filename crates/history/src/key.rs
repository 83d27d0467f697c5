//! Names of the objects of a history.

use std::fmt;
use std::str::FromStr;

use nacre_manifest::{HexError, ManifestHash, PolicyHash, SeedSharesHash, TransitionHash};

/// Name of one object. Text form: `<kind>/<64 hex>`, or `latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ObjectKey {
    /// Bytes of a manifest, as received.
    Manifest(ManifestHash),
    /// A raw policy or raw initdata.
    Policy(PolicyHash),
    /// A [`crate::SignedTransition`]; the hash is that of the transition without its signatures.
    Transition(TransitionHash),
    /// A document with encrypted shares of the seed.
    SeedShares(SeedSharesHash),
    /// The [`crate::SignedConfirmation`] of the first transition, by that transition's hash.
    Confirmation(TransitionHash),
    /// The [`crate::Latest`]: the only object that is ever replaced.
    Latest,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `manifests`
    Manifests,
    /// `policies`
    Policies,
    /// `transitions`
    Transitions,
    /// `seedshares`
    SeedShares,
    /// `confirmations`
    Confirmations,
    /// `latest`
    Latest,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Manifests,
        Self::Policies,
        Self::Transitions,
        Self::SeedShares,
        Self::Confirmations,
        Self::Latest,
    ];

    /// The first part of a key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifests => "manifests",
            Self::Policies => "policies",
            Self::Transitions => "transitions",
            Self::SeedShares => "seedshares",
            Self::Confirmations => "confirmations",
            Self::Latest => "latest",
        }
    }
}

impl ObjectKey {
    /// What the object is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Manifest(_) => Kind::Manifests,
            Self::Policy(_) => Kind::Policies,
            Self::Transition(_) => Kind::Transitions,
            Self::SeedShares(_) => Kind::SeedShares,
            Self::Confirmation(_) => Kind::Confirmations,
            Self::Latest => Kind::Latest,
        }
    }

    /// Whether the bytes are those the name stands for. For kinds whose name says nothing about all of
    /// their bytes (transitions, confirmations, `latest`) this is true; [`crate::validate`] decides.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Manifest(hash) => ManifestHash::of(bytes) == *hash,
            Self::Policy(hash) => PolicyHash::of(bytes) == *hash,
            Self::SeedShares(hash) => SeedSharesHash::of(bytes) == *hash,
            Self::Transition(_) | Self::Confirmation(_) | Self::Latest => true,
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind().as_str();
        match self {
            Self::Manifest(hash) => write!(f, "{kind}/{hash}"),
            Self::Policy(hash) => write!(f, "{kind}/{hash}"),
            Self::Transition(hash) | Self::Confirmation(hash) => write!(f, "{kind}/{hash}"),
            Self::SeedShares(hash) => write!(f, "{kind}/{hash}"),
            Self::Latest => f.write_str(kind),
        }
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;

    fn from_str(text: &str) -> Result<Self, ObjectKeyError> {
        if text == Kind::Latest.as_str() {
            return Ok(Self::Latest);
        }
        let (kind, hash) = text.split_once('/').ok_or(ObjectKeyError::Kind)?;
        Ok(match kind {
            "manifests" => Self::Manifest(hash.parse()?),
            "policies" => Self::Policy(hash.parse()?),
            "transitions" => Self::Transition(hash.parse()?),
            "seedshares" => Self::SeedShares(hash.parse()?),
            "confirmations" => Self::Confirmation(hash.parse()?),
            _ => return Err(ObjectKeyError::Kind),
        })
    }
}

/// Why a text is no name of an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectKeyError {
    /// No kind of object starts so.
    #[error("not the name of an object of a history")]
    Kind,
    /// The hash is none.
    #[error("the hash in the name of an object")]
    Hash(#[from] HexError),
}
