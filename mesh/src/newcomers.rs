//! Places for handshakes at an intercepted listener, and who gives one up when there is none left.
//!
//! While there is room everybody gets a place, also when all of them go to one source. When there is none,
//! the source that holds the most gives one up: its oldest connection that has not sent a whole ClientHello,
//! and when all have, its oldest. A source within its share only gives up what had time enough to go on, and so
//! does one that has just come, or has a credit: it gets one for each handshake that comes to its end, and
//! each time that it is spared costs one. So who shows less than it takes keeps itself out, and a crowd of
//! callers from one address waits for its turn as it did in the kernel's queue.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::clock::now;

/// Milliseconds that a connection has to send a ClientHello, which takes it one way through the network, and
/// a source that has just come to finish its first handshake.
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
    places: usize,
    /// Those that are taken. It only grows while `sources` is locked.
    taken: AtomicUsize,
    sources: Mutex<Sources>,
    freed: Notify,
}

/// Who has places.
#[derive(Debug, Default)]
struct Sources(BTreeMap<Source, Connections>);

/// Those of a source whose handshake goes on.
#[derive(Debug)]
struct Connections {
    /// The first is the first to go.
    open: BTreeMap<Rank, Open>,
    /// Milliseconds of [`now`] when the source came.
    since: u64,
    /// Handshakes that came to their end and have not yet spared the source; as many as there are places at
    /// most.
    credit: usize,
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
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            taken: AtomicUsize::new(0),
            sources: Mutex::default(),
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
        let mut sources = self.sources();
        if self.taken.load(Ordering::Acquire) >= self.places {
            // The newcomer gets its place.
            sources.let_one_go(source, self.places, now)?;
        } else {
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
        let (end, asked) = oneshot::channel();
        let of_source = sources
            .0
            .entry(source)
            .or_insert_with(|| Connections::new(now));
        let rank = Rank {
            greeted: false,
            number,
        };
        of_source.open.insert(rank, Open { since: now, end });
        Some(Place {
            newcomers: Arc::clone(self),
            source,
            rank,
            proved: false,
            asked,
        })
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    /// Takes a place from whose turn it is, for a newcomer of that source; None where all may stay.
    fn let_one_go(&mut self, newcomer: Source, places: usize, now: u64) -> Option<()> {
        let is_new = !self.0.contains_key(&newcomer);
        let share = (places / (self.0.len() + usize::from(is_new)).max(1)).max(1);
        let mut next = None;
        let mut spared: Option<(usize, &mut usize)> = None;
        for (source, connections) in &mut self.0 {
            let Some((rank, open)) = connections.open.first_key_value() else {
                continue;
            };
            let (rank, is_late) = (*rank, open.is_late(*rank, now));
            // Who is even with the newcomer's source need not give way to it.
            let count = connections.open.len() + usize::from(*source == newcomer);
            let has_had_time = now.saturating_sub(connections.since) >= HELLO;
            let is_due = count > share && has_had_time;
            let has_to = is_due && connections.credit == 0;
            if has_to || is_late {
                next = next.max(Some((has_to, count, Reverse(rank), *source)));
            }
            if is_due && !has_to && spared.as_ref().is_none_or(|(most, _)| count > *most) {
                spared = Some((count, &mut connections.credit));
            }
        }
        let owed = next.is_none_or(|(has_to, ..)| !has_to);
        if let (true, Some((_, credit))) = (owed, spared) {
            *credit -= 1;
        }
        let (_, _, Reverse(rank), source) = next?;
        let open = self.remove(source, rank)?;
        let _ = open.end.send(());
        Some(())
    }

    fn remove(&mut self, source: Source, rank: Rank) -> Option<Open> {
        let connections = self.0.get_mut(&source)?;
        let open = connections.open.remove(&rank);
        if connections.open.is_empty() {
            self.0.remove(&source);
        }
        open
    }
}

impl Connections {
    fn new(now: u64) -> Self {
        Self {
            open: BTreeMap::new(),
            since: now,
            credit: 0,
        }
    }
}

impl Open {
    fn is_late(&self, rank: Rank, now: u64) -> bool {
        now.saturating_sub(self.since) >= if rank.greeted { FINISH } else { HELLO }
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
        let mut sources = self.newcomers.sources();
        if let Some(connections) = sources.0.get_mut(&self.source)
            && let Some(open) = connections.open.remove(&self.rank)
        {
            self.rank.greeted = true;
            connections.open.insert(self.rank, open);
        }
    }

    /// The handshake has come to its end: nobody is asked to give way any more.
    pub(crate) fn proved(&mut self) {
        let mut sources = self.newcomers.sources();
        if let Some(connections) = sources.0.get_mut(&self.source) {
            connections.credit = (connections.credit + 1).min(self.newcomers.places);
        }
        self.proved = sources.remove(self.source, self.rank).is_some();
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
        // A place that was given up is another's.
        if self.proved
            || self
                .newcomers
                .sources()
                .remove(self.source, self.rank)
                .is_some()
        {
            self.newcomers.taken.fetch_sub(1, Ordering::AcqRel);
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
        let take = |from, number, at| newcomers.try_take(source(from), number, BEGIN + at);
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
    fn a_finished_handshake_spares_its_source_once() {
        let newcomers = Newcomers::new(3);
        let take = |from, number, at| newcomers.try_take(source(from), number, BEGIN + at);
        let mut places: Vec<Place> = (0..3).map(|number| take(1, number, 0).unwrap()).collect();
        places.iter_mut().for_each(Place::greeted);
        places.remove(0).proved();
        let mut next = take(1, 3, HELLO).unwrap();
        assert!(take(2, 4, HELLO).is_none());
        let _member = take(2, 4, HELLO).unwrap();
        assert!(has_gone(&mut next) && !has_gone(&mut places[0]));
    }

    #[test]
    fn a_credit_is_paid_where_somebody_else_waits_or_goes_instead() {
        let newcomers = Newcomers::new(4);
        let take = |from, number, at| newcomers.try_take(source(from), number, BEGIN + at);
        let credit = |from| newcomers.sources().0[&source(from)].credit;
        let mut busy: Vec<Place> = (0..3).map(|number| take(1, number, 0).unwrap()).collect();
        let mut idle: Vec<Place> = (3..4).map(|number| take(2, number, 0).unwrap()).collect();
        busy.iter_mut().chain(&mut idle).for_each(Place::greeted);
        busy.remove(0).proved();
        idle.push(take(2, 4, HELLO).unwrap());
        // Both have more than their share, and only one has shown anything for it.
        let mut third = take(3, 5, HELLO).unwrap();
        assert!(has_gone(&mut idle[1]) && credit(1) == 1);
        third.greeted();
        let _fourth = take(4, 6, FINISH).unwrap();
        assert_eq!(credit(1), 0);
    }

    #[test]
    fn credit_is_no_more_than_there_are_places() {
        let newcomers = Newcomers::new(2);
        let _kept = newcomers.try_take(source(1), 0, BEGIN).unwrap();
        for number in 1..9 {
            newcomers
                .try_take(source(1), number, BEGIN)
                .unwrap()
                .proved();
        }
        assert_eq!(newcomers.sources().0[&source(1)].credit, 2);
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
        assert_eq!(newcomers.taken.load(Ordering::Acquire), 1);
        drop(second);
        assert_eq!(newcomers.taken.load(Ordering::Acquire), 0);
        assert!(newcomers.sources().0.is_empty());
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
