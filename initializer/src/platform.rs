//! Where this guest's reports come from.

use std::sync::Arc;

use nacre_attest::{ReportSource, SourceError, Verifier};
use nacre_collateral::{COLLATERAL, Guest, GuestError};

/// Certificates and revocation lists that were put there for places without a host's table: where an
/// initializer looks when [`COLLATERAL`] is unset.
const DIRECTORY: &str = "/collateral";

/// What the environment says about the guest.
pub(crate) fn guest(get: &dyn Fn(&str) -> Option<String>) -> Result<Guest, Vec<GuestError>> {
    Guest::from_env(|name| match (get(name), name) {
        (None, COLLATERAL) => Some(DIRECTORY.to_owned()),
        (found, _) => found,
    })
}

/// Opens the sources: hardware, or an error.
pub fn report_source(
    guest: &Guest,
    verifier: &Arc<Verifier>,
) -> Result<Arc<dyn ReportSource>, NoReports> {
    Ok(Arc::new(guest.open(verifier).map_err(NoReports)?))
}

/// No source of reports.
#[derive(Debug, thiserror::Error)]
#[error(
    "no reports can be had here: {0}. Is this a SEV-SNP guest, and does the container reach its report source?"
)]
pub struct NoReports(#[source] SourceError);
