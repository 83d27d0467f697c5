//! A bounded queue before a source of reports.
//!
//! Firmware makes one report at a time. A queue for each port keeps a flood at one from starving another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nacre_attest::{Evidence, ReportSource, SourceError};
use tokio::sync::Semaphore;

/// First pause after BUSY; doubled each time.
const PAUSE: Duration = Duration::from_millis(10);
const ATTEMPTS: u32 = 6;

/// Asks for reports on behalf of one port.
pub struct ReportQueue {
    source: Arc<dyn ReportSource>,
    at_once: Semaphore,
    waiting: AtomicUsize,
    limit: usize,
}

impl ReportQueue {
    /// `at_once` requests are with the source, `limit` more may wait; who comes later is sent away.
    pub fn new(source: Arc<dyn ReportSource>, at_once: usize, limit: usize) -> Self {
        Self {
            source,
            at_once: Semaphore::new(at_once.max(1)),
            waiting: AtomicUsize::new(0),
            limit: limit.saturating_add(at_once.max(1)),
        }
    }

    /// A new report with this REPORT_DATA.
    pub async fn evidence(&self, report_data: [u8; 64]) -> Result<Evidence, SourceError> {
        let _place = Place::take(&self.waiting, self.limit).ok_or(SourceError::Busy)?;
        let _turn = self
            .at_once
            .acquire()
            .await
            .map_err(|_| SourceError::Busy)?;
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.ask(report_data).await {
                Err(SourceError::Busy) => tokio::time::sleep(pause).await,
                answer => return answer,
            }
            pause = pause.saturating_mul(2);
        }
        self.ask(report_data).await
    }

    async fn ask(&self, report_data: [u8; 64]) -> Result<Evidence, SourceError> {
        let source = Arc::clone(&self.source);
        tokio::task::spawn_blocking(move || source.evidence(&report_data))
            .await
            .unwrap_or_else(|error| {
                Err(SourceError::Firmware {
                    detail: error.to_string(),
                })
            })
    }
}

impl std::fmt::Debug for ReportQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReportQueue")
            .field("source", &self.source.name())
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(count: &'a AtomicUsize, limit: usize) -> Option<Self> {
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < limit).then_some(now + 1)
            })
            .ok()
            .map(|_| Self(count))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
