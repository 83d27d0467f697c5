//! What the policies of a manifest say, from their bytes alone.

use std::collections::BTreeMap;

use nacre_history::{Authority, GenesisAuthority};
use nacre_manifest::{Identity, Manifest, PolicyEntry, PolicyHash, Profile};
use nacre_policy::Policy;
use nacre_policy::read::{Read, Rules};
use nacre_policy::report::{self, Open, Risk};
use serde::Serialize;

/// Name of the Coordinator's own container.
const COORDINATOR: &str = "coordinator";
/// Variable that names who may set the first manifest.
const OWNERS: &str = "NACRE_OWNERS";

/// One workload of a manifest and what its policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Hash of its policy.
    pub policy: PolicyHash,
    /// Namespace, kind and name; the hash where the manifest names none.
    pub name: String,
    /// Whether the rules are known; everything below is empty when not.
    pub known: bool,
    /// What is unknown about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of rules that are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_digest: Option<String>,
    /// The profile that the policy amounts to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<&'static str>,
    /// The worst of what is left to the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<&'static str>,
    /// What is left to the host.
    pub open: Vec<OpenItem>,
}

/// Something the host can do or choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenItem {
    /// How bad that is.
    pub risk: &'static str,
    /// What, and in which container.
    pub what: String,
    /// Why it matters.
    pub why: &'static str,
}

/// Policies that were read, by hash.
#[derive(Debug, Default)]
pub struct Policies(BTreeMap<PolicyHash, Option<Read>>);

impl Policies {
    /// Reads raw policies. One that is no policy at all is kept as unreadable.
    pub fn read<'a>(raw: impl IntoIterator<Item = (PolicyHash, &'a [u8])>) -> Self {
        Self(
            raw.into_iter()
                .map(|(hash, bytes)| (hash, Read::of_raw(bytes).ok()))
                .collect(),
        )
    }

    /// The policy of this hash, where its rules are known.
    pub fn known(&self, hash: &PolicyHash) -> Option<&Policy> {
        self.0.get(hash)?.as_ref()?.known()
    }

    /// What was read of this hash.
    pub fn get(&self, hash: &PolicyHash) -> Option<&Read> {
        self.0.get(hash)?.as_ref()
    }

    /// Hashes of policies whose rules are not known.
    pub fn unknown(&self) -> impl Iterator<Item = PolicyHash> {
        self.0
            .iter()
            .filter(|(_, read)| read.as_ref().is_none_or(|read| read.known().is_none()))
            .map(|(hash, _)| *hash)
    }

    /// One line for each workload of a manifest, in the order of identities.
    pub fn workloads(&self, manifest: &Manifest) -> Vec<Workload> {
        let mut workloads: Vec<_> = manifest
            .policies
            .iter()
            .map(|(hash, entry)| self.workload(*hash, entry))
            .collect();
        workloads.sort_by(|a, b| a.name.cmp(&b.name));
        workloads
    }

    fn workload(&self, hash: PolicyHash, entry: &PolicyEntry) -> Workload {
        let (reason, rules_digest) = match self.get(&hash) {
            None => (Some("it cannot be read".to_owned()), None),
            Some(read) => match &read.rules {
                Rules::Unknown { digest, reason } => {
                    (Some(reason.to_string()), Some(digest.clone()))
                }
                Rules::Known { .. } if !read.other_keys.is_empty() => {
                    let keys = read.other_keys.join(", ");
                    (Some(format!("its document also configures {keys}")), None)
                }
                Rules::Known { .. } => (None, None),
            },
        };
        let policy = self.known(&hash);
        let ours =
            |container: &str| nacre_review::policies::is_ours(container, entry.is_coordinator());
        let open = policy.map(|policy| report::open(policy, &ours));
        let open = open.unwrap_or_default();
        Workload {
            policy: hash,
            name: name(&hash, entry.identity.as_ref()),
            known: policy.is_some(),
            reason,
            rules_digest,
            profile: policy.map(|policy| policy.profile(&ours).as_str()),
            risk: policy.map(|_| report::risk(&open).as_str()),
            open: open
                .iter()
                .filter(|open| open.risk > Risk::Low)
                .map(item)
                .collect(),
        }
    }

    /// Who may start a history, by what is measured into the Coordinator with this HOST_DATA.
    pub fn genesis_authority(
        &self,
        coordinator: &PolicyHash,
    ) -> Result<GenesisAuthority, OwnersUnread> {
        let policy = self.known(coordinator).ok_or(OwnersUnread::Policy)?;
        let pinned = policy.pinned_variable(OWNERS);
        let named = pinned
            .iter()
            .filter(|(container, _)| *container == COORDINATOR);
        let value = match (
            named
                .map(|(_, value)| *value)
                .collect::<Vec<_>>()
                .as_slice(),
            pinned.as_slice(),
        ) {
            ([value], _) => *value,
            ([], [(_, value)]) => *value,
            ([], []) => return Ok(GenesisAuthority::InsecureUnbound),
            _ => return Err(OwnersUnread::Several),
        };
        let owners: Authority = value.parse().map_err(|_| OwnersUnread::Form)?;
        Ok(GenesisAuthority::Owners(owners))
    }
}

/// Why the owners measured into a Coordinator are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnersUnread {
    /// Its policy is missing or has unknown rules.
    #[error("the Coordinator's policy cannot be read, so nobody knows which owners it holds")]
    Policy,
    /// Its policy is accepted, but not read, and neither the caller nor a pin says which owners it holds.
    #[error("the Coordinator's policy is accepted, and nothing says which owners it holds")]
    NotNamed,
    /// Other owners were named than those in its policy.
    #[error("the Coordinator's policy holds other owners than those named")]
    Differ,
    /// More than one container has the variable.
    #[error("several containers of the Coordinator have NACRE_OWNERS")]
    Several,
    /// Another form.
    #[error("NACRE_OWNERS of the Coordinator is malformed")]
    Form,
}

impl OwnersUnread {
    /// What to do about it, for the Coordinator with this policy.
    pub fn help(self, coordinator: &PolicyHash) -> Option<String> {
        match self {
            Self::Policy => Some(format!(
                "use a version of nacre that knows its rules; or review the policy and run again with \
                 --accept-policy {coordinator}, and with --owners where no earlier run has read them"
            )),
            Self::NotNamed => Some(
                "read NACRE_OWNERS in the policy, and name its value: --owners K:DIGEST,… (unbound where it has none)"
                    .to_owned(),
            ),
            Self::Differ => Some("leave --owners away: the policy can be read".to_owned()),
            Self::Several | Self::Form => None,
        }
    }
}

/// What a policy amounts to beside what its entry says: weaker is an error.
pub fn is_weaker(policy: &Policy, entry: &PolicyEntry) -> Option<(Profile, Profile)> {
    let ours = |container: &str| nacre_review::policies::is_ours(container, entry.is_coordinator());
    let (is, says) = (policy.profile(&ours), entry.effective_profile());
    (is > says).then_some((is, says))
}

fn name(hash: &PolicyHash, identity: Option<&Identity>) -> String {
    identity.map_or_else(|| hash.to_string(), ToString::to_string)
}

fn item(open: &Open) -> OpenItem {
    let what = match &open.container {
        Some(container) => format!("{container}: {}", open.what),
        None => open.what.clone(),
    };
    OpenItem {
        risk: open.risk.as_str(),
        what,
        why: open.why,
    }
}
