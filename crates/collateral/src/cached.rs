//! Collateral that is kept.

use std::sync::Arc;
use std::time::Duration;

use nacre_attest::{
    CollateralDirectory, CollateralError, CollateralSource, Product, Timestamp, VekRequest,
    Verifier,
};

/// A revocation list that is older than this is looked up again.
const REFRESH: Duration = Duration::from_secs(86_400);

/// Another source behind a directory.
///
/// A certificate is the same for ever and is looked up once. A revocation list is looked up again when a day has
/// gone since it was; what is handed out is never older than what has been seen before, and while the source is
/// away the list that is there serves. Only what the pinned keys have signed is kept.
pub struct Cached {
    directory: CollateralDirectory,
    source: Box<dyn CollateralSource>,
    verifier: Arc<Verifier>,
    refresh: Duration,
}

impl Cached {
    /// `source` is asked for what `directory` does not have.
    pub fn new(
        directory: CollateralDirectory,
        source: Box<dyn CollateralSource>,
        verifier: Arc<Verifier>,
    ) -> Self {
        Self {
            directory,
            source,
            verifier,
            refresh: REFRESH,
        }
    }

    /// Looks revocation lists up again after this time.
    #[must_use]
    pub fn refreshed_after(self, refresh: Duration) -> Self {
        Self { refresh, ..self }
    }

    /// Asks the source, whatever the directory has, and keeps what it gives. What is then there.
    pub fn refreshed_crl(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        let Some(new) = self.source.crl(product)? else {
            return self.directory.crl(product);
        };
        if self.verifier.genuine_crl(product, &new).is_none() {
            return Err(CollateralError::NotGenuine {
                what: "revocation list",
            });
        }
        self.directory.put_crl(product, &new)?;
        // What was kept: the one that was there before, if it is newer.
        self.directory.crl(product)
    }

    fn fresh(&self, product: Product, crl: &[u8]) -> bool {
        let looked_up = self.directory.crl_kept_at(product);
        let age = looked_up.map(|at| Timestamp::now().0.saturating_sub(at.0));
        let due = self
            .verifier
            .genuine_crl(product, crl)
            .is_none_or(|dates| dates.next_update.is_none_or(|due| due <= Timestamp::now()));
        !due && age.is_some_and(|age| age < self.refresh.as_secs())
    }
}

impl CollateralSource for Cached {
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        if let Some(kept) = self.directory.vek(request)?
            && self.verifier.is_vek_of(request, &kept)
        {
            return Ok(Some(kept));
        }
        let Some(found) = self.source.vek(request)? else {
            return Ok(None);
        };
        if !self.verifier.is_vek_of(request, &found) {
            return Err(CollateralError::NotGenuine {
                what: "certificate of this chip and firmware",
            });
        }
        // A cache that cannot be written is slower, not wrong.
        if let Err(error) = self.directory.put_vek(request, &found) {
            tracing::warn!(%error, "the certificate is not kept");
        }
        Ok(Some(found))
    }

    fn crl(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        let kept = self.directory.crl(product)?;
        if let Some(kept) = &kept
            && self.fresh(product, kept)
        {
            return Ok(Some(kept.clone()));
        }
        match (self.refreshed_crl(product), kept) {
            (Ok(Some(list)), _) => Ok(Some(list)),
            (Ok(None), kept) => Ok(kept),
            (Err(error), Some(kept)) => {
                tracing::warn!(%error, "the revocation list that is there serves on");
                Ok(Some(kept))
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl std::fmt::Debug for Cached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
