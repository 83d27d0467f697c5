//! Why bytes are no object of a history, and why objects are no history.

use nacre_manifest::{KeyDigest, ManifestHash, PolicyHash, TransitionHash};

use crate::key::ObjectKey;

/// Why bytes are not the object they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end inside a part.
    #[error("the bytes end early")]
    Truncated,
    /// Something follows the object.
    #[error("{bytes} bytes too many")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A version this build does not know.
    #[error("version {found} is not known")]
    Version {
        /// As found.
        found: u8,
    },
    /// A part that is empty or too long.
    #[error("a part of {length} bytes, 1 to {most} are allowed")]
    PartLength {
        /// As announced.
        length: usize,
        /// Most that are allowed.
        most: usize,
    },
    /// More signatures than an object may have.
    #[error("{count} signatures are more than {most}")]
    TooManySignatures {
        /// How many there are.
        count: usize,
        /// Most that are allowed.
        most: usize,
    },
    /// Signatures are not in the order of their keys' digests, or one key signed twice.
    #[error("signatures are not sorted by key, or a key stands twice")]
    SignatureOrder,
    /// A generation that does not go with what comes before it: the first is 1 and follows nothing.
    #[error("generation {generation} does not go with the transition before it")]
    Generation {
        /// As found.
        generation: u64,
    },
    /// A key that no owner has.
    #[error("not a public key on P-256, P-384 or P-521")]
    Key,
}

/// Why objects are no valid history, or why one may not be extended so.
///
/// Whatever the reason, nothing of it is used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// An object is not there.
    #[error("{key} is missing")]
    Missing {
        /// Which.
        key: ObjectKey,
    },
    /// An object could not be read.
    #[error("{key} could not be read")]
    Unreadable {
        /// Which.
        key: ObjectKey,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An object is not what its name says.
    #[error("{key} holds other content than its name says")]
    Tampered {
        /// Which.
        key: ObjectKey,
    },
    /// An object is malformed.
    #[error("{key} is malformed")]
    Format {
        /// Which.
        key: ObjectKey,
        /// How.
        #[source]
        source: FormatError,
    },
    /// More transitions than a history may have.
    #[error("generation {generation} is more than {most}")]
    TooLong {
        /// As found.
        generation: u64,
        /// Most.
        most: u64,
    },
    /// The transition does not follow the one that is the newest.
    #[error("the transition follows {found}, the newest one is {head}")]
    NotNext {
        /// What it says it follows.
        found: TransitionHash,
        /// The newest one; all zero when there is none.
        head: TransitionHash,
    },
    /// The number of the transition is not one more than the last.
    #[error("generation {found} where {expected} was expected")]
    Generation {
        /// As found.
        found: u64,
        /// One more than the last.
        expected: u64,
    },
    /// The transition says it was signed before the one it follows.
    #[error("signed at {found}, before the transition it follows ({previous}; Unix seconds)")]
    TimeBackwards {
        /// As found, Unix seconds.
        found: u64,
        /// Of the one before, Unix seconds.
        previous: u64,
    },
    /// The manifest is not the one that was signed.
    #[error("the manifest has hash {found}, signed is {signed}")]
    ManifestOther {
        /// Of the given bytes.
        found: ManifestHash,
        /// In the transition.
        signed: ManifestHash,
    },
    /// The manifest cannot be read.
    #[error("manifest {hash} cannot be read")]
    Manifest {
        /// Which.
        hash: ManifestHash,
        /// Why.
        #[source]
        source: nacre_manifest::Error,
    },
    /// The manifest is incomplete or wrong.
    #[error("manifest {hash} has {} mistake(s): {}", problems.len(), joined(problems))]
    ManifestProblems {
        /// Which.
        hash: ManifestHash,
        /// All of them.
        problems: Vec<nacre_manifest::Problem>,
    },
    /// The transition's digest of policies is not the manifest's.
    #[error("the digest of policies that was signed is not that of the manifest")]
    PoliciesOther,
    /// Seed-share owners or the recovery threshold differ from those of the first manifest.
    #[error("{field} differs from the first manifest: it can never change")]
    Immutable {
        /// Which.
        field: &'static str,
    },
    /// The manifest before lists no owners: it can never be replaced.
    #[error("the manifest in force lists no owners: it cannot be updated")]
    NoUpdates,
    /// A signature by somebody who is no owner.
    #[error("{key} signed, but is not among the {owners}")]
    NotAnOwner {
        /// Who signed.
        key: KeyDigest,
        /// Who may sign.
        owners: &'static str,
    },
    /// A signature that is not one.
    #[error("the signature of {key} does not hold")]
    Signature {
        /// Whose.
        key: KeyDigest,
    },
    /// Too few owners signed.
    #[error("{found} of {needed} owners signed")]
    TooFewSignatures {
        /// Signatures that hold.
        found: usize,
        /// Signatures that are needed.
        needed: usize,
    },
    /// Nobody is measured into the Coordinator, and the manifest does not say that this is meant.
    #[error(
        "no owners are measured into the Coordinator (NACRE_OWNERS), and the manifest does not say InsecureUnboundFirstSet"
    )]
    Unbound,
    /// A confirmation of another first transition, or of other shares of the seed.
    #[error("the confirmation is for another {what}")]
    ConfirmationOther {
        /// What differs.
        what: &'static str,
    },
    /// The newest object is not signed by the Coordinator of this history.
    #[error("the newest transition is not signed by the history's own key")]
    LatestSignature,
    /// The seed gives other keys than those that were confirmed.
    #[error("the seed belongs to another deployment: it gives another {key} key")]
    ForeignSeed {
        /// Which key differs.
        key: &'static str,
    },
    /// The Coordinator's own policy is not one of a Coordinator in the newest manifest.
    #[error("policy {policy} is no Coordinator in the newest manifest")]
    NotCoordinator {
        /// The Coordinator's HOST_DATA.
        policy: PolicyHash,
    },
    /// The history does not contain a transition that was seen before: it is older, or it is another one.
    #[error(
        "transition {transition} was seen before and is not in this history: it is older or another one"
    )]
    Rollback {
        /// What was seen.
        transition: TransitionHash,
    },
}

fn joined(problems: &[nacre_manifest::Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl Invalid {
    /// The number of the code that documents the error (`NCR####`).
    pub const fn code(&self) -> u16 {
        match self {
            Self::Missing { .. } => 1101,
            Self::Unreadable { .. } => 1102,
            Self::Tampered { .. } => 1103,
            Self::Format { .. } | Self::TooLong { .. } => 1104,
            Self::NotNext { .. } | Self::Generation { .. } => 1105,
            Self::TimeBackwards { .. } => 1106,
            Self::ManifestOther { .. } | Self::PoliciesOther => 1107,
            Self::Manifest { .. } | Self::ManifestProblems { .. } => 1108,
            Self::Immutable { .. } => 1109,
            Self::NoUpdates => 1110,
            Self::NotAnOwner { .. } => 1111,
            Self::Signature { .. } => 1112,
            Self::TooFewSignatures { .. } => 1113,
            Self::Unbound => 1114,
            Self::ConfirmationOther { .. } => 1115,
            Self::LatestSignature => 1116,
            Self::ForeignSeed { .. } => 1117,
            Self::NotCoordinator { .. } => 1118,
            Self::Rollback { .. } => 1119,
        }
    }
}
