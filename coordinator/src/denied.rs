//! Why a request is not fulfilled.

use std::sync::Arc;
use std::time::Duration;

use nacre_history::{FormatError, Invalid};
use nacre_manifest::{PolicyHash, TransitionHash};
use nacre_pki::{PkiError, ProfileError, RequestError, SharesError};
use nacre_store::StoreError;

use crate::capacity::Capacity;

/// Why a request is not fulfilled. Nothing changes then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Denied {
    /// The history decides.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A part of a request is malformed.
    #[error("{what} is malformed")]
    Malformed {
        what: &'static str,
        #[source]
        source: FormatError,
    },
    /// A part of a request has the wrong length.
    #[error("{what} has {found} bytes, expected are {expected}")]
    Length {
        what: &'static str,
        found: usize,
        expected: usize,
    },
    /// A message that is not the next one.
    #[error("{expected} was awaited")]
    Step { expected: &'static str },
    /// The caller took too long.
    #[error("{what} took longer than {limit:?}")]
    Slow { what: &'static str, limit: Duration },
    /// No manifest was ever set.
    #[error("no manifest is set yet")]
    Empty,
    /// The seed is not here.
    #[error("the Coordinator has restarted and waits for recovery")]
    Sealed,
    /// What the store holds is no history that this Coordinator may serve.
    #[error("the history in the store cannot be used")]
    Unusable(#[source] Arc<Self>),
    /// There is nothing to recover.
    #[error("the Coordinator needs no recovery")]
    NotSealed,
    /// No owner signed.
    #[error("no owner signed")]
    NoSignature,
    /// A signature for this connection that does not hold.
    #[error("the signature for this connection does not hold")]
    Online,
    /// The transition is not among those that wait.
    #[error("no such transition waits for approval, so its manifest is needed")]
    NotPending,
    /// Too many transitions wait.
    #[error(
        "{most} transitions or 16 MiB of manifests wait already: approve one, or set the manifest in force again"
    )]
    TooManyPending { most: usize },
    /// Policies that the manifest lists and nobody has sent.
    #[error("{} of the wanted policies did not come, the first is {first}", count)]
    PoliciesMissing { count: usize, first: PolicyHash },
    /// A policy that nobody asked for.
    #[error("policy {policy} was not asked for")]
    PolicyUnwanted { policy: PolicyHash },
    /// A message of which no policies come.
    #[error(transparent)]
    BadPolicies(#[from] nacre_api::BadPolicies),
    /// A transition from the future: whoever accepted it would think that it is that late.
    #[error("signed at {signed}, a day or more after now ({now}; Unix seconds): a clock is wrong")]
    Future { signed: u64, now: u64 },
    /// Clients would not take the history any more.
    #[error(
        "the history would have {objects} objects of {bytes} bytes; clients take at most {} of {}",
        capacity.objects,
        capacity.bytes
    )]
    HistoryFull {
        objects: usize,
        bytes: u64,
        capacity: Capacity,
    },
    /// The head has moved while the request was under way.
    #[error("another update came first")]
    Conflict,
    /// The owners signed another offer.
    #[error("what was confirmed is not what was offered")]
    ConfirmationOther,
    /// A manifest without owners of shares.
    #[error(
        "the manifest lists no seed-share owners: a restarted Coordinator could not be recovered"
    )]
    NoShareOwners,
    /// Somebody who holds no share.
    #[error("the key is none of the seed-share owners of the manifest that is to be recovered")]
    NotShareOwner,
    /// A signature by a share owner that does not hold.
    #[error("the signature of the seed-share owner does not hold")]
    ShareSignature,
    /// A share at the place of another one.
    #[error("share {index} belongs to another owner")]
    ShareIndex { index: u32 },
    /// A share or the document is wrong.
    #[error(transparent)]
    Shares(#[from] SharesError),
    /// The document of shares is for another history.
    #[error("the seed-share document belongs to transition {found}")]
    SharesOther { found: TransitionHash },
    /// Keys or certificates could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The manifest's entry gives no certificate.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The signing request is refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The key of the connection.
    #[error("the signing request is for the key of the connection: a separate one is needed")]
    ConnectionKey,
    /// A policy that the manifest does not list.
    #[error("policy {policy} is not in the manifest in force")]
    NotListed { policy: PolicyHash },
    /// Evidence that the manifest in force does not accept any more.
    #[error("the manifest in force does not accept the evidence of this connection: {reason}")]
    Evidence { reason: String },
    /// The caller is no Coordinator.
    #[error("policy {policy} is no Coordinator of the manifest in force")]
    NotCoordinator { policy: PolicyHash },
    /// The manifest does not want peers to recover each other.
    #[error("the manifest in force does not permit peer recovery")]
    NoPeerRecovery,
    /// This very Coordinator calls itself.
    #[error("this Coordinator was asked by itself")]
    Myself,
    /// Too many requests of this kind.
    #[error("too many requests at a time; try again")]
    Busy,
    /// No report could be made.
    #[error("no evidence about this Coordinator")]
    Report(#[from] nacre_attest::SourceError),
    /// The store failed.
    #[error("the store of the history failed")]
    Store(#[from] StoreError),
    /// The store took too long.
    #[error("the store of the history did not answer within {limit:?}")]
    StoreSlow { limit: Duration },
    /// Something that must not happen.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Denied {
    /// The number of the code that documents the error (`NCR####`).
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::Unusable(reason) => reason.code(),
            Self::Malformed { .. } | Self::Length { .. } | Self::Step { .. } => 1201,
            Self::Slow { .. } => 1202,
            Self::Empty => 1203,
            Self::Sealed => 1204,
            Self::NotSealed => 1205,
            Self::NoSignature | Self::Online => 1206,
            Self::NotPending | Self::TooManyPending { .. } => 1207,
            Self::PoliciesMissing { .. } | Self::PolicyUnwanted { .. } | Self::BadPolicies(_) => {
                1208
            }
            Self::Future { .. } => 1222,
            Self::HistoryFull { .. } => 1223,
            Self::Conflict => 1209,
            Self::ConfirmationOther => 1210,
            Self::NoShareOwners => 1211,
            Self::NotShareOwner | Self::ShareSignature => 1212,
            Self::ShareIndex { .. } | Self::Shares(_) | Self::SharesOther { .. } => 1213,
            Self::Profile(_) => 1214,
            Self::Request(_) | Self::ConnectionKey => 1215,
            Self::NotListed { .. } | Self::Evidence { .. } => 1216,
            Self::NotCoordinator { .. } | Self::NoPeerRecovery | Self::Myself => 1217,
            Self::Busy => 1218,
            Self::Report(_) => 1219,
            Self::Store(_) | Self::StoreSlow { .. } => 1220,
            Self::Pki(_) | Self::Internal(_) => 1221,
        }
    }

    /// A word for metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Unusable(_) | Self::HistoryFull { .. } => "history",
            Self::Malformed { .. } | Self::Length { .. } | Self::Step { .. } => "malformed",
            Self::Slow { .. } => "slow",
            Self::Empty | Self::Sealed | Self::NotSealed => "phase",
            Self::NoSignature | Self::Online => "signature",
            Self::NotPending | Self::TooManyPending { .. } => "pending",
            Self::PoliciesMissing { .. } | Self::PolicyUnwanted { .. } | Self::BadPolicies(_) => {
                "policies"
            }
            Self::Future { .. } => "future",
            Self::Conflict => "conflict",
            Self::ConfirmationOther | Self::NoShareOwners => "confirmation",
            Self::NotShareOwner
            | Self::ShareSignature
            | Self::ShareIndex { .. }
            | Self::Shares(_)
            | Self::SharesOther { .. } => "share",
            Self::Profile(_) => "profile",
            Self::Request(_) | Self::ConnectionKey => "request",
            Self::NotListed { .. } => "unlisted",
            Self::Evidence { .. } => "evidence",
            Self::NotCoordinator { .. } | Self::NoPeerRecovery | Self::Myself => "peer",
            Self::Busy => "busy",
            Self::Report(_) => "report",
            Self::Store(_) | Self::StoreSlow { .. } => "store",
            Self::Pki(_) | Self::Internal(_) => "internal",
        }
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
