//! What time it is, as far as anybody in a guest can tell.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nacre_attest::{Claims, Evidence, NewestLists, Timestamp};

/// Gives Unix seconds. The clock of a guest is the host's, so this is a claim.
pub type Clock = fn() -> u64;

/// The system's clock.
pub fn system_clock() -> u64 {
    Timestamp::now().0
}

/// The latest of the clock, the day that is compiled in, what owners signed and the newest
/// verified revocation list. It never goes back while the process lives.
#[derive(Debug)]
pub(crate) struct Time {
    clock: Clock,
    /// What signed data have told.
    floor: AtomicU64,
    lists: Mutex<NewestLists>,
}

impl Time {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            floor: AtomicU64::new(Timestamp::BUILT_AFTER.0),
            lists: Mutex::default(),
        }
    }

    /// Now, in Unix seconds.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)().max(self.floor.load(Ordering::Relaxed))
    }

    /// Learns that this moment has passed, from an owner's signature.
    pub(crate) fn has_passed(&self, moment: u64) {
        self.floor.fetch_max(moment, Ordering::Relaxed);
    }

    /// Learns of the revocation list of accepted evidence.
    pub(crate) fn saw_list_of(&self, evidence: &Evidence, claims: &Claims) {
        if let Some(start) = claims.crl_this_update {
            self.has_passed(start.0);
        }
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.saw_evidence(evidence, claims);
    }

    /// The newest revocation lists that were verified.
    pub(crate) fn lists(&self) -> NewestLists {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_changes_nothing() {
        let time = Time::new(|| 5);
        let built = time.now();
        assert_eq!(built, Timestamp::BUILT_AFTER.0);
        time.has_passed(built + 10);
        assert_eq!(time.now(), built + 10);
        time.has_passed(7);
        assert_eq!(time.now(), built + 10);
    }
}
