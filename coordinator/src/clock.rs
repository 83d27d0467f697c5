//! What time it is, as far as anybody in a guest can tell.

use std::sync::atomic::{AtomicU64, Ordering};

use nacre_attest::{Timestamp, as_of};

/// Gives Unix seconds. The clock of a guest is the host's, so this is a claim.
pub type Clock = fn() -> u64;

/// The system's clock.
pub fn system_clock() -> u64 {
    Timestamp::now().0
}

/// The latest of the clock, the date of the compiled-in baselines, what owners signed and the newest
/// verified revocation list. It never goes back while the process lives.
#[derive(Debug)]
pub(crate) struct Time {
    clock: Clock,
    /// What signed data have told.
    floor: AtomicU64,
    newest_crl: AtomicU64,
}

impl Time {
    pub(crate) fn new(clock: Clock) -> Self {
        let baselines = Timestamp::parse(as_of()).map_or(0, |date| date.0);
        Self {
            clock,
            floor: AtomicU64::new(baselines),
            newest_crl: AtomicU64::new(0),
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

    /// Learns of a verified revocation list.
    pub(crate) fn saw_crl(&self, this_update: Timestamp) {
        self.newest_crl.fetch_max(this_update.0, Ordering::Relaxed);
        self.has_passed(this_update.0);
    }

    /// Start of the newest revocation list that was verified.
    pub(crate) fn newest_crl(&self) -> Option<Timestamp> {
        let seen = self.newest_crl.load(Ordering::Relaxed);
        (seen > 0).then_some(Timestamp(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_changes_nothing() {
        let time = Time::new(|| 5);
        let built = time.now();
        assert!(built > 1_700_000_000, "{built}");
        time.has_passed(built + 10);
        assert_eq!(time.now(), built + 10);
        time.has_passed(7);
        assert_eq!(time.now(), built + 10);
        time.saw_crl(Timestamp(built + 20));
        assert_eq!(time.now(), built + 20);
        assert_eq!(time.newest_crl(), Some(Timestamp(built + 20)));
    }
}
