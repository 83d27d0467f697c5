//! Places for handshakes at an intercepted listener, and who gives one up when there is none left.
//!
//! While there is room everybody gets a place, also when all of them go to one source. When there is none,
//! the source that holds the most gives one up: its oldest connection that has not sent a whole ClientHello,
//! and when all have, its oldest. A source within its share, or one whose handshakes come to their end, only
//! gives up what had time enough to go on. So who shows nothing keeps itself out, and a crowd of callers
//! from one address waits for its turn as it did in the kernel's queue.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock::now;

/// Milliseconds that a connection has to send a ClientHello, which takes it one way through the network, and
/// in which a source has to finish a handshake.
const HELLO: u64 = 500;
/// Milliseconds that it has to finish the handshake, which takes another way there and back.
const FINISH: u64 = 2_000;
/// How often a newcomer looks for one that may go.
const AGAIN: Duration = Duration::from_millis(50);

/// Whose connection it is: an IPv4 address, or what one host may have of IPv6, 64 bits of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & NETWORK).into()),
            address => address,
        })
    }
}

/// The places of one listener.
#[derive(Debug)]
pub struct Newcomers {
    count: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

/// Who has places.
#[derive(Debug, Default)]
struct Taken {
    count: usize,
    sources: BTreeMap<Source, Connections>,
}

/// Those of a source whose handshake goes on.
#[derive(Debug)]
struct Connections {
    /// The first is the first to go.
    open: BTreeMap<Rank, Open>,
    /// Milliseconds of [`now`] when a handshake came to its end, or when the source came.
    proved: u64,
}

/// In the order in which connections of one source go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The ClientHello has come whole.
    greeted: bool,
    number: u64,
}

#[derive(Debug)]
struct Open {
    /// Milliseconds of [`now`].
    since: u64,
    end: oneshot::Sender<()>,
}

impl Newcomers {
    /// So many.
    #[must_use]
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            count,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place for the connection of that number, which is higher than those before.
    pub async fn take(self: &Arc<Self>, source: Source, number: u64) -> Place {
        loop {
            if let Some(place) = self.try_take(source, number, now()) {
                return place;
            }
            let _ = tokio::time::timeout(AGAIN, self.freed.notified()).await;
        }
    }

