//! Health and metrics on port 9102.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::{Method, StatusCode};
use nacre_api::v1::Phase;
use nacre_history::History;

use crate::authority::Authority;
use crate::metrics::Now;
use crate::plain::{Answer, Asked, Routes};

/// Routes of health and metrics.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) authority: Arc<Authority>,
    pub(crate) draining: Arc<AtomicBool>,
}

impl Routes for Health {
    async fn answer(&self, asked: Asked) -> Answer {
        if asked.method != Method::GET {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET only");
        }
        match asked.path.as_str() {
            // Nothing is served before every port listens and the store was read.
            "/startup" | "/live" => Answer::text(StatusCode::OK, "ok"),
            "/ready" => self.ready(),
            "/metrics" => Answer {
                status: StatusCode::OK,
                kind: "text/plain; version=0.0.4; charset=utf-8",
                body: self.metrics().into(),
            },
            _ => Answer::text(StatusCode::NOT_FOUND, "/startup /live /ready /metrics"),
        }
    }
}

impl Health {
    /// Ready only with a manifest in force, so that a service sends workloads elsewhere until then.
    fn ready(&self) -> Answer {
        let phase = self.phase();
        if self.draining.load(Ordering::Relaxed) {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if phase == "ready" {
            Answer::text(StatusCode::OK, phase)
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, phase)
        }
    }

    fn phase(&self) -> &'static str {
        match self.authority.core.cell.load().phase() {
            Phase::Ready => "ready",
            Phase::Sealed => "sealed",
            Phase::Empty | Phase::Unspecified => "empty",
        }
    }

    fn metrics(&self) -> String {
        let core = &self.authority.core;
        let pending = self.authority.shown().pending.len();
        let ready = core.cell.ready();
        let history = ready.as_ref().map(|ready| &ready.history);
        core.metrics.render(&Now {
            generation: ready.as_ref().map_or(0, |ready| ready.generation()),
            objects: history.map_or(0, |history| history.objects().len()),
            bytes: history.map_or(0, History::bytes),
            phase: self.phase(),
            pending,
        })
    }
}
