//! Places for callers of whom nothing is known: nobody takes them from everybody else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// What happens when a caller comes, every place is taken, and no other source has more of them than the
/// caller's own would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// The oldest of that source gives way: for what an honest caller needs for a moment only.
    Replace,
    /// The caller gets none: for what takes time, and is lost when it is ended.
    Refuse,
}

/// A number of places. When all are taken, the oldest of the source that has the most gives way.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    full: WhenFull,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By age.
    places: BTreeMap<u64, (Source, oneshot::Sender<()>)>,
}

/// One of the places, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    gone: oneshot::Receiver<()>,
}

/// Who is one caller: an IPv4 address, or a network of IPv6, of whose addresses one host may have all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        })
    }
}

impl Places {
    pub(crate) fn new(most: usize, full: WhenFull) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            full,
            taken: Mutex::default(),
        })
    }

    /// A place for a caller at this address, if there is one for it.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = Source::from(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.places.len() >= self.most {
            let oldest = taken.gives_way(source, self.full)?;
            if let Some((_, gone)) = taken.places.remove(&oldest) {
                // Whoever is about to leave anyway does not listen.
                let _ = gone.send(());
            }
        }
        let (sender, gone) = oneshot::channel();
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        taken.places.insert(number, (source, sender));
        Some(Place {
            places: Arc::clone(self),
            number,
            gone,
        })
    }
}

impl Taken {
    /// Number of the place that is given to a caller from `source`.
    fn gives_way(&self, source: Source, full: WhenFull) -> Option<u64> {
        // The caller's own counts, if it were let in.
        let mut counts = BTreeMap::from([(source, 1_usize)]);
        for (other, _) in self.places.values() {
            let count = counts.entry(*other).or_default();
            *count = count.saturating_add(1);
        }
        let own = counts.get(&source).copied().unwrap_or_default();
        let most = counts.values().copied().max().unwrap_or_default();
        if full == WhenFull::Refuse && own == most {
            return None;
        }
        let mut by_age = self.places.iter();
        let busiest = |(_, place): &(&u64, &(Source, oneshot::Sender<()>))| {
            counts.get(&place.0) == Some(&most)
        };
        let oldest = by_age.find(busiest).or_else(|| self.places.iter().next());
        oldest.map(|(number, _)| *number)
    }
}

impl Place {
    /// Is over when somebody else got it.
    pub(crate) async fn given_away(&mut self) {
        if (&mut self.gone).await.is_err() {
            // Nobody can: it is held.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn lost(place: &mut Place) -> bool {
        place.gone.try_recv().is_ok()
    }

    #[test]
    fn the_oldest_of_whoever_has_most_gives_way() {
        let places = Places::new(4, WhenFull::Replace);
        let mut one = places.take(address("10.0.0.1")).unwrap();
        let mut flood: Vec<_> = (0..3)
            .map(|_| places.take(address("10.0.0.2")).unwrap())
            .collect();
        for _ in 0..20 {
            flood.push(places.take(address("10.0.0.2")).unwrap());
        }
        // The flood has only put out itself.
        assert!(!lost(&mut one));
        assert_eq!(
            flood
                .iter_mut()
                .filter_map(|place| lost(place).then_some(()))
                .count(),
            20
        );
        let mut two = places.take(address("10.0.0.3")).unwrap();
        assert!(!lost(&mut one) && !lost(&mut two));
        // With as many sources as places, the oldest of all goes.
        let places = Places::new(2, WhenFull::Replace);
        let mut all: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
            .map(|text| places.take(address(text)).unwrap())
            .into();
        let lost: Vec<_> = all.iter_mut().map(lost).collect();
        assert_eq!(lost, [true, false, false]);
    }

    #[test]
    fn what_takes_time_is_only_ended_for_a_source_that_has_less() {
        let places = Places::new(2, WhenFull::Refuse);
        let mut first = places.take(address("10.0.0.1")).unwrap();
        let mut second = places.take(address("10.0.0.1")).unwrap();
        assert!(places.take(address("10.0.0.1")).is_none());
        let mut other = places.take(address("10.0.0.2")).unwrap();
        assert!(lost(&mut first) && !lost(&mut second));
        assert!(places.take(address("10.0.0.1")).is_none());
        assert!(places.take(address("10.0.0.3")).is_none());
        drop(second);
        assert!(places.take(address("10.0.0.1")).is_some());
        assert!(!lost(&mut other));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_mapped_address_is_its_ipv4() {
        let source = |text| Source::from(address(text));
        assert_eq!(source("2001:db8::1"), source("2001:db8:0:0:ffff::2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }

    #[tokio::test]
    async fn whoever_holds_a_place_is_told_that_it_is_gone() {
        let places = Places::new(1, WhenFull::Replace);
        let mut first = places.take(address("10.0.0.1")).unwrap();
        let waiting = tokio::spawn(async move {
            first.given_away().await;
        });
        let _second = places.take(address("10.0.0.2")).unwrap();
        waiting.await.unwrap();
    }
}
