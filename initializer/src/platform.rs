//! Where this guest's reports come from.

use std::sync::Arc;

use nacre_attest::{
    Assembled, CollateralDirectory, ConfigfsTsm, RawReportSource, ReportSource, SevGuest,
    SourceError,
};

/// Certificates and revocation lists that were put there for places without a host's table.
const COLLATERAL: &str = "/collateral";

/// No source of reports: not a guest, or the container was not given the device.
#[derive(Debug, thiserror::Error)]
#[error(
    "no reports can be had here: {configfs}; {device}. Is this a SEV-SNP guest, and does the container \
     reach its report source?"
)]
pub struct PlatformError {
    configfs: SourceError,
    device: SourceError,
}

/// The first of configfs-tsm and `/dev/sev-guest` that is there. Hardware, or an error.
pub fn report_source() -> Result<Arc<dyn ReportSource>, PlatformError> {
    let reports: Box<dyn RawReportSource> = match ConfigfsTsm::open() {
        Ok(source) => Box::new(source),
        Err(configfs) => match SevGuest::open(0) {
            Ok(source) => Box::new(source),
            Err(device) => return Err(PlatformError { configfs, device }),
        },
    };
    let collateral = Box::new(CollateralDirectory::new(COLLATERAL));
    Ok(Arc::new(Assembled::new(reports, vec![collateral])))
}
