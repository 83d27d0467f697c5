//! Why something could not be done at a Coordinator.

use nacre_atls::{AppraisalError, AtlsError, Refusal};
use nacre_findings::{Code, codes::client as codes, printable};

use crate::keys::SignError;
use crate::snapshot::AnswerError;
use crate::trust::ExpectationError;

/// What a failure means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input, or the Coordinator, refuses.
    Refused,
    /// Something did not verify.
    Verification,
    /// There was no answer.
    Unreachable,
}

/// Why something could not be done at a Coordinator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No attested connection.
    #[error("{address}")]
    Connect {
        /// As given.
        address: String,
        /// Why.
        #[source]
        source: AtlsError,
    },
    /// The Coordinator said no.
    #[error("{}", text(.0))]
    Status(Box<tonic::Status>),
    /// Nothing came for too long.
    #[error("no answer to {step} within {seconds} s")]
    Timeout {
        /// To what.
        step: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// What came is not used.
    #[error("the Coordinator's answer is not used")]
    Answer(#[from] AnswerError),
    /// The manifest cannot say what the Coordinator has to be.
    #[error("the manifest cannot be used to attest a Coordinator")]
    Expectation(#[from] ExpectationError),
    /// A signature could not be made.
    #[error("no signature")]
    Sign(#[from] SignError),
    /// The Coordinator offers something else than was agreed.
    #[error("the Coordinator offers something else than was agreed: {what}")]
    Offer {
        /// What differs.
        what: String,
    },
    /// A policy that the Coordinator needs is not at hand.
    #[error("the Coordinator needs policy {policy}, and no resource carries it")]
    PolicyMissing {
        /// Its hash.
        policy: nacre_manifest::PolicyHash,
    },
    /// Whoever was asked in between stopped it.
    #[error(transparent)]
    Stopped(Box<dyn std::error::Error + Send + Sync>),
}

impl ClientError {
    /// What it means.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Connect { source, .. } => match source {
                AtlsError::Evidence(_) => Kind::Verification,
                AtlsError::Refused(Refusal::Busy | Refusal::Internal | Refusal::NotReady) => {
                    Kind::Unreachable
                }
                AtlsError::Refused(_) => Kind::Refused,
                _ => Kind::Unreachable,
            },
            Self::Status(status) => match status.code() {
                tonic::Code::Unavailable
                | tonic::Code::DeadlineExceeded
                | tonic::Code::Cancelled
                | tonic::Code::Unknown => Kind::Unreachable,
                _ => Kind::Refused,
            },
            Self::Timeout { .. } => Kind::Unreachable,
            Self::Answer(AnswerError::Truncated { .. }) => Kind::Unreachable,
            Self::Answer(_) | Self::Offer { .. } => Kind::Verification,
            Self::Expectation(_)
            | Self::Sign(_)
            | Self::PolicyMissing { .. }
            | Self::Stopped(_) => Kind::Refused,
        }
    }

    /// The code that documents it.
    pub fn code(&self) -> Code {
        match self {
            Self::Connect {
                source: AtlsError::Evidence(AppraisalError::Rejected(rejection)),
                ..
            } => rejection
                .reason()
                .map_or(codes::NOT_ATTESTED, |check| Code::new(check.id.code())),
            Self::Status(status) if told(status).is_some() => {
                told(status).map_or(codes::REFUSED, |(code, _)| code)
            }
            Self::Connect { .. } | Self::Status(_) | Self::Timeout { .. } => match self.kind() {
                Kind::Verification => codes::NOT_ATTESTED,
                Kind::Refused => codes::REFUSED,
                Kind::Unreachable => codes::UNREACHABLE,
            },
            Self::Answer(_) => codes::PROTOCOL,
            Self::Expectation(_) => codes::NOT_CURRENT,
            Self::Sign(_) | Self::Stopped(_) => codes::APPROVAL_UNUSABLE,
            Self::Offer { .. } => codes::OFFER_WRONG,
            Self::PolicyMissing { .. } => codes::POLICY_MISSING,
        }
    }

    /// What to do about it, where the code's page is not specific enough.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Connect {
                source: AtlsError::Evidence(_),
                ..
            } => "the Coordinator there is not one of the manifest given: check -m and -c; after an upgrade of the Coordinator use the manifest that lists it".to_owned(),
            Self::Connect { source, .. } => match source {
                AtlsError::Refused(Refusal::Busy) => "try again in a few seconds".to_owned(),
                AtlsError::Connect(_) | AtlsError::Timeout { .. } => {
                    "check the address and that port 1313 of the Coordinator can be reached".to_owned()
                }
                AtlsError::Refused(_) => return None,
                _ => "this is no user port of a Coordinator: -c names host:1313".to_owned(),
            },
            Self::Status(_) if self.kind() == Kind::Unreachable => {
                "run the command again: a lost answer loses nothing".to_owned()
            }
            Self::Status(status) => {
                let (code, _) = told(status)?;
                code.info()?.fix.to_owned()
            }
            Self::Answer(AnswerError::Truncated { .. }) | Self::Timeout { .. } => {
                "run the command again: a lost answer loses nothing".to_owned()
            }
            _ => return None,
        })
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The code that a Coordinator puts before its reason, and the reason.
fn told(status: &tonic::Status) -> Option<(Code, &str)> {
    let (number, reason) = status.message().strip_prefix("NCR")?.split_once(": ")?;
    let digits = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    let code = Code::new(number.parse().ok()?);
    // A number that nobody knows explains nothing.
    (digits && code.info().is_some()).then_some((code, reason))
}

/// What the Coordinator said, without anything that could steer a terminal.
fn text(status: &tonic::Status) -> String {
    const LONGEST: usize = 2000;
    let reason = told(status).map_or(status.message(), |(_, reason)| reason);
    let message: String = reason.chars().take(LONGEST).collect();
    let message = printable(&message);
    match message.is_empty() {
        true => status.code().description().to_owned(),
        false => message.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_a_coordinator_names_is_the_findings() {
        let status = tonic::Status::failed_precondition("NCR1204: waits for recovery");
        let error = ClientError::from(status);
        assert_eq!(error.code(), Code::new(1204));
        assert_eq!(error.to_string(), "waits for recovery");
        assert!(error.help().unwrap().contains("nacre recover"));
        for message in ["NCR9999: x", "NCR12: x", "NCR1204", "no"] {
            let error = ClientError::from(tonic::Status::failed_precondition(message));
            assert_eq!(error.code(), codes::REFUSED, "{message}");
        }
    }
}
