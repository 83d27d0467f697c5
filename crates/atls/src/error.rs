//! Why there is no connection.

use std::time::Duration;

use nacre_attest::SourceError;

use crate::appraise::AppraisalError;
use crate::steps::REPORT;
use crate::wire::{Refusal, WireError};

/// Why an exchange did not end in a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AtlsError {
    /// The other end could not be reached.
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    /// TLS failed.
    #[error("TLS handshake failed")]
    Handshake(#[source] std::io::Error),
    /// The library refused something.
    #[error("TLS")]
    Tls(#[from] rustls::Error),
    /// A step took too long.
    #[error("{step} took longer than {limit:?}")]
    Timeout {
        /// Which.
        step: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// What came is no message of the exchange.
    #[error("{step}")]
    Wire {
        /// What was awaited or sent.
        step: &'static str,
        /// What is wrong.
        #[source]
        source: WireError,
    },
    /// A message that is not the next one.
    #[error("{expected} was awaited, {actual} came")]
    Unexpected {
        /// The next one.
        expected: &'static str,
        /// What came.
        actual: &'static str,
    },
    /// Something was sent before the exchange was over.
    #[error("the client sent something before it was accepted")]
    Premature,
    /// The other end left while this end waited for a report about itself.
    #[error("the other end left before there was a report for it")]
    Gone,
    /// The client is what it has to be, and there is no place for its connection.
    #[error("no place for another connection of this client's address")]
    Full,
    /// TLS was not set up as it has to be: no key, no protocol.
    #[error("the other end brought no {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// This kind of client is not served here.
    #[error("this kind of client is not served here")]
    Kind,
    /// The other end's evidence was not accepted.
    #[error("the other end's evidence is not accepted")]
    Evidence(#[source] AppraisalError),
    /// Our own evidence could not be made.
    #[error("no evidence about this end")]
    Source(#[from] SourceError),
    /// The connection is attested, but HTTP/2 did not begin on it.
    #[error("no HTTP/2 on the attested connection")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The other end refused.
    #[error("the other end refused: {0}")]
    Refused(Refusal),
}

impl AtlsError {
    /// What the other end is told; `None` when it said so itself, or cannot be told.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Evidence(AppraisalError::NotReady) => Some(Refusal::NotReady),
            Self::Evidence(_) => Some(Refusal::Evidence),
            Self::Kind => Some(Refusal::Kind),
            Self::Source(SourceError::Busy) | Self::Full | Self::Timeout { step: REPORT, .. } => {
                Some(Refusal::Busy)
            }
            Self::Source(_) => Some(Refusal::Internal),
            Self::Wire {
                source: WireError::Io(_),
                ..
            }
            | Self::Refused(_) => None,
            Self::Wire { .. }
            | Self::Unexpected { .. }
            | Self::Premature
            | Self::Timeout { .. }
            | Self::Incomplete { .. } => Some(Refusal::Protocol),
            Self::Gone | Self::Connect(_) | Self::Handshake(_) | Self::Tls(_) | Self::Http(_) => {
                None
            }
        }
    }
}
