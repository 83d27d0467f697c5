//! What is believed without proof, as values.

use std::fmt;
use std::sync::Arc;

use nacre_atls::{AppraisalError, Appraise};
use nacre_attest::{
    Claims, Counting, Evidence, HostData, NewestLists, Policy, ReferenceError, ReportData,
    Timestamp, Verdict, Verifier,
};
use nacre_history::ManifestReader;
use nacre_manifest::{Manifest, PolicyEntry, PolicyHash};

/// Roots of evidence, and the reader of manifests that goes with them.
///
/// Production programs use [`Trust::amd`]; simulation programs bring their own.
#[derive(Clone)]
pub struct Trust {
    /// Verifies evidence.
    pub verifier: Arc<Verifier>,
    /// Reads manifests: [`Manifest::parse`] refuses those that name a test root.
    pub reader: ManifestReader,
}

impl Trust {
    /// AMD's roots, and manifests without a test root.
    pub fn amd() -> Self {
        Self {
            verifier: Arc::new(Verifier::amd()),
            reader: Manifest::parse,
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

/// What a Coordinator has to be: one of a manifest's, on a platform where that one may run.
#[derive(Clone, Debug)]
pub struct Expectation {
    manifest: Manifest,
    /// By the place of the reference values in the manifest, from 0.
    policies: Vec<Policy>,
    lists: NewestLists,
}

/// Why a manifest cannot say what a Coordinator has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectationError {
    /// A reference value is incomplete.
    #[error("ReferenceValues.snp[{index}]: {source}")]
    Reference {
        /// Which, from 0.
        index: usize,
        /// What is missing.
        source: ReferenceError,
    },
    /// No reference values.
    #[error("the manifest has no reference values")]
    NoReference,
    /// No Coordinator.
    #[error("the manifest lists no policy with role coordinator")]
    NoCoordinator,
}

impl Expectation {
    /// From a manifest. No revocation list counts that is older than those of earlier runs.
    pub fn of(manifest: &Manifest, lists: NewestLists) -> Result<Self, ExpectationError> {
        let policies = manifest
            .reference_values
            .snp
            .iter()
            .enumerate()
            .map(|(index, values)| {
                Policy::try_from(values)
                    .map_err(|source| ExpectationError::Reference { index, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if policies.is_empty() {
            return Err(ExpectationError::NoReference);
        }
        if manifest.coordinators().next().is_none() {
            return Err(ExpectationError::NoCoordinator);
        }
        Ok(Self {
            manifest: manifest.clone(),
            policies,
            lists,
        })
    }

    /// The same, where reference values that list no chips are refused too, if that is demanded.
    #[must_use]
    pub fn require_chips(mut self, demanded: bool) -> Self {
        for policy in &mut self.policies {
            policy.require_chips |= demanded;
        }
        self
    }

    /// Policies of the Coordinators, as HOST_DATA shows them.
    pub fn coordinators(&self) -> impl Iterator<Item = PolicyHash> {
        self.manifest.coordinators().map(|(hash, _)| *hash)
    }

    /// Every check on evidence that has to be bound to `report_data`, and which set of reference values it
    /// was held against: one of those under which the Coordinator that it names may run. None if there are
    /// no such values. Evidence that names no Coordinator of the manifest is held against all of them, so
    /// that the verdict says what is wrong with it.
    pub fn examine(
        &self,
        trust: &Trust,
        evidence: &Evidence,
        report_data: [u8; 64],
        now: Timestamp,
    ) -> Option<(usize, Verdict)> {
        let counting = Counting::of(
            &self.manifest,
            &evidence.report,
            PolicyEntry::is_coordinator,
        );
        let policies: Vec<_> = counting
            .sets
            .iter()
            .filter_map(|place| self.policies.get(*place).cloned())
            .collect();
        let host_data = HostData::OneOf(counting.host_data);
        let expected = (ReportData::Exact(report_data), host_data);
        let now = now.max(self.lists.latest());
        let (chosen, verdict) =
            trust
                .verifier
                .examine_any_by(&self.lists, evidence, &policies, expected, now)?;
        Some((*counting.sets.get(chosen)?, verdict))
    }
}

/// Decides on the evidence of a connection.
#[derive(Debug)]
pub(crate) struct Examiner<'a> {
    pub(crate) trust: &'a Trust,
    pub(crate) expectation: &'a Expectation,
    pub(crate) now: Timestamp,
}

impl Appraise for Examiner<'_> {
    fn appraise(
        &self,
        evidence: &Evidence,
        report_data: [u8; 64],
    ) -> Result<Claims, AppraisalError> {
        self.expectation
            .examine(self.trust, evidence, report_data, self.now)
            .ok_or(AppraisalError::NoReference)?
            .1
            .into_result()
            .map_err(AppraisalError::Rejected)
    }
}
