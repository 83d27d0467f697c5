//! Places for callers of whom nothing is known: nobody takes them from everybody else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// What happens when a caller comes, every place is taken, and no other source has more of them than the
/// caller's own would have. Where another has, its oldest gives way in any case, one without work first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest of the caller's own gives way: for what an honest caller needs for a moment only.
    Replace,
    /// The oldest of its own on which nothing is under way gives way; if there is none, the caller gets no place.
    ReplaceIdle,
    /// The caller gets none: for what takes time, and is lost when it is ended.
    Refuse,
}

/// A number of places. When all are taken, the oldest of the source that has the most gives way.
///
/// A source is an IPv4 address, or a network of IPv6 (/64), of whose addresses one host may have all. One
/// alone may have every place for as long as nobody else wants one: behind it may be a node or a proxy.
#[derive(Debug)]
pub struct Places {
    most: usize,
    full: WhenFull,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    /// By age.
    places: BTreeMap<u64, Held>,
    counts: BTreeMap<Source, usize>,
}

#[derive(Debug)]
struct Held {
    source: Source,
    gone: oneshot::Sender<()>,
    work: Arc<Work>,
}

/// One of the places, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    gone: oneshot::Receiver<()>,
    work: Arc<Work>,
    over: bool,
}

/// What is under way at a place.
#[derive(Debug)]
pub struct Work(Mutex<Under>);

#[derive(Debug)]
struct Under {
    open: usize,
    /// When the last one began or ended.
    since: Instant,
}

/// One thing that is under way, until dropped.
#[derive(Debug)]
pub struct Busy(Arc<Work>);

/// Who is one caller.
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
    /// So many, at least one.
    pub fn new(most: usize, full: WhenFull) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            full,
            taken: Mutex::default(),
        })
    }

    /// A place for a caller at this address, if there is one for it.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = Source::from(address);
        let mut taken = self.taken();
        if taken.places.len() >= self.most {
            let oldest = taken.gives_way(source, self.full)?;
            taken.end(oldest);
        }
        let (sender, gone) = oneshot::channel();
        let work = Arc::new(Work(Mutex::new(Under {
            open: 0,
            since: Instant::now(),
        })));
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        let held = Held {
            source,
            gone: sender,
            work: Arc::clone(&work),
        };
        taken.places.insert(number, held);
        let count = taken.counts.entry(source).or_default();
        *count = count.saturating_add(1);
        Some(Place {
            places: Arc::clone(self),
            number,
            gone,
            work,
            over: false,
        })
    }

    /// Takes the places back at which nothing has been under way for so long.
    pub fn end_idle(&self, limit: Duration) {
        let mut taken = self.taken();
        let idle: Vec<u64> = taken
            .places
            .iter()
            .filter(|(_, held)| held.work.idle().is_some_and(|idle| idle >= limit))
            .map(|(number, _)| *number)
            .collect();
        for number in idle {
            taken.end(number);
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Number of the place that is given to a caller from `source`.
    fn gives_way(&self, source: Source, full: WhenFull) -> Option<u64> {
        // The caller's own counts, if it were let in.
        let own = self.counts.get(&source).map_or(1, |n| n.saturating_add(1));
        let others = self.counts.values().copied().max().unwrap_or_default();
        let most = own.max(others);
        if full == WhenFull::Refuse && own == most {
            return None;
        }
        let busiest = |held: &Held| match held.source == source {
            true => own == most,
            false => self.counts.get(&held.source) == Some(&most),
        };
        let mut oldest = None;
        for (number, held) in self.places.iter().filter(|(_, held)| busiest(held)) {
            if held.work.idle().is_some() {
                return Some(*number);
            }
            oldest = oldest.or(Some(*number));
        }
        oldest.filter(|_| full == WhenFull::Replace || own < most)
    }

    fn end(&mut self, number: u64) {
        if let Some(held) = self.remove(number) {
            // Whoever is about to leave anyway does not listen.
            let _ = held.gone.send(());
        }
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.places.remove(&number)?;
        if let Some(count) = self.counts.get_mut(&held.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&held.source);
            }
        }
        Some(held)
    }
}

impl Place {
    /// Is over when somebody else got it.
    pub async fn given_away(&mut self) {
        std::future::poll_fn(|cx| self.poll_given_away(cx)).await;
    }

    /// As [`Place::given_away`].
    pub fn poll_given_away(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.over {
            // Its other end is dropped by nobody else while this one is held.
            let _ = ready!(Pin::new(&mut self.gone).poll(cx));
            self.over = true;
        }
        Poll::Ready(())
    }

    /// What is under way here.
    pub fn work(&self) -> &Arc<Work> {
        &self.work
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().remove(self.number);
    }
}

impl Work {
    /// Something is under way until the result is dropped.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.count(|open| open.saturating_add(1));
        Busy(Arc::clone(self))
    }

    /// For how long nothing has been under way; none while something is.
    fn idle(&self) -> Option<Duration> {
        let under = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (under.open == 0).then(|| under.since.elapsed())
    }

    fn count(&self, open: impl FnOnce(usize) -> usize) {
        let mut under = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        under.open = open(under.open);
        under.since = Instant::now();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.count(|open| open.saturating_sub(1));
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
    fn what_is_under_way_is_ended_only_for_a_source_that_has_less() {
        let places = Places::new(3, WhenFull::ReplaceIdle);
        let mut all: Vec<_> = (0..3)
            .map(|_| places.take(address("10.0.0.1")).unwrap())
            .collect();
        let mut work: Vec<_> = all[..2].iter().map(|place| place.work().begin()).collect();
        all.push(places.take(address("10.0.0.1")).unwrap());
        let gone: Vec<_> = all.iter_mut().map(lost).collect();
        assert_eq!(gone, [false, false, true, false]);
        work.push(all[3].work().begin());
        assert!(places.take(address("10.0.0.1")).is_none());
        let mut other = places.take(address("10.0.0.2")).unwrap();
        assert!(lost(&mut all[0]) && !lost(&mut all[1]) && !lost(&mut other));
        // What has ended is idle again.
        drop(work);
        assert!(places.take(address("10.0.0.1")).is_some());
        assert!(lost(&mut all[1]) && !lost(&mut other));
    }

    #[test]
    fn a_place_without_work_is_taken_back_in_time() {
        let places = Places::new(2, WhenFull::ReplaceIdle);
        let mut idle = places.take(address("10.0.0.1")).unwrap();
        let mut busy = places.take(address("10.0.0.1")).unwrap();
        let work = busy.work().begin();
        places.end_idle(Duration::from_secs(60));
        assert!(!lost(&mut idle));
        places.end_idle(Duration::ZERO);
        assert!(lost(&mut idle) && !lost(&mut busy));
        drop(work);
        places.end_idle(Duration::ZERO);
        assert!(lost(&mut busy));
        drop((idle, busy));
        let taken = places.taken();
        assert!(taken.places.is_empty() && taken.counts.is_empty());
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
