//! From a reason to what a gRPC caller is told.

use tonic::{Code, Status};

use nacre_history::Invalid;

use crate::denied::{Denied, chain};

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let code = code(&denied);
        let number = denied.code();
        let text = text(&denied);
        Self::new(code, format!("NCR{number:04}: {text}"))
    }
}

/// What a caller is told. What the store or the firmware said names files and hosts: that is for the log.
fn text(denied: &Denied) -> String {
    match denied {
        Denied::Store(_)
        | Denied::Report(_)
        | Denied::Pki(_)
        | Denied::Invalid(Invalid::Unreadable { .. }) => denied.to_string(),
        Denied::Unusable(reason) => format!("{denied}: {}", text(reason)),
        _ => chain(denied),
    }
}

fn code(denied: &Denied) -> Code {
    match denied {
        Denied::Invalid(invalid) => match invalid {
            Invalid::NotAnOwner { .. }
            | Invalid::Signature { .. }
            | Invalid::TooFewSignatures { .. }
            | Invalid::NoUpdates
            | Invalid::Unbound => Code::PermissionDenied,
            Invalid::NotNext { .. } | Invalid::NotCoordinator { .. } | Invalid::Rollback { .. } => {
                Code::FailedPrecondition
            }
            Invalid::Missing { .. } | Invalid::Tampered { .. } | Invalid::LatestSignature => {
                Code::DataLoss
            }
            Invalid::Unreadable { .. } => Code::Unavailable,
            _ => Code::InvalidArgument,
        },
        Denied::Unusable(reason) => code(reason),
        Denied::Malformed { .. }
        | Denied::Length { .. }
        | Denied::Step { .. }
        | Denied::PoliciesMissing { .. }
        | Denied::PolicyUnwanted { .. }
        | Denied::BadPolicies(_)
        | Denied::ConfirmationOther
        | Denied::Future { .. }
        | Denied::ShareIndex { .. }
        | Denied::Shares(_)
        | Denied::Request(_)
        | Denied::ConnectionKey => Code::InvalidArgument,
        Denied::Slow { .. } => Code::DeadlineExceeded,
        Denied::Empty
        | Denied::Sealed
        | Denied::NotSealed
        | Denied::NotPending
        | Denied::NoShareOwners
        | Denied::HistoryFull { .. }
        | Denied::SharesOther { .. }
        | Denied::Profile(_) => Code::FailedPrecondition,
        Denied::NoSignature
        | Denied::Online
        | Denied::NotShareOwner
        | Denied::ShareSignature
        | Denied::NotListed { .. }
        | Denied::Evidence { .. }
        | Denied::NotCoordinator { .. }
        | Denied::NoPeerRecovery => Code::PermissionDenied,
        Denied::Conflict | Denied::Myself => Code::Aborted,
        Denied::TooManyPending { .. } | Denied::Busy => Code::ResourceExhausted,
        Denied::Report(_) | Denied::Store(_) | Denied::StoreSlow { .. } => Code::Unavailable,
        Denied::Pki(_) | Denied::Internal(_) => Code::Internal,
    }
}
