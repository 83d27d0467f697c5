//! A clock for what is looked at often.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of a clock that is read without asking the kernel and goes in steps of its tick.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}
