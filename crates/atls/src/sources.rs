//! How much one address holds at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts by address, up to a limit that is the same for all.
#[derive(Debug)]
pub struct Sources {
    limit: usize,
    held: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Sources {
    /// At least one each.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            held: Mutex::default(),
        })
    }

    /// A place for this address, if it has one left. IPv4 mapped into IPv6 is the IPv4 address.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<SourcePlace> {
        let address = address.to_canonical();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_insert(0);
        (*count < self.limit).then(|| {
            *count = count.saturating_add(1);
            SourcePlace {
                sources: Arc::clone(self),
                address,
            }
        })
    }
}

/// One of an address's places, given back when dropped.
#[derive(Debug)]
pub struct SourcePlace {
    sources: Arc<Sources>,
    address: IpAddr,
}

impl Drop for SourcePlace {
    fn drop(&mut self) {
        let held = &self.sources.held;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_gives_them_back() {
        let sources = Sources::new(1);
        let [near, mapped, far] = ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"]
            .map(|address| address.parse::<IpAddr>().unwrap());
        let place = sources.take(near);
        assert!(place.is_some());
        assert!(sources.take(mapped).is_none());
        assert!(sources.take(far).is_some());
        drop(place);
        assert!(sources.take(mapped).is_some());
        assert!(sources.held.lock().unwrap().is_empty());
    }
}
