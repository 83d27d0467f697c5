//! Deciding on the evidence of the other end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nacre_attest::{
    Claims, Evidence, Expected, HostData, Policy, Rejection, ReportData, Timestamp, Verifier,
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
}

/// Compares with reference values and a set of policy hashes.
#[derive(Debug)]
pub struct References {
    verifier: Arc<Verifier>,
    policies: Vec<Policy>,
    host_data: BTreeSet<[u8; 32]>,
    not_before: Timestamp,
    newest_crl: AtomicU64,
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
            newest_crl: AtomicU64::new(0),
        }
    }

    fn now(&self, newest_crl: u64) -> Timestamp {
        Timestamp::now()
            .max(self.not_before)
            .max(Timestamp(newest_crl))
    }
}

impl Appraise for References {
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError> {
        let newest = self.newest_crl.load(Ordering::Relaxed);
        let expected = Expected {
            report_data: ReportData::Exact(report_data),
            host_data: HostData::OneOf(self.host_data.clone()),
            newest_crl: (newest > 0).then_some(Timestamp(newest)),
        };
        let (_, claims) = self
            .verifier
            .verify_any(evidence, &self.policies, &expected, self.now(newest))
            .ok_or(AppraisalError::NoReference)?
            .map_err(AppraisalError::Rejected)?;
        if let Some(Timestamp(seen)) = claims.crl_this_update {
            self.newest_crl.fetch_max(seen, Ordering::Relaxed);
        }
        Ok(claims)
    }
}
