//! A bounded queue before a source of reports.
//!
//! Firmware makes one report at a time. A queue for each port keeps a flood at one from starving another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nacre_attest::{Evidence, ReportSource, SourceError};
use tokio::sync::Semaphore;

use crate::workers::Workers;

/// First pause after BUSY; doubled each time.
const PAUSE: Duration = Duration::from_millis(10);
const ATTEMPTS: u32 = 6;

/// Asks for reports on behalf of one port. Clones are one queue.
#[derive(Clone)]
pub struct ReportQueue {
    source: Arc<dyn ReportSource>,
    at_once: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
    workers: Workers,
}

impl ReportQueue {
    /// `at_once` requests are with the source, `limit` more may wait; who comes later is sent away.
    pub fn new(source: Arc<dyn ReportSource>, at_once: usize, limit: usize) -> Self {
        Self {
            source,
            at_once: Arc::new(Semaphore::new(at_once.max(1))),
            waiting: Arc::new(AtomicUsize::new(0)),
            limit: limit.saturating_add(at_once.max(1)),
            workers: Workers::default(),
        }
    }

    /// A new report with this REPORT_DATA.
    ///
    /// Who stops waiting gives a place in the queue back at once; a request that is with the source keeps its
    /// place and its turn until the source has answered, since it cannot be called back.
    pub async fn evidence(&self, report_data: [u8; 64]) -> Result<Evidence, SourceError> {
        let place = Place::take(&self.waiting, self.limit).ok_or(SourceError::Busy)?;
        let turn = Arc::clone(&self.at_once).acquire_owned().await;
        let mut held = (place, turn.map_err(|_| SourceError::Busy)?);
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.ask(report_data, held).await {
                (Err(SourceError::Busy), Some(back)) => held = back,
                (answer, _) => return answer,
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
        self.ask(report_data, held).await.0
    }

    /// How many are in it, those at the source included.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// One request; what it holds comes back with the answer.
    async fn ask<T: Send + 'static>(
        &self,
        report_data: [u8; 64],
        held: T,
    ) -> (Result<Evidence, SourceError>, Option<T>) {
        let source = Arc::clone(&self.source);
        let asked = move || (source.evidence(&report_data), held);
        match self.workers.run(asked).await {
            Ok((answer, held)) => (answer, Some(held)),
            Err(error) => {
                let detail = error.to_string();
                (Err(SourceError::Firmware { detail }), None)
            }
        }
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
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
                (now < limit).then_some(now + 1)
            })
            .ok()
            .map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
