//! Numbers for Prometheus, in its text format, and nothing that names a user or a secret.

use nacre_api::limits::{MAX_HISTORY, MAX_OBJECTS};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of request times, in seconds.
const BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 30.0];

/// All numbers of the process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    certificates: AtomicU64,
    updates: AtomicU64,
    recoveries: AtomicU64,
    seeds_given: AtomicU64,
    diverged: AtomicU64,
    denials: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    requests: Mutex<BTreeMap<&'static str, Times>>,
}

#[derive(Debug, Default)]
struct Times {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What is read from the state when the numbers are asked for.
pub(crate) struct Now {
    /// 0 = no manifest in force.
    pub(crate) generation: u64,
    /// `empty`, `sealed` or `ready`.
    pub(crate) phase: &'static str,
    pub(crate) pending: usize,
    /// Objects of the history in force, and their bytes.
    pub(crate) objects: usize,
    pub(crate) bytes: u64,
}

impl Metrics {
    pub(crate) fn issued(&self) {
        self.certificates.fetch_add(1, Relaxed);
    }

    pub(crate) fn updated(&self) {
        self.updates.fetch_add(1, Relaxed);
    }

    pub(crate) fn recovered(&self) {
        self.recoveries.fetch_add(1, Relaxed);
    }

    pub(crate) fn seed_given(&self) {
        self.seeds_given.fetch_add(1, Relaxed);
    }

    /// Whether the store shows another history than the one in force.
    pub(crate) fn diverged(&self, yes: bool) {
        self.diverged.store(u64::from(yes), Relaxed);
    }

    /// Something was refused; both words come from fixed lists.
    pub(crate) fn denied(&self, api: &'static str, reason: &'static str) {
        let mut denials = lock(&self.denials);
        let count = denials.entry((api, reason)).or_insert(0);
        *count = count.saturating_add(1);
    }

    /// A request took this long.
    pub(crate) fn took(&self, method: &'static str, time: Duration) {
        let mut requests = lock(&self.requests);
        let times = requests.entry(method).or_default();
        let seconds = time.as_secs_f64();
        times.count = times.count.saturating_add(1);
        times.sum += seconds;
        for (bucket, bound) in times.buckets.iter_mut().zip(BUCKETS) {
            if seconds <= bound {
                *bucket = bucket.saturating_add(1);
            }
        }
    }

    /// The text.
    pub(crate) fn render(&self, now: &Now) -> String {
        let mut out = String::new();
        let pending = u64::try_from(now.pending).unwrap_or(u64::MAX);
        let objects = u64::try_from(now.objects).unwrap_or(u64::MAX);
        let most_objects =
            format!("Objects of the history in force; clients take at most {MAX_OBJECTS}.");
        let most_bytes = format!("Bytes of these objects; clients take at most {MAX_HISTORY}.");
        for (name, kind, help, value) in [
            (
                "manifest_generation",
                "gauge",
                "Generation of the manifest in force, 0 for none.",
                now.generation,
            ),
            (
                "pending_transitions",
                "gauge",
                "Transitions that wait for more owners.",
                pending,
            ),
            ("history_objects", "gauge", &most_objects, objects),
            ("history_bytes", "gauge", &most_bytes, now.bytes),
            (
                "store_diverged",
                "gauge",
                "1 while the store shows another history than the one in force.",
                self.diverged.load(Relaxed),
            ),
            (
                "certificates_issued_total",
                "counter",
                "Certificates made.",
                self.certificates.load(Relaxed),
            ),
            (
                "updates_total",
                "counter",
                "Manifests that were set.",
                self.updates.load(Relaxed),
            ),
            (
                "recoveries_total",
                "counter",
                "Recoveries by owners or by another Coordinator.",
                self.recoveries.load(Relaxed),
            ),
            (
                "seeds_given_total",
                "counter",
                "Coordinators that got the seed from this one.",
                self.seeds_given.load(Relaxed),
            ),
        ] {
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "# HELP nacre_coordinator_{name} {help}\n# TYPE nacre_coordinator_{name} {kind}\n\
                 nacre_coordinator_{name} {value}"
            );
        }
        let _ = writeln!(
            out,
            "# HELP nacre_coordinator_phase The phase that is 1.\n# TYPE nacre_coordinator_phase gauge"
        );
        for phase in ["empty", "sealed", "ready"] {
            let value = u8::from(phase == now.phase);
            let _ = writeln!(out, "nacre_coordinator_phase{{phase=\"{phase}\"}} {value}");
        }
        self.render_denials(&mut out);
        self.render_requests(&mut out);
        out
    }

    fn render_denials(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "# HELP nacre_coordinator_denials_total Requests and evidence refused, by reason.\n\
             # TYPE nacre_coordinator_denials_total counter"
        );
        for ((api, reason), count) in lock(&self.denials).iter() {
            let _ = writeln!(
                out,
                "nacre_coordinator_denials_total{{api=\"{api}\",reason=\"{reason}\"}} {count}"
            );
        }
    }

    fn render_requests(&self, out: &mut String) {
        let name = "nacre_coordinator_request_seconds";
        let _ = writeln!(
            out,
            "# HELP {name} Time of requests, by method.\n# TYPE {name} histogram"
        );
        for (method, times) in lock(&self.requests).iter() {
            for (bucket, bound) in times.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(
                    out,
                    "{name}_bucket{{method=\"{method}\",le=\"{bound}\"}} {bucket}"
                );
            }
            let (count, sum) = (times.count, times.sum);
            let _ = writeln!(
                out,
                "{name}_bucket{{method=\"{method}\",le=\"+Inf\"}} {count}\n\
                 {name}_sum{{method=\"{method}\"}} {sum}\n\
                 {name}_count{{method=\"{method}\"}} {count}"
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.issued();
        metrics.denied("mesh", "host-data");
        metrics.denied("mesh", "host-data");
        metrics.took("NewMeshCert", Duration::from_millis(3));
        let text = metrics.render(&Now {
            generation: 4,
            phase: "ready",
            pending: 1,
            objects: 9,
            bytes: 4096,
        });
        for line in [
            "nacre_coordinator_manifest_generation 4",
            "nacre_coordinator_certificates_issued_total 1",
            "nacre_coordinator_history_objects 9",
            "nacre_coordinator_history_bytes 4096",
            "nacre_coordinator_phase{phase=\"sealed\"} 0",
            "nacre_coordinator_phase{phase=\"ready\"} 1",
            "nacre_coordinator_denials_total{api=\"mesh\",reason=\"host-data\"} 2",
            "nacre_coordinator_request_seconds_bucket{method=\"NewMeshCert\",le=\"0.001\"} 0",
            "nacre_coordinator_request_seconds_bucket{method=\"NewMeshCert\",le=\"0.005\"} 1",
            "nacre_coordinator_request_seconds_count{method=\"NewMeshCert\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        for line in text.lines() {
            let comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
            assert!(comment || line.split(' ').count() == 2, "{line}");
        }
    }
}
