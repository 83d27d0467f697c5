//! Who may have set the first manifest, and from where that is known.

use std::fmt;
use std::str::FromStr;

use nacre_history::{GenesisAuthority, OwnersError};
use nacre_manifest::PolicyHash;
use serde::{Deserialize, Serialize};

use crate::examine::AcceptPolicies;
use crate::pin::Pin;
use crate::workloads::{OwnersUnread, Policies};

/// What stands for a Coordinator without owners.
const UNBOUND: &str = "unbound";

/// The owners measured into a Coordinator, as a text: that of `NACRE_OWNERS` (`<threshold>:<digest>,…`), or
/// `unbound` where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MeasuredOwners(pub GenesisAuthority);

impl fmt::Display for MeasuredOwners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            GenesisAuthority::Owners(owners) => owners.fmt(f),
            GenesisAuthority::InsecureUnbound => f.write_str(UNBOUND),
        }
    }
}

impl FromStr for MeasuredOwners {
    type Err = OwnersError;

    fn from_str(text: &str) -> Result<Self, OwnersError> {
        Ok(Self(match text {
            UNBOUND => GenesisAuthority::InsecureUnbound,
            owners => GenesisAuthority::Owners(owners.parse()?),
        }))
    }
}

impl TryFrom<String> for MeasuredOwners {
    type Error = OwnersError;

    fn try_from(text: String) -> Result<Self, OwnersError> {
        text.parse()
    }
}

impl From<MeasuredOwners> for String {
    fn from(owners: MeasuredOwners) -> Self {
        owners.to_string()
    }
}

/// From where the owners of a Coordinator are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Its policy, which its evidence covers.
    Policy,
    /// Whoever asks: its policy is accepted, and not read.
    Named,
    /// An earlier run: the policy of now is accepted, and not read.
    Pin,
}

/// Who may have set the first manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Who.
    pub owners: MeasuredOwners,
    /// From where that is known.
    pub source: Source,
}

impl Genesis {
    /// From the policy of this Coordinator. Where its rules are not known and the policy is accepted, from what
    /// was `named`, else from the pin; never from what the Coordinator says.
    pub fn of(
        coordinator: &PolicyHash,
        policies: &Policies,
        accept: &AcceptPolicies,
        named: Option<&MeasuredOwners>,
        pin: Option<&Pin>,
    ) -> Result<Self, OwnersUnread> {
        let of = |owners: &MeasuredOwners, source| Self {
            owners: owners.clone(),
            source,
        };
        match policies.genesis_authority(coordinator) {
            Ok(authority) => {
                let measured = MeasuredOwners(authority);
                match named {
                    Some(named) if *named != measured => Err(OwnersUnread::Differ),
                    _ => Ok(of(&measured, Source::Policy)),
                }
            }
            Err(OwnersUnread::Policy) if accept.accepts(coordinator) => {
                let pinned = pin.and_then(|pin| pin.owners.as_ref());
                let named = named.map(|owners| of(owners, Source::Named));
                named
                    .or(pinned.map(|owners| of(owners, Source::Pin)))
                    .ok_or(OwnersUnread::NotNamed)
            }
            Err(error) => Err(error),
        }
    }
}
