//! Who may extend a history.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use nacre_manifest::{HexError, KeyDigest, MAX_THRESHOLD, Manifest};

use crate::error::Invalid;
use crate::signed::{Body, Signed};

/// So many of these owners.
///
/// Text form, as in `NACRE_OWNERS`: `<threshold>:<digest>,<digest>,…`, each digest 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    threshold: usize,
    keys: BTreeSet<KeyDigest>,
    name: &'static str,
}

impl Authority {
    /// The owners listed in a manifest, who decide about the next one. An empty list stands for nobody.
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            threshold: usize::try_from(manifest.update_threshold).unwrap_or(usize::MAX),
            keys: manifest
                .workload_owner_key_digests
                .iter()
                .copied()
                .collect(),
            name: "owners of the manifest in force",
        }
    }

    /// How many have to sign; at least one.
    pub fn threshold(&self) -> usize {
        self.threshold.max(1)
    }

    /// Who may sign.
    pub fn keys(&self) -> &BTreeSet<KeyDigest> {
        &self.keys
    }

    /// The owners who signed. Every signature has to be one of these owners' and hold; there may be too
    /// few of them.
    pub fn signers<B: Body>(&self, signed: &Signed<B>) -> Result<Vec<KeyDigest>, Invalid> {
        let message = signed.body().message();
        let mut signers = Vec::new();
        for signature in signed.signatures() {
            let key = signature.key();
            if !self.keys.contains(&key) {
                let owners = self.name;
                return Err(Invalid::NotAnOwner { key, owners });
            }
            if !signature.verify(&message) {
                return Err(Invalid::Signature { key });
            }
            signers.push(key);
        }
        Ok(signers)
    }

    /// As [`Authority::signers`], and enough of them.
    pub fn authorise<B: Body>(&self, signed: &Signed<B>) -> Result<Vec<KeyDigest>, Invalid> {
        let signers = self.signers(signed)?;
        let (found, needed) = (signers.len(), self.threshold());
        if found < needed {
            return Err(Invalid::TooFewSignatures { found, needed });
        }
        Ok(signers)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.threshold)?;
        for (index, key) in self.keys.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{key}")?;
        }
        Ok(())
    }
}

impl FromStr for Authority {
    type Err = OwnersError;

    fn from_str(text: &str) -> Result<Self, OwnersError> {
        let (threshold, list) = text.split_once(':').ok_or(OwnersError::Form)?;
        let digits = !threshold.is_empty() && threshold.bytes().all(|byte| byte.is_ascii_digit());
        let threshold: u32 = threshold
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or(OwnersError::Form)?;
        let mut keys = BTreeSet::new();
        for digest in list.split(',') {
            let key: KeyDigest = digest.parse()?;
            if !keys.insert(key) {
                return Err(OwnersError::Twice { key });
            }
        }
        let owners = keys.len();
        let fits = usize::try_from(threshold).is_ok_and(|threshold| threshold <= owners);
        if !fits || !(1..=MAX_THRESHOLD).contains(&threshold) {
            return Err(OwnersError::Threshold { threshold, owners });
        }
        Ok(Self {
            threshold: usize::try_from(threshold).unwrap_or(usize::MAX),
            keys,
            name: "owners measured into the Coordinator",
        })
    }
}

/// Why a text does not name owners.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnersError {
    /// Another form.
    #[error("expected <threshold>:<digest>,<digest>,…")]
    Form,
    /// A digest that is none.
    #[error("the digest of an owner's key")]
    Digest(#[from] HexError),
    /// An owner stands twice.
    #[error("{key} stands twice")]
    Twice {
        /// Who.
        key: KeyDigest,
    },
    /// A threshold that is zero, above the number of owners or above what is supported.
    #[error(
        "threshold {threshold} with {owners} owner(s): 1 to that number, at most {MAX_THRESHOLD}"
    )]
    Threshold {
        /// As written.
        threshold: u32,
        /// Number of owners.
        owners: usize,
    },
}

/// Who may set the first manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GenesisAuthority {
    /// Owners who are measured into the Coordinator, so that its evidence vouches for them.
    Owners(Authority),
    /// Nobody in particular. Only a manifest that says `InsecureUnboundFirstSet` is taken, and every
    /// verdict has to say that the Coordinator instance is not authenticated.
    InsecureUnbound,
}

impl GenesisAuthority {
    /// Who has to sign a first transition to this manifest. Unbound, it is the owners the manifest lists
    /// itself: that proves nothing about the instance, but that they want this manifest.
    pub(crate) fn for_manifest(&self, manifest: &Manifest) -> Result<Authority, Invalid> {
        match self {
            Self::Owners(authority) => Ok(authority.clone()),
            Self::InsecureUnbound if manifest.insecure_unbound_first_set => {
                Ok(Authority::of(manifest))
            }
            Self::InsecureUnbound => Err(Invalid::Unbound),
        }
    }
}
