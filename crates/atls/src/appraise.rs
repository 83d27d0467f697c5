//! Deciding on the evidence of the other end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use nacre_attest::{
    Claims, Evidence, HostData, NewestLists, Policy, Rejection, ReportData, Timestamp, Verifier,
};

/// Decides on evidence that has to be bound to `report_data`.
///
/// There is no implementation that accepts without looking, and none that accepts when it has nothing to
/// compare with: an end that is not to be attested is [`crate::Unattested`].
pub trait Appraise: Send + Sync {
    /// The claims of accepted evidence.
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError>;
}

/// Why evidence was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppraisalError {
    /// A check failed.
    #[error("{0}")]
    Rejected(Rejection),
    /// There is nothing to compare evidence with.
    #[error("there are no reference values")]
    NoReference,
    /// There will be something to compare with later.
    #[error("no manifest is in force")]
    NotReady,
}

/// Compares with reference values and a set of policy hashes.
#[derive(Debug)]
pub struct References {
    verifier: Arc<Verifier>,
    policies: Vec<Policy>,
    host_data: BTreeSet<[u8; 32]>,
    not_before: Timestamp,
    lists: Mutex<NewestLists>,
}

impl References {
    /// Evidence has to meet one of `policies` and carry one of `host_data`.
    ///
    /// `not_before` is a moment that certainly lies in the past, such as the build date: the clock of a guest
    /// is the host's, and is not believed when it says less.
    pub fn new(
        verifier: Arc<Verifier>,
        policies: Vec<Policy>,
        host_data: BTreeSet<[u8; 32]>,
        not_before: Timestamp,
    ) -> Self {
        Self {
            verifier,
            policies,
            host_data,
            not_before,
            lists: Mutex::default(),
        }
    }
}

impl Appraise for References {
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError> {
        // Cloned, so that nobody waits while another connection's evidence is verified.
        let lists = self
            .lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let now = Timestamp::now().max(self.not_before).max(lists.latest());
        let expected = (
            ReportData::Exact(report_data),
            HostData::OneOf(self.host_data.clone()),
        );
        let (_, claims) = self
            .verifier
            .verify_any_by(&lists, evidence, &self.policies, expected, now)
            .ok_or(AppraisalError::NoReference)?
            .map_err(AppraisalError::Rejected)?;
        self.lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saw_evidence(evidence, &claims);
        Ok(claims)
    }
}
