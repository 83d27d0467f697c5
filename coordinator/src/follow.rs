//! Following the store: what its `latest` says, and what that means for the state.

use std::sync::Arc;
use std::time::Duration;

use nacre_history::{Expect, History, Invalid, Relation};
use nacre_store::{Latest as Stored, Version};

use crate::authority::{Authority, Inner, Unfinished};
use crate::denied::{Denied, chain};
use crate::state::{Ready, Sealed, State};

/// Pause before the store is looked at again when it could not be read; doubled each time.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest such pause.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// How a look at the store ended.
#[derive(Debug)]
pub(crate) enum Look {
    /// Judged; the next look is due when `latest` has another version.
    Settled(Option<Version>),
    /// Not everything could be read, or it holds no history: objects may change though `latest` does not.
    Again,
}

impl Authority {
    /// Reads the store for the first time.
    pub(crate) async fn load(&self) -> Result<Look, Denied> {
        let mut inner = self.turn().await;
        let stored = self.core.storage.latest().await?;
        Ok(self.observe(&mut inner, stored).await)
    }

    /// Follows the store for as long as it is polled.
    pub(crate) async fn watch(&self, mut look: Look) {
        let mut pause = AGAIN;
        loop {
            let stored = match &look {
                Look::Settled(seen) => {
                    pause = AGAIN;
                    self.core.storage.changed(seen.as_ref()).await
                }
                Look::Again => {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(AGAIN_AT_MOST);
                    self.core.storage.latest().await
                }
            };
            look = match stored {
                Ok(stored) => {
                    let mut inner = self.turn().await;
                    self.observe(&mut inner, stored).await
                }
                Err(error) => {
                    tracing::warn!(reason = chain(&error), "cannot watch the history");
                    Look::Again
                }
            };
        }
    }

    /// Looks at the store now.
    pub(crate) async fn refresh(&self) -> Result<(), Denied> {
        let mut inner = self.turn().await;
        let stored = self.core.storage.latest().await?;
        self.observe(&mut inner, stored).await;
        Ok(())
    }

    /// What `latest` says now, and what that means for the state. A history that was judged is not read again.
    pub(crate) async fn observe(&self, inner: &mut Inner, stored: Option<Stored>) -> Look {
        let state = self.core.cell.load();
        let version = stored.as_ref().map(|stored| stored.version.clone());
        let judged = match (&*state, stored) {
            (State::Empty, None) => true,
            (State::Sealed(_), None) => {
                inner.recovery = None;
                self.core.cell.swap(State::Empty);
                true
            }
            (State::Ready(_), None) => {
                self.diverged("the newest transition is gone from the store");
                true
            }
            (State::Ready(ready), Some(stored)) if stored.bytes == ready.latest => {
                self.core.metrics.diverged(false);
                if ready.version.as_ref() != Some(&stored.version) {
                    let ready = ready.with_version(stored.version);
                    self.core.cell.swap(State::Ready(Arc::new(ready)));
                }
                true
            }
            // What was written here and not answered: its keys are here too, whatever the phase.
            (_, Some(stored)) if inner.unfinished.of(&stored).is_some() => {
                if let Some(next) = inner.unfinished.of(&stored) {
                    self.in_force(inner, next, "set");
                }
                true
            }
            (State::Ready(ready), Some(stored)) => self.moved(inner, ready, stored).await,
            (State::Sealed(sealed), Some(stored)) if sealed.is_of(&stored) => true,
            (State::Empty, Some(stored)) => self.seal(inner, stored, None).await,
            (State::Sealed(sealed), Some(stored)) => {
                let known = sealed.history.as_deref().ok();
                self.seal(inner, stored, known).await
            }
        };
        match judged {
            true => Look::Settled(version),
            false => Look::Again,
        }
    }

    /// Another `latest` than the one in force stands in the store. False when it cannot be judged.
    async fn moved(&self, inner: &mut Inner, ready: &Ready, stored: Stored) -> bool {
        let history = match self.read(&stored, Some(&ready.history)).await {
            Ok(history) => history,
            Err(error) => {
                self.diverged(&chain(&error));
                return false;
            }
        };
        match ready.history.relation(&history) {
            Relation::Ahead { by } => {
                tracing::warn!(
                    by,
                    "another Coordinator has set a manifest; its keys are needed"
                );
                // Owners have signed it: what is in force here is over, listed in it or not.
                let history = self.served(history);
                self.seal_with(inner, stored, history);
            }
            Relation::Behind { by } => {
                self.diverged(&format!("the store was rolled back by {by} transitions"));
            }
            Relation::Fork { common } => {
                self.diverged(&format!("the store forked behind transition {common}"));
            }
            // Signed anew; nothing else is different.
            Relation::Same => self.diverged("the newest transition was signed anew"),
        }
        true
    }

    fn diverged(&self, reason: &str) {
        tracing::error!(
            reason,
            "the store shows another history than the one in force, which stays"
        );
        self.core.metrics.diverged(true);
    }

    /// Waits for recovery of what is in the store. False when that cannot be judged.
    async fn seal(&self, inner: &mut Inner, stored: Stored, known: Option<&History>) -> bool {
        let history = self.read(&stored, known).await;
        let history = history.and_then(|history| self.served(history));
        self.seal_with(inner, stored, history)
    }

    fn seal_with(
        &self,
        inner: &mut Inner,
        stored: Stored,
        history: Result<History, Denied>,
    ) -> bool {
        let judged = match &history {
            Ok(history) => {
                self.core
                    .time
                    .has_passed(history.head().transition.signed_at);
                true
            }
            Err(Denied::Invalid(Invalid::NotCoordinator { policy })) => {
                tracing::error!(
                    %policy,
                    "the newest manifest does not list this Coordinator, which serves nothing any more"
                );
                true
            }
            Err(error) => {
                let reason = chain(error);
                tracing::error!(reason, "the history in the store does not hold");
                false
            }
        };
        if judged {
            // Somebody else's came to be.
            inner.unfinished = Unfinished::default();
        }
        inner.pending.clear();
        inner.candidate = None;
        inner.recovery = None;
        self.core.metrics.diverged(false);
        self.core.cell.swap(State::Sealed(Sealed {
            latest: stored.bytes,
            history: history.map(Arc::new).map_err(Arc::new),
        }));
        judged
    }

    /// The history that `latest` leads to, whoever may serve it. Of a known one that it continues, nothing is
    /// read again.
    async fn read(&self, stored: &Stored, known: Option<&History>) -> Result<History, Denied> {
        let (latest, rules) = (stored.bytes.clone(), self.core.rules.clone());
        let known = known.cloned();
        self.core.storage.validate(latest, rules, known).await
    }

    /// The history, if the owners list this Coordinator in its head.
    fn served(&self, history: History) -> Result<History, Denied> {
        history.meets(&Expect::default().coordinator(self.core.own))?;
        Ok(history)
    }
}
