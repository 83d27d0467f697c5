//! How many connections there is room for, and how much they may keep.
//!
//! A proxy that takes more than it has memory for is ended by the kernel, and every connection with
//! it. So the numbers are fixed at the start, for the worst that connections can do, and what does not fit
//! waits. Who has shown nothing yet takes no place of those who have, and nobody outside takes one of the
//! application's.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use nacre_meshconfig::Ingress;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// More than a port has room for anyway.
const MOST: u64 = 64_000;
/// Fewer make no proxy.
const FEWEST: u64 = 64;
/// Files that are open besides connections, which take two each.
const OTHER_FILES: u64 = 128;
/// Bytes of memory for the process without connections.
const BASE: u64 = 16 << 20;
/// Bytes of memory for one connection: TLS, task, two sockets, and what it may keep when nothing else is
/// left: a record that has not come whole or is not taken, and a little in the other direction.
const EACH: u64 = 32 << 10;
/// What all connections together may keep beyond that: this part of the memory.
const KEPT_PART: u64 = 8;
/// This part of the places of a listener is for handshakes.
const HANDSHAKE_PART: usize = 4;
/// Places of a listener that has nothing to do but to close.
const IDLE: usize = 16;

/// Where the memory limit of the container stands: control groups version 2 and 1.
const MEMORY_LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Numbers of connections at once, and what they may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The listener that demands a client certificate.
    pub mutual: Door,
    /// The listener that does not.
    pub server_only: Door,
    /// All egress listeners together.
    pub egress: usize,
    /// Bytes that all connections together keep before each keeps the least it can.
    pub kept: usize,
}

/// Numbers of connections at one intercepted listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// Those that have not shown who they are.
    pub handshakes: usize,
    /// Those that have.
    pub established: usize,
}

impl Room {
    /// Raises the limit on open files as far as it goes and shares out what there is between the listeners
    /// that a configuration uses.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let files = raise(getrlimit(Resource::Nofile));
        let memory = MEMORY_LIMITS
            .iter()
            .find_map(|file| limit(std::fs::read_to_string(Path::new(file)).ok()?.trim()));
        let (mutual, server_only) = match &config.ingress {
            Ingress::Disabled => (false, false),
            Ingress::Enabled(entries) => (true, entries.iter().any(|entry| !entry.disable_tls)),
        };
        let uses = [mutual, server_only, !config.egress.is_empty()];
        Self {
            kept: kept(memory),
            ..Self::share(fit(files, memory), uses)
        }
    }

    fn share(connections: usize, [mutual, server_only, egress]: [bool; 3]) -> Self {
        let uses = [mutual, server_only, egress];
        let parts = uses.into_iter().filter(|is_used| *is_used).count().max(1);
        let part = |is_used| if is_used { connections / parts } else { IDLE };
        let door = |is_used| {
            let handshakes = part(is_used) / HANDSHAKE_PART;
            Door {
                handshakes,
                established: part(is_used) - handshakes,
            }
        };
        Self {
            mutual: door(mutual),
            server_only: door(server_only),
            egress: part(egress),
            kept: usize::MAX,
        }
    }
}

/// What all connections keep because it cannot go on yet.
#[derive(Debug)]
pub struct Pool {
    kept: AtomicUsize,
    most: usize,
}

impl Pool {
    /// For so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            kept: AtomicUsize::new(0),
            most,
        }
    }

    /// The part of one connection, which is nothing yet.
    pub(crate) fn part(&self) -> Part<'_> {
        Part {
            pool: self,
            bytes: 0,
        }
    }
}

/// What is left of a [`Pool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// More than half.
    Plenty,
    /// Less than half: nobody is to keep much at once.
    Little,
    /// Nothing: only the least is to be kept.
    Nothing,
}

/// What one connection keeps, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pool: &'a Pool,
    bytes: usize,
}

