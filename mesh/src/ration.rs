//! How often the same thing is said in the log: strangers decide how often it happens.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time in which so many lines of a kind are written.
const WINDOW: Duration = Duration::from_secs(10);
/// Lines of a kind in that time.
const LINES: u32 = 20;

/// What may be said of one kind of event. The metrics count all of them.
#[derive(Debug, Default)]
pub(crate) struct Ration(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    said: u32,
    unsaid: u64,
}

impl Ration {
    /// Whether it may be said now, and then how many times it was not said before.
    pub(crate) fn may(&self) -> Option<u64> {
        self.may_at(Instant::now())
    }

    fn may_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window
            .begun
            .is_none_or(|begun| now.duration_since(begun) >= WINDOW)
        {
            window.begun = Some(now);
            window.said = 0;
        }
        if window.said == LINES {
            window.unsaid += 1;
            return None;
        }
        window.said += 1;
        Some(std::mem::take(&mut window.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_by_its_number() {
        let ration = Ration::default();
        let begin = Instant::now();
        let said = (0..1000).filter(|_| ration.may_at(begin).is_some()).count();
        assert_eq!(said, 20);
        assert_eq!(ration.may_at(begin + WINDOW), Some(980));
        assert_eq!(ration.may_at(begin + WINDOW), Some(0));
    }
}
