//! How long a history may become.

use nacre_api::limits::{MAX_HISTORY, MAX_OBJECTS};
use nacre_history::History;

use crate::denied::Denied;

/// More than `latest` ever is, in bytes.
const LATEST: u64 = 4096;

/// What clients take of one history. An update beyond it would be the last one, and nobody could verify it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Objects.
    pub objects: usize,
    /// Bytes of all of them but `latest`.
    pub bytes: u64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            objects: MAX_OBJECTS,
            bytes: u64::try_from(MAX_HISTORY).map_or(u64::MAX, |most| most.saturating_sub(LATEST)),
        }
    }
}

impl Capacity {
    /// Whether a history of so many may be.
    pub(crate) fn admits(&self, objects: usize, bytes: u64) -> Result<(), Denied> {
        if objects > self.objects || bytes > self.bytes {
            let capacity = *self;
            return Err(Denied::HistoryFull {
                objects,
                bytes,
                capacity,
            });
        }
        Ok(())
    }

    /// Whether four fifths of it are used.
    pub(crate) fn is_short(&self, history: &History) -> bool {
        let objects = history.objects().len();
        objects > self.objects / 5 * 4 || history.bytes() > self.bytes / 5 * 4
    }
}
