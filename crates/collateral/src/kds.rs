//! AMD's key distribution service (document 57230).
//!
//! It limits certificates to about one in ten seconds for an address and answers 429 in between; revocation lists
//! are not limited. It has been away for hours.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nacre_attest::{
    CollateralError, CollateralSource, MAX_CERTIFICATE, MAX_CRL, Product, VekRequest, kds_crl_path,
};

use crate::http::{Client, Options};

/// Where the service is.
pub const KDS_URL: &str = "https://kdsintf.amd.com";

/// The service, asked with back-off.
#[derive(Debug)]
pub struct Kds {
    client: Client,
    patience: Duration,
    back_off: Duration,
    /// When it may be asked for certificates again, as far as it has said so.
    not_before: Mutex<Option<Instant>>,
}

impl Kds {
    /// AMD's own.
    pub fn amd(options: &Options) -> Result<Self, CollateralError> {
        Self::at(KDS_URL, options)
    }

    /// A mirror of it.
    pub fn at(url: &str, options: &Options) -> Result<Self, CollateralError> {
        Ok(Self {
            client: Client::new(url, options)?,
            patience: options.patience,
            back_off: options.back_off,
            not_before: Mutex::new(None),
        })
    }

    /// `None` when the service does not know it.
    fn get(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, CollateralError> {
        let end = Instant::now() + self.patience;
        let mut own = self.back_off;
        loop {
            if let Some(wait) = self.asked_to_wait() {
                self.wait(wait, end)?;
            }
            let (failure, asked) = match self.client.get(path, None, limit) {
                Ok(reply) => match reply.status {
                    200 => return Ok(Some(reply.body)),
                    404 => return Ok(None),
                    429 | 500..=599 => {
                        let failure = self.client.failed(format!("status {}", reply.status));
                        (failure, reply.wait)
                    }
                    status => return Err(self.client.failed(format!("status {status}"))),
                },
                Err(error @ CollateralError::TooLong { .. }) => return Err(error),
                Err(error) => (error, None),
            };
            tracing::debug!(server = self.client.server(), error = %failure, "asking again");
            if let Some(seconds) = asked {
                self.remember(Duration::from_secs(seconds));
            }
            let pause = asked.map_or(own, |seconds| own.max(Duration::from_secs(seconds)));
            match asked {
                // Then how long is what the caller wants to know.
                Some(_) => self.wait(pause, end)?,
                None if Instant::now() + pause > end => return Err(failure),
                None => std::thread::sleep(pause),
            }
            own = own.saturating_mul(2);
        }
    }

    fn asked_to_wait(&self) -> Option<Duration> {
        let until = *self.lock();
        until.and_then(|until| until.checked_duration_since(Instant::now()))
    }

    fn remember(&self, wait: Duration) {
        let until = Instant::now() + wait.min(Duration::from_secs(86_400));
        let mut not_before = self.lock();
        *not_before = (*not_before).max(Some(until));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, unless that is beyond the caller's patience.
    fn wait(&self, pause: Duration, end: Instant) -> Result<(), CollateralError> {
        if Instant::now() + pause > end {
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            return Err(CollateralError::Throttled { seconds });
        }
        std::thread::sleep(pause);
        Ok(())
    }
}

impl CollateralSource for Kds {
    fn vek(&self, request: &VekRequest) -> Result<Option<Vec<u8>>, CollateralError> {
        self.get(&request.kds_path(), MAX_CERTIFICATE)
    }

    fn crl(&self, product: Product) -> Result<Option<Vec<u8>>, CollateralError> {
        self.get(&kds_crl_path(product), MAX_CRL)
    }
}
