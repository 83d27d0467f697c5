//! Where this guest's reports come from.

use std::sync::Arc;

use nacre_attest::{
    Assembled, CocoAgent, CollateralDirectory, ConfigfsTsm, RawReportSource, ReportSource,
    SevGuest, SourceError,
};
use nacre_collateral::HttpAgent;

/// Certificates and revocation lists that were put there for places without a host's table.
const COLLATERAL: &str = "/collateral";

/// No source of reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Not a guest, or the container was not given the device.
    #[error(
        "no reports can be had here: {configfs}; {device}. Is this a SEV-SNP guest, and does the container \
         reach its report source?"
    )]
    Nothing {
        /// What became of configfs-tsm.
        configfs: SourceError,
        /// What became of the device.
        device: SourceError,
    },
    /// The agent cannot be asked.
    #[error("CoCo's attestation agent")]
    Agent {
        /// Why.
        source: SourceError,
    },
    /// [`EVIDENCE`] says something that is not known.
    #[error("{EVIDENCE}: {value:?} is not known")]
    Unknown {
        /// What it says.
        value: String,
    },
}

/// Variable that says where reports come from: absent, or `coco-aa`.
pub const EVIDENCE: &str = "NACRE_EVIDENCE";

/// The first of configfs-tsm and `/dev/sev-guest` that is there, or CoCo's attestation agent when `evidence`
/// names it: it binds reports in another form, so it is never taken without being named. Hardware, or an error.
pub fn report_source(evidence: Option<&str>) -> Result<Arc<dyn ReportSource>, PlatformError> {
    let reports: Box<dyn RawReportSource> = match evidence {
        Some("coco-aa") => match HttpAgent::local() {
            Ok(agent) => Box::new(CocoAgent::new(agent)),
            Err(source) => return Err(PlatformError::Agent { source }),
        },
        Some(other) => {
            return Err(PlatformError::Unknown {
                value: other.to_owned(),
            });
        }
        None => match ConfigfsTsm::open() {
            Ok(source) => Box::new(source),
            Err(configfs) => match SevGuest::open(0) {
                Ok(source) => Box::new(source),
                Err(device) => return Err(PlatformError::Nothing { configfs, device }),
            },
        },
    };
    let collateral = Box::new(CollateralDirectory::new(COLLATERAL));
    Ok(Arc::new(Assembled::new(reports, vec![collateral])))
}
