//! What the manifest says about one policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;

/// What a workload with a given policy hash gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyEntry {
    /// Subject alternative names of its certificate (DNS names, IP addresses, URIs), in this order;
    /// the first DNS name is the common name.
    #[serde(rename = "SANs", default)]
    pub sans: Vec<String>,
    /// The object it was rendered for. Absent only in manifests read from the v0.8 list form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Names the secret that the Coordinator derives for the workload; absent = none.
    #[serde(
        rename = "WorkloadSecretID",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub workload_secret_id: Option<String>,
    /// Set for the Coordinator only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How much the policy lets the host see; absent means `strict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Names of the platforms whose reference values the workload may run under; empty = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// Whether the certificate also names the pod's address as the host reported it.
    #[serde(rename = "PodIP", default, skip_serializing_if = "is_false")]
    pub pod_ip: bool,
}

impl PolicyEntry {
    /// The entry of an object with these names in its certificate.
    pub fn new(identity: Identity, sans: Vec<String>) -> Self {
        Self {
            identity: Some(identity),
            sans,
            ..Self::default()
        }
    }

    /// Whether this is the Coordinator's entry.
    pub fn is_coordinator(&self) -> bool {
        self.role == Some(Role::Coordinator)
    }

    /// Whether the reference values of this platform count for it.
    pub fn may_run_on(&self, platform: &str) -> bool {
        self.platforms.is_empty() || self.platforms.iter().any(|one| one == platform)
    }

    /// The profile, `strict` where the entry names none.
    pub fn effective_profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }
}

/// What a workload is to the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// The Coordinator itself.
    Coordinator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("coordinator"),
        }
    }
}

/// Named sets of policy switches, from closed to open.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// No reading of logs, no exec, no attach.
    #[default]
    Strict,
    /// The host may read the output of containers.
    Logs,
    /// The host may also run commands in containers: for development, protects nothing.
    Debug,
}

impl Profile {
    /// Every profile, from closed to open.
    pub const ALL: [Self; 3] = [Self::Strict, Self::Logs, Self::Debug];

    /// The name in a configuration and in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Logs => "logs",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or(())
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}
