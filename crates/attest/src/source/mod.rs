//! Where a guest gets evidence about itself.
//!
//! Every source is hardware or fails: none falls back to anything simulated.

mod agent;
mod certificates;
mod configfs;
#[cfg(feature = "sev-guest")]
mod sev_guest;

use crate::collateral::{CollateralError, CollateralSource, VekRequest};
use crate::evidence::Evidence;
use crate::form::ReportDataForm;
use crate::product::Product;
use crate::report::{Report, ReportError};

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

/// A report and the certificates the host put beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawReport {
    /// The report, as the hardware gave it.
    pub report: Vec<u8>,
    /// The host's certificate table; often empty.
    pub certificates: CertificateTable,
}

/// Reports from one place, collateral from the first place that has it.
pub struct Assembled {
    reports: Box<dyn RawReportSource>,
    collateral: Vec<Box<dyn CollateralSource>>,
}

impl Assembled {
    /// Certificates beside the report go first, then `collateral` in order.
    pub fn new(
        reports: Box<dyn RawReportSource>,
        collateral: Vec<Box<dyn CollateralSource>>,
    ) -> Self {
        Self {
            reports,
            collateral,
        }
    }

    fn first<T>(
        &self,
        what: &'static str,
        ask: impl Fn(&dyn CollateralSource) -> Result<Option<T>, CollateralError>,
    ) -> Result<Option<T>, SourceError> {
        let mut last = None;
        for source in &self.collateral {
            match ask(source.as_ref()) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(source) => Err(SourceError::Collateral { what, source }),
            None => Ok(None),
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
        let request = VekRequest::of(&parsed);
        let vek = match certificates.vek(parsed.signing_key()) {
            Some(vek) => vek.to_vec(),
            None => match &request {
                Some(request) => self
                    .first("VEK", |source| source.vek(request))?
                    .ok_or(SourceError::NoVek)?,
                None => return Err(SourceError::NoVek),
            },
        };
        let crl = match parsed.cpu.and_then(Product::from_cpu) {
            Some(product) => self.first("CRL", |source| source.crl(product))?,
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
