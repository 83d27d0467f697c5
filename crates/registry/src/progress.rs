//! Telling somebody how far it is.

/// What happens while images are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Work on an image begins.
    Started {
        /// Its reference as written.
        image: String,
    },
    /// The layers of an image are searched for passwd and group.
    Layer {
        /// The image.
        image: String,
        /// Compressed size in bytes.
        bytes: u64,
    },
    /// Bytes came from a registry.
    Received {
        /// How many since the last event.
        bytes: u64,
    },
    /// Work on an image ended.
    Finished {
        /// Its reference as written.
        image: String,
        /// Whether it is resolved.
        resolved: bool,
    },
}

/// Takes [`Event`]s, from several threads.
pub trait Progress: Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// Nobody is looking.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event) {}
}
