//! Ask until answered, write, and as a sidecar ask again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use nacre_attest::{ReportSource, Verifier};
use nacre_pki::{LEAF_LIFETIME, LeafKey, PkiError};
use tokio::net::TcpListener;

use crate::ask::{Ask, AskError, Issued};
use crate::config::{Config, Trusted};
use crate::volume::{Volume, VolumeError};

/// First pause after a refusal; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(20);

/// What a real platform and a simulated one differ in.
#[derive(Clone)]
pub struct Deps {
    /// Verifies the Coordinator's evidence.
    pub verifier: Arc<Verifier>,
    /// Gives evidence about this pod.
    pub source: Arc<dyn ReportSource>,
}

impl fmt::Debug for Deps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deps({})", self.source.name())
    }
}

/// Runs to the end, on a runtime of its own.
pub fn run(config: Config, deps: Deps) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(serve(config, deps))
}

async fn serve(config: Config, deps: Deps) -> Result<(), RunError> {
    let volume = Volume::open(&config.directory)?;
    let ask = Ask::new(&config, deps);
    tell_whom(&config);
    // One key for the life of the pod: a renewal changes one file, so that no reader sees half of it.
    let found = config.renew.and_then(|_| volume.issued());
    let (key, mut issued, mut written) = match found {
        Some((key, age)) => {
            tracing::info!("certificates are there already");
            let written = Instant::now().checked_sub(age);
            (key, None, written.unwrap_or_else(Instant::now))
        }
        None => {
            let key = LeafKey::generate()?;
            let issued = until_answered(&ask, &key).await;
            volume.write_issued(&issued, &key)?;
            tracing::info!(generation = issued.generation, "certificates are written");
            (key, Some(issued), Instant::now())
        }
    };
    volume.write_gate(&config.gate)?;
    let Some(every) = config.renew else {
        return Ok(());
    };

    if let Some(address) = config.ready {
        let listener = TcpListener::bind(address).await.map_err(RunError::Ready)?;
        tokio::spawn(async move {
            loop {
                // That somebody is connected to is all a probe wants to know.
                drop(listener.accept().await);
            }
        });
    }
    let mut pause = jittered(every).saturating_sub(written.elapsed());
    loop {
        tokio::time::sleep(pause).await;
        pause = jittered(every);
        let next = until_answered(&ask, &key).await;
        let due = written.elapsed() > Duration::from_secs(LEAF_LIFETIME / 3);
        let same = issued
            .as_ref()
            .is_some_and(|last| last.differs_in_leaf_only(&next));
        if same && !due {
            continue;
        }
        volume.write_issued(&next, &key)?;
        tracing::info!(generation = next.generation, "certificates are renewed");
        written = Instant::now();
        issued = Some(next);
    }
}

/// Whom it asks and whom it believes.
fn tell_whom(config: &Config) {
    let policies = match &config.trusted {
        Trusted::Known { policy_hashes, .. } => {
            let hashes: Vec<_> = policy_hashes.iter().map(ToString::to_string).collect();
            hashes.join(",")
        }
        Trusted::AnyGuest => {
            tracing::warn!(
                "this pod was rendered without knowing its Coordinator: whoever answers from a SEV-SNP \
                 guest is believed"
            );
            "any".to_owned()
        }
    };
    tracing::info!(
        coordinator = config.coordinator,
        policies,
        directory = %config.directory.display(),
        "asking for a certificate"
    );
}

/// Asks until there is an answer, with growing pauses.
async fn until_answered(ask: &Ask, key: &LeafKey) -> Issued {
    let mut pause = FIRST_PAUSE;
    let mut told: Option<String> = None;
    loop {
        match ask.once(key).await {
            Ok(issued) => return issued,
            Err(error) => tell(&error, &mut told),
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = pause.saturating_mul(2).min(LAST_PAUSE);
    }
}

/// Every reason once with what to do; the same one again in short.
fn tell(error: &AskError, told: &mut Option<String>) {
    let reason = error.chain();
    if told.as_ref() == Some(&reason) {
        tracing::info!(reason, "still no certificate");
        return;
    }
    tracing::warn!(reason, advice = error.advice(), "no certificate yet");
    *told = Some(reason);
}

/// Between three quarters and all of it: a thousand pods that start together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let mut bytes = [0; 4];
    // Without randomness there is no key either; the pause is the least of it.
    let _ = rand::fill(&mut bytes);
    let share = f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX);
    pause.mul_f64(0.75 + share / 4.0)
}

/// Why the program ends without what it was started for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No runtime.
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
    /// No key.
    #[error("no key can be made: {0}")]
    Key(#[from] PkiError),
    /// A file could not be written.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The address for probes is taken.
    #[error("cannot listen for probes: {0}")]
    Ready(#[source] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_stay_in_bounds() {
        let pause = Duration::from_secs(8);
        let all: Vec<_> = (0..50).map(|_| jittered(pause)).collect();
        assert!(
            all.iter()
                .all(|found| (pause * 3 / 4..=pause).contains(found))
        );
        assert!(all.iter().any(|found| *found != all[0]));
    }
}