    fn try_take(self: &Arc<Self>, source: Source, number: u64, now: u64) -> Option<Place> {
        let mut taken = self.taken();
        if taken.count >= self.count {
            taken.let_one_go(source, self.count, now)?;
        }
        let (end, asked) = oneshot::channel();
        let of_source = taken
            .sources
            .entry(source)
            .or_insert_with(|| Connections::new(now));
        let rank = Rank {
            greeted: false,
            number,
        };
        of_source.open.insert(rank, Open { since: now, end });
        taken.count += 1;
        Some(Place {
            newcomers: Arc::clone(self),
            source,
            rank,
            proved: false,
            asked,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes a place from whose turn it is, for a newcomer of that source; None where all may stay.
    fn let_one_go(&mut self, newcomer: Source, places: usize, now: u64) -> Option<()> {
        let is_new = !self.sources.contains_key(&newcomer);
        let share = (places / (self.sources.len() + usize::from(is_new)).max(1)).max(1);
        let (_, source, rank) = self
            .sources
            .iter()
            .filter_map(|(source, connections)| {
                // Who is even with the newcomer's source need not give way to it.
                let count = connections.open.len() + usize::from(*source == newcomer);
                let rank = connections.first_to_go(count > share, now)?;
                Some(((count, Reverse(rank)), *source, rank))
            })
            .max_by_key(|(order, ..)| *order)?;
        let open = self.remove(source, rank)?;
        self.count -= 1;
        let _ = open.end.send(());
        Some(())
    }

    fn remove(&mut self, source: Source, rank: Rank) -> Option<Open> {
        let connections = self.sources.get_mut(&source)?;
        let open = connections.open.remove(&rank);
        if connections.open.is_empty() {
            self.sources.remove(&source);
        }
        open
    }
}

impl Connections {
    fn new(now: u64) -> Self {
        Self {
            open: BTreeMap::new(),
            proved: now,
        }
    }

    fn first_to_go(&self, has_more_than_its_share: bool, now: u64) -> Option<Rank> {
        let (rank, open) = self.open.first_key_value()?;
        if has_more_than_its_share && now.saturating_sub(self.proved) >= HELLO {
            return Some(*rank);
        }
        let age = now.saturating_sub(open.since);
        let late = age >= if rank.greeted { FINISH } else { HELLO };
        late.then_some(*rank)
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    newcomers: Arc<Newcomers>,
    source: Source,
    rank: Rank,
    proved: bool,
    asked: oneshot::Receiver<()>,
}

impl Place {
    /// The ClientHello has come whole.
    pub(crate) fn greeted(&mut self) {
        let mut taken = self.newcomers.taken();
        if let Some(connections) = taken.sources.get_mut(&self.source)
            && let Some(open) = connections.open.remove(&self.rank)
        {
            self.rank.greeted = true;
            connections.open.insert(self.rank, open);
        }
    }

    /// The handshake has come to its end: nobody is asked to give way any more.
    pub(crate) fn proved(&mut self) {
        let mut taken = self.newcomers.taken();
        if let Some(connections) = taken.sources.get_mut(&self.source) {
            connections.proved = now();
        }
        self.proved = taken.remove(self.source, self.rank).is_some();
    }

    /// Waits until the place is to be given up.
    pub(crate) async fn asked(&mut self) {
        if (&mut self.asked).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.newcomers.taken();
        // A place that was given up is another's.
        if self.proved || taken.remove(self.source, self.rank).is_some() {
            taken.count -= 1;
            drop(taken);
            self.newcomers.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Source {
        IpAddr::from([192, 0, 2, last]).into()
    }

    fn has_gone(place: &mut Place) -> bool {
        place.asked.try_recv().is_ok()
    }

    /// Milliseconds of the tests, beside those of the clock.
    const BEGIN: u64 = 1_000_000;

    #[test]
    fn one_source_may_have_all_and_waits_for_its_own() {
        let newcomers = Newcomers::new(3);
        let take = |number, at| newcomers.try_take(source(1), number, BEGIN + at);
        let mut places: Vec<Place> = (0..3).map(|number| take(number, 0).unwrap()).collect();
        places[0].greeted();
        assert!(take(3, HELLO - 1).is_none(), "all of them have time left");
        // The oldest that has said nothing.
        let _third = take(3, HELLO).unwrap();
        assert!(has_gone(&mut places[1]) && !has_gone(&mut places[0]));
        drop(places.remove(2));
        let _fourth = take(4, HELLO).unwrap();
    }

    #[test]
    fn the_busiest_source_gives_way_to_others_at_once() {
        let newcomers = Newcomers::new(4);
        let take = |from, number, at| newcomers.try_take(source(from), number, BEGIN + at);
        let mut member = take(2, 0, 0).unwrap();
        let mut old: Vec<Place> = (1..4).map(|number| take(1, number, 0).unwrap()).collect();
        old[0].greeted();
        // Its places are new again, and nobody of it has finished anything.
        let mut new = take(1, 4, HELLO).unwrap();
        assert!(has_gone(&mut old[1]));
        let _other = take(3, 5, HELLO + 1).unwrap();
        assert!(has_gone(&mut old[2]));
        // One of each, and one that has greeted: nobody has more than its share but the first.
        let _another = take(4, 6, HELLO + 1).unwrap();
        assert!(has_gone(&mut new), "who has said nothing before who has");
        assert!(!has_gone(&mut old[0]) && !has_gone(&mut member));
    }

    #[test]
    fn who_sends_a_hello_and_nothing_else_goes_too() {
        let newcomers = Newcomers::new(2);
        let take = |from, number, at| newcomers.try_take(source(from), number, BEGIN + at);
        let mut places: Vec<Place> = (0..2).map(|number| take(1, number, 0).unwrap()).collect();
        places.iter_mut().for_each(Place::greeted);
        assert!(take(2, 2, HELLO - 1).is_none());
        let _member = take(2, 2, HELLO).unwrap();
        assert!(has_gone(&mut places[0]) && !has_gone(&mut places[1]));
    }

    #[test]
    fn a_source_whose_handshakes_end_well_gives_up_only_what_is_late() {
        let newcomers = Newcomers::new(2);
        let before = now();
        let take = |from, number, at| newcomers.try_take(source(from), number, before + at);
        let mut place = take(1, 0, 0).unwrap();
        let mut other = take(1, 1, 0).unwrap();
        other.greeted();
        place.proved();
        // It waits for a place among the established, and nobody takes this one from it.
        assert!(take(2, 2, HELLO - 1).is_none());
        drop(place);
        let mut member = take(2, 2, HELLO - 1).unwrap();
        member.greeted();
        assert!(take(3, 3, HELLO - 1).is_none());
        let _newcomer = take(3, 3, FINISH).unwrap();
        assert!(has_gone(&mut other) && !has_gone(&mut member));
    }

    #[test]
    fn places_are_counted_once() {
        let newcomers = Newcomers::new(1);
        let mut first = newcomers.try_take(source(1), 0, BEGIN).unwrap();
        let second = newcomers.try_take(source(2), 1, BEGIN + HELLO).unwrap();
        assert!(has_gone(&mut first));
        // Too late: the place is another's already.
        first.proved();
        drop(first);
        assert_eq!(newcomers.taken().count, 1);
        drop(second);
        let taken = newcomers.taken();
        assert!(taken.count == 0 && taken.sources.is_empty());
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        let of = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    }
}
