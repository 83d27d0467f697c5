//! Where a guest gets evidence about itself.
//!
//! Every source is hardware or fails: none falls back to anything simulated.

mod agent;
mod certificates;
mod configfs;
#[cfg(feature = "sev-guest")]
mod sev_guest;

use std::sync::Arc;

use crate::collateral::{CollateralError, CollateralSource, VekRequest};
use crate::evidence::Evidence;
use crate::form::ReportDataForm;
use crate::product::Product;
use crate::report::{Report, ReportError};
use crate::time::Timestamp;
use crate::verify::Verifier;

pub use agent::{AgentError, AskAgent, CocoAgent, MAX_AGENT_ANSWER, read_agent_answer};
pub use certificates::CertificateTable;
pub use configfs::{ConfigfsTsm, TSM_ROOT, TsmFiles};
#[cfg(feature = "sev-guest")]
pub use sev_guest::SevGuest;

/// Gives evidence bound to 64 bytes. Calls block: firmware makes one report at a time.
pub trait ReportSource: Send + Sync {
    /// A name for logs.
    fn name(&self) -> &'static str;

    /// A new report bound to these bytes, and what is needed to verify it.
    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, SourceError>;
}

/// Gives reports without what is needed to verify them.
pub trait RawReportSource: Send + Sync {
    /// A name for logs.
    fn name(&self) -> &'static str;

    /// How its reports carry what they are bound to.
    fn form(&self) -> ReportDataForm {
        ReportDataForm::Exact
    }

    /// A new report bound to these bytes, in the form of this source.
    fn report(&self, report_data: &[u8; 64]) -> Result<RawReport, SourceError>;
}

/// Whether a failed call to the kernel may go better the next time.
fn is_busy(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ResourceBusy | Kind::WouldBlock | Kind::Interrupted
    )
}

/// A report and the certificates the host put beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawReport {
    /// The report, as the hardware gave it.
    pub report: Vec<u8>,
    /// The host's certificate table; often empty.
    pub certificates: CertificateTable,
}

/// Reports from one place, collateral from the first place that has something good.
pub struct Assembled {
    reports: Box<dyn RawReportSource>,
    collateral: Vec<Box<dyn CollateralSource>>,
    verifier: Arc<Verifier>,
}

impl Assembled {
    /// Certificates beside the report go first, then `collateral` in order. What `verifier` does not find good is
    /// passed over: a host's table may be of before a firmware update, a directory may be out of date.
    pub fn new(
        reports: Box<dyn RawReportSource>,
        collateral: Vec<Box<dyn CollateralSource>>,
        verifier: Arc<Verifier>,
    ) -> Self {
        Self {
            reports,
            collateral,
            verifier,
        }
    }

    /// The certificate of the key that signed: the first that is genuine and the one asked for. Where nobody has it,
    /// what there is instead, so that a verifier says what is wrong with it.
    fn vek(
        &self,
        certificates: &CertificateTable,
        report: &Report,
    ) -> Result<Vec<u8>, SourceError> {
        let beside = certificates.veks(report.signing_key());
        let Some(request) = VekRequest::of(report) else {
            let mut beside = beside.map(<[u8]>::to_vec);
            return beside.next().ok_or(SourceError::NoVek);
        };
        let mut other = None;
        for der in beside {
            match self.verifier.is_vek_of(&request, der) {
                true => return Ok(der.to_vec()),
                false => other = other.or(Some(der.to_vec())),
            }
        }
        let mut failed = None;
        for source in &self.collateral {
            match source.vek(&request) {
                Ok(Some(der)) if self.verifier.is_vek_of(&request, &der) => return Ok(der),
                Ok(der) => other = other.or(der),
                Err(error) => failed = Some(error),
            }
        }
        match (failed, other) {
            // Whoever has it may answer the next time.
            (Some(source), _) => Err(SourceError::Collateral {
                what: "VEK",
                source,
            }),
            (None, other) => other.ok_or(SourceError::NoVek),
        }
    }

    /// The first revocation list that is genuine and not due; else the newest that is genuine, else what there is.
    fn crl(&self, product: Product, now: Timestamp) -> Result<Option<Vec<u8>>, SourceError> {
        let (mut due, mut other, mut failed) = (None, None, None);
        for source in &self.collateral {
            let der = match source.crl(product) {
                Ok(Some(der)) => der,
                Ok(None) => continue,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            match self.verifier.genuine_crl(product, &der) {
                Some(dates) if dates.next_update.is_some_and(|next| now <= next) => {
                    return Ok(Some(der));
                }
                Some(dates) => {
                    let newer = |(start, _): &(Timestamp, Vec<u8>)| dates.this_update > *start;
                    if due.as_ref().is_none_or(newer) {
                        due = Some((dates.this_update, der));
                    }
                }
                None => other = other.or(Some(der)),
            }
        }
        match (due, failed, other) {
            (Some((_, der)), ..) => Ok(Some(der)),
            (None, Some(source), _) => Err(SourceError::Collateral {
                what: "CRL",
                source,
            }),
            (None, None, other) => Ok(other),
        }
    }
}

impl ReportSource for Assembled {
    fn name(&self) -> &'static str {
        self.reports.name()
    }

    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, SourceError> {
        let RawReport {
            report,
            certificates,
        } = self.reports.report(report_data)?;
        let parsed = Report::parse(&report)?;
        if parsed.report_data != self.reports.form().apply(report_data) {
            return Err(SourceError::OtherReport);
        }
        let vek = self.vek(&certificates, &parsed)?;
        let now = Timestamp::now().max(Timestamp::BUILT_AFTER);
        let product = parsed.cpu.and_then(Product::from_cpu);
        let crl = match product {
            Some(product) => self.crl(product, now)?,
            None => None,
        };
        Ok(Evidence { report, vek, crl })
    }
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// This machine or container has no such source.
    #[error("{path} is not there")]
    Absent {
        /// What was looked for.
        path: String,
    },
    /// The source belongs to another technology.
    #[error("the provider is {actual:?}, sev_guest is expected")]
    Provider {
        /// What it calls itself.
        actual: String,
    },
    /// The firmware is at work for somebody else.
    #[error("the firmware is busy")]
    Busy,
    /// Others used the same entry at the same time, again and again.
    #[error("no undisturbed report in {attempts} attempts")]
    Disturbed {
        /// How often it was tried.
        attempts: u32,
    },
    /// The kernel or the firmware refused.
    #[error("the firmware or its driver failed: {detail}")]
    Firmware {
        /// What it said.
        detail: String,
    },
    /// Reading or writing failed.
    #[error("{path}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What the agent answered is no report.
    #[error("the attestation agent's answer is no report")]
    Agent {
        /// Why not.
        #[source]
        source: AgentError,
    },
    /// What came back is no report.
    #[error("what came back is no report")]
    NoReport(#[from] ReportError),
    /// The report is bound to something else than was asked for.
    #[error("the report is bound to other data than was asked for")]
    OtherReport,
    /// Nobody has the certificate of the key that signed.
    #[error("no certificate for the key that signed the report")]
    NoVek,
    /// Collateral could not be had.
    #[error("no {what}")]
    Collateral {
        /// What was asked for.
        what: &'static str,
        /// Why there is none.
        #[source]
        source: CollateralError,
    },
}
