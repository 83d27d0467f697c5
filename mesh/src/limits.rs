//! How many connections there is room for.
//!
//! A proxy that takes more than it has memory for is ended by the kernel, and every connection with
//! it. So the number is fixed at the start, and what does not fit waits in the listen queue.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than a port has room for anyway.
const MOST: u64 = 64_000;
/// Fewer make no proxy.
const FEWEST: u64 = 64;
/// Files that are open besides connections, which take two each.
const OTHER_FILES: u64 = 128;
/// Bytes of memory for the process without connections.
const BASE: u64 = 16 << 20;
/// Bytes of memory for one connection: TLS, task, and two sockets whose buffers are full for a while.
const EACH: u64 = 16 << 10;

/// Where the memory limit of the container stands: control groups version 2 and 1.
const MEMORY_LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// Raises the limit on open files as far as it goes and says how many connections fit then.
#[must_use]
pub fn connections() -> usize {
    let files = raise(getrlimit(Resource::Nofile));
    let memory = MEMORY_LIMITS
        .iter()
        .find_map(|file| limit(std::fs::read_to_string(Path::new(file)).ok()?.trim()));
    fit(files, memory)
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
    let by_memory = memory.map_or(MOST, |bytes| bytes.saturating_sub(BASE) / EACH);
    let room = by_files.min(by_memory).clamp(FEWEST, MOST);
    usize::try_from(room).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scarcer_of_files_and_memory_decides() {
        assert_eq!(fit(None, None), 64_000);
        assert_eq!(fit(Some(1024), None), 448);
        assert_eq!(fit(Some(1 << 20), Some(64 << 20)), 3072);
        assert_eq!(fit(Some(0), Some(0)), 64);
    }

    #[test]
    fn limits_of_both_versions() {
        assert_eq!(limit("67108864"), Some(64 << 20));
        assert_eq!(limit("max"), None);
        assert_eq!(limit("9223372036854771712"), None);
    }
}
