//! What time it is, as far as anybody in a guest can tell.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use nacre_attest::{Product, Timestamp, as_of};

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
    /// The newest revocation list that was verified, of each product: start and DER.
    lists: Mutex<BTreeMap<&'static str, (Timestamp, Vec<u8>)>>,
}

impl Time {
    pub(crate) fn new(clock: Clock) -> Self {
        let baselines = Timestamp::parse(as_of()).map_or(0, |date| date.0);
        Self {
            clock,
            floor: AtomicU64::new(baselines),
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

    /// Learns of a verified revocation list of a product.
    pub(crate) fn saw_crl(&self, product: Product, this_update: Timestamp, der: &[u8]) {
        self.has_passed(this_update.0);
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = match lists.get(product.name()) {
            Some((newest, _)) => this_update > *newest,
            None => true,
        };
        if newer {
            lists.insert(product.name(), (this_update, der.to_vec()));
        }
    }

    /// The newest revocation list of a product that was verified. Products have roots of their own, so
    /// their lists have nothing to do with each other.
    pub(crate) fn newest_crl(&self, product: Product) -> Option<(Timestamp, Vec<u8>)> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.get(product.name()).cloned()
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
        let milan = Product::Milan;
        time.saw_crl(milan, Timestamp(built + 20), b"new");
        time.saw_crl(milan, Timestamp(built + 15), b"old");
        assert_eq!(time.now(), built + 20);
        assert_eq!(
            time.newest_crl(milan),
            Some((Timestamp(built + 20), b"new".to_vec()))
        );
        assert_eq!(time.newest_crl(Product::Genoa), None);
    }
}
