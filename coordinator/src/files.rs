//! How many files may be open: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::run::CONNECTIONS;

/// Files that are open besides connections: listeners, the history, guests' reports.
const OTHERS: u64 = 128;
/// Those that are open when every place is taken.
const NEEDED: u64 = CONNECTIONS as u64 + OTHERS;

/// Raises the limit on open files as far as this process may. What remains short stands in the log: connections
/// beyond it wait until others end.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(errno) => {
            let reason = std::io::Error::from(errno).to_string();
            tracing::warn!(reason, "the limit on open files stays as it is");
            limit.current
        }
    };
    if let Some(files) = files.filter(|files| *files < NEEDED) {
        tracing::warn!(
            files,
            needed = NEEDED,
            "the limit on open files is less than all ports may need: raise the hard limit of the container"
        );
    }
}
