//! Places among the established connections of an intercepted listener, and who gives one up when there
//! is none left: first a connection that the application has ended, then, where anybody may call, the one
//! that has been quiet for longest. A member of the mesh that only waits keeps its place.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::clock::now;

/// Milliseconds without progress after which a connection that the application has ended may go.
const DONE: u64 = 1_000;
/// Milliseconds without progress after which that of a stranger may.
const QUIET: u64 = 10_000;
/// How often a newcomer looks for one that may go.
const AGAIN: Duration = Duration::from_secs(1);

/// The places of one listener.
#[derive(Debug)]
pub struct Places {
    free: Semaphore,
    /// Whether anybody may have one.
    strangers: bool,
    taken: Mutex<BTreeMap<u64, Taken>>,
}

/// A place that is taken, as others see it.
#[derive(Debug)]
struct Taken {
    state: Arc<AtomicU64>,
    end: oneshot::Sender<()>,
}

impl Places {
    /// So many; `strangers` says whether those who have one have shown nothing.
    #[must_use]
    pub fn new(count: usize, strangers: bool) -> Self {
        Self {
            free: Semaphore::new(count),
            strangers,
            taken: Mutex::default(),
        }
    }

    /// A place for the connection of that number; None where there is none for so long.
    pub async fn take(&self, number: u64, patience: Duration) -> Option<Seat<'_>> {
        let begin = Instant::now();
        let permit = loop {
            if let Ok(permit) = self.free.try_acquire() {
                break permit;
            }
            let left = patience.checked_sub(begin.elapsed())?;
            self.let_one_go();
            if let Ok(permit) = tokio::time::timeout(left.min(AGAIN), self.free.acquire()).await {
                break permit.ok()?;
            }
        };
        let state = Arc::new(AtomicU64::new(State::packed(false)));
        let (end, asked) = oneshot::channel();
        let taken = Taken {
            state: Arc::clone(&state),
            end,
        };
        self.taken().insert(number, taken);
        Some(Seat {
            places: self,
            number,
            state,
            asked,
            _permit: permit,
        })
    }

    /// Has every connection end that the application has ended and on which nothing goes on.
    pub fn let_done_go(&self) {
        let now = now();
        let mut taken = self.taken();
        let done: Vec<u64> = taken
            .iter()
            .filter(|(_, taken)| {
                let State { done, seen } = State::of(&taken.state);
                done && now.saturating_sub(seen) >= DONE
            })
            .map(|(number, _)| *number)
            .collect();
        for number in done {
            end(&mut taken, number);
        }
    }

    fn let_one_go(&self) {
        let mut taken = self.taken();
        let states = taken
            .iter()
            .map(|(number, taken)| (*number, State::of(&taken.state)));
        if let Some(number) = first_to_go(states, self.strangers, now()) {
            end(&mut taken, number);
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u64, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a connection give up its place. One that has just ended leaves it, too.
fn end(taken: &mut BTreeMap<u64, Taken>, number: u64) {
    if let Some(taken) = taken.remove(&number) {
        let _ = taken.end.send(());
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Seat<'a> {
    places: &'a Places,
    number: u64,
    state: Arc<AtomicU64>,
    asked: oneshot::Receiver<()>,
    _permit: SemaphorePermit<'a>,
}

impl Seat<'_> {
    /// There was progress; `done` says whether the application has ended its side. Costs no system call.
    pub(crate) fn seen(&self, done: bool) {
        self.state.store(State::packed(done), Ordering::Relaxed);
    }

    /// Waits until the place is to be given up.
    pub(crate) async fn asked(&mut self) {
        if (&mut self.asked).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.places.taken().remove(&self.number);
    }
}

/// What is known of a connection, in one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    done: bool,
    /// Milliseconds of [`now`].
    seen: u64,
}

impl State {
    /// That of now, as it is stored.
    fn packed(done: bool) -> u64 {
        now() << 1 | u64::from(done)
    }

    fn of(state: &AtomicU64) -> Self {
        let packed = state.load(Ordering::Relaxed);
        Self {
            done: packed & 1 == 1,
            seen: packed >> 1,
        }
    }
}

fn first_to_go(
    states: impl Iterator<Item = (u64, State)>,
    strangers: bool,
    now: u64,
) -> Option<u64> {
    states
        .filter(|(_, state)| {
            let quiet = now.saturating_sub(state.seen);
            state.done && quiet >= DONE || strangers && quiet >= QUIET
        })
        .min_by_key(|(_, state)| (!state.done, state.seen))
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_first() {
        let state = |done, seen| State { done, seen };
        let now = 100_000;
        let some = [
            (1, state(false, now - 50_000)),
            (2, state(false, now - 60_000)),
            (3, state(false, now - 9_000)),
            (4, state(true, now - 500)),
        ];
        let first =
            |some: &[(u64, State)], strangers| first_to_go(some.iter().copied(), strangers, now);
        assert_eq!(first(&some, true), Some(2), "the longest quiet");
        assert_eq!(first(&some, false), None, "members stay");
        assert_eq!(first(&some[2..], true), None, "nobody is quiet yet");
        let ended = [
            some[1],
            (5, state(true, now - 2_000)),
            (6, state(true, now - 3_000)),
        ];
        assert_eq!(first(&ended, true), Some(6), "what has ended before all");
        assert_eq!(first(&ended, false), Some(6));
    }
}