impl Part<'_> {
    /// How much may be kept from now on. Each thread may be wrong by what it keeps at once.
    pub(crate) fn left(&self) -> Left {
        let kept = self.pool.kept.load(Ordering::Relaxed);
        if kept >= self.pool.most {
            Left::Nothing
        } else if kept >= self.pool.most / 2 {
            Left::Little
        } else {
            Left::Plenty
        }
    }

    /// It is so many bytes now.
    pub(crate) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(0) => return,
            Some(more) => self.pool.kept.fetch_add(more, Ordering::Relaxed),
            None => self
                .pool
                .kept
                .fetch_sub(self.bytes - bytes, Ordering::Relaxed),
        };
        self.bytes = bytes;
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The number of files after the limit has been raised; None where there is none.
fn raise(limit: Rlimit) -> Option<u64> {
    let wanted = MOST * 2 + OTHER_FILES;
    // As much as is needed, or as much as there is.
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    match limit.current {
        Some(current) if current < raised => {
            let limit = Rlimit {
                current: Some(raised),
                ..limit
            };
            match setrlimit(Resource::Nofile, limit) {
                Ok(()) => Some(raised),
                Err(_) => Some(current),
            }
        }
        current => current,
    }
}

/// Bytes; None for `max`, as version 2 has it, and for the huge number of version 1.
fn limit(text: &str) -> Option<u64> {
    text.parse().ok().filter(|bytes| *bytes < 1 << 60)
}

fn fit(files: Option<u64>, memory: Option<u64>) -> usize {
    let by_files = files.map_or(MOST, |files| files.saturating_sub(OTHER_FILES) / 2);
    let by_memory = memory.map_or(MOST, |bytes| {
        bytes.saturating_sub(BASE + bytes / KEPT_PART) / EACH
    });
    let room = by_files.min(by_memory).clamp(FEWEST, MOST);
    usize::try_from(room).unwrap_or(usize::MAX)
}

fn kept(memory: Option<u64>) -> usize {
    memory.map_or(usize::MAX, |bytes| {
        usize::try_from(bytes / KEPT_PART).unwrap_or(usize::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcer_of_files_and_memory_decides() {
        assert_eq!(fit(None, None), 64_000);
        assert_eq!(fit(Some(1024), None), 448);
        assert_eq!(fit(Some(1 << 20), Some(64 << 20)), 1280);
        assert_eq!(fit(Some(0), Some(0)), 64);
    }

    #[test]
    fn everybody_has_a_share() {
        let room = Room::share(1280, [true, false, false]);
        assert_eq!(
            (room.mutual.handshakes, room.mutual.established),
            (320, 960)
        );
        let room = Room::share(1280, [true, false, true]);
        assert_eq!(
            (room.mutual.handshakes, room.mutual.established),
            (160, 480)
        );
        assert_eq!((room.server_only.established, room.egress), (12, 640));
        let room = Room::share(64, [true, true, true]);
        assert_eq!((room.server_only.handshakes, room.egress), (5, 21));
    }

    #[test]
    fn what_is_kept_is_counted_until_the_connection_ends() {
        let pool = Pool::new(100);
        let (mut one, mut other) = (pool.part(), pool.part());
        one.set(10);
        other.set(39);
        assert_eq!(one.left(), Left::Plenty);
        other.set(40);
        assert_eq!(one.left(), Left::Little);
        one.set(59);
        assert_eq!(other.left(), Left::Little);
        one.set(60);
        assert_eq!(other.left(), Left::Nothing);
        one.set(59);
        assert_eq!(other.left(), Left::Little);
        other.set(41);
        assert_eq!(other.left(), Left::Nothing);
        drop(one);
        assert_eq!(other.left(), Left::Plenty);
        drop(other);
        assert_eq!(pool.kept.into_inner(), 0);
    }

    #[test]
    fn limits_of_both_versions() {
        assert_eq!(limit("67108864"), Some(64 << 20));
        assert_eq!(limit("max"), None);
        assert_eq!(limit("9223372036854771712"), None);
    }
}
