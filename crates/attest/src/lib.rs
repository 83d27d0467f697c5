//! SEV-SNP evidence: where it comes from and whether it holds.
//!
//! [`verify`] is a pure function over the bytes of a report, the certificate of the key that signed it and
//! a revocation list. It makes every check of [`CheckId`], in order and fail closed, and its [`Verdict`] is
//! data: what was expected, what was found, and what to do about it.
//!
//! ```
//! use nacre_attest::Report;
//!
//! assert!(Report::parse(b"not a report").is_err());
//! ```
//!
//! What it does not do: fetch anything, read a clock, or say anything about a guest beyond what its report
//! says. Physical attacks on the machine and what runs inside the measured guest are out of its sight.

mod baselines;
mod certificate;
mod check;
mod collateral;
mod crl;
#[cfg(feature = "danger-other-roots")]
pub mod danger;
mod evidence;
mod form;
mod lists;
pub mod measure;
mod policy;
mod product;
mod reference;
mod render;
mod report;
mod roots;
mod source;
mod time;
mod vek;
mod verdict;
mod verify;

pub use baselines::{Advisory, Baseline};
pub use certificate::MAX_CERTIFICATE;
pub use check::CheckId;
pub use collateral::{
    CollateralDirectory, CollateralError, CollateralSource, VekRequest, kds_crl_path,
};
pub use crl::MAX_CRL;
pub use evidence::{Evidence, EvidenceError, MAX_EVIDENCE};
pub use form::ReportDataForm;
pub use lists::NewestLists;
pub use policy::{
    Bit, CpuMatch, CrlMode, Expected, GuestPolicyRules, HostData, MinimumTcb, PLATFORM_INFO_BITS,
    PlatformInfoRules, Policy, ReportData,
};
pub use product::{Component, CpuId, Product, Shortfall, Tcb, TcbBytes};
pub use reference::{Counting, ReferenceError, met_by};
pub use report::{Firmware, REPORT_LEN, Report, ReportError, SIGNED_LEN, SigningKey};
pub use roots::Roots;
#[cfg(feature = "sev-guest")]
pub use source::SevGuest;
pub use source::{
    AgentError, AskAgent, Assembled, CertificateTable, CocoAgent, ConfigfsTsm, MAX_AGENT_ANSWER,
    RawReport, RawReportSource, ReportSource, SourceError, TSM_ROOT, TsmFiles, read_agent_answer,
};
pub use time::Timestamp;
pub use vek::VekFacts;
pub use verdict::{Check, Claims, Note, Outcome, Rejection, Topic, Verdict};
pub use verify::{CrlDates, Verifier, examine, verify};
