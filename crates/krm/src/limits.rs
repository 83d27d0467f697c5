//! How much of a text is read before it is refused.

/// Bounds on input; going over one is an [`Error`](crate::Error), never a truncation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of text. Default 64 MiB: four times a stream of 10 000 Deployments.
    pub bytes: usize,
    /// Collections inside each other, aliases expanded. Default 100; JSON readers stop at 128.
    pub depth: usize,
    /// Values of one document after its aliases are expanded. Default 1 000 000. A document
    /// without aliases is bounded by its size alone.
    pub expansion: usize,
    /// Documents in a stream. Default 200 000.
    pub documents: usize,
    /// Threads that parse a large stream; 0 is as many as the machine has cores.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            depth: 100,
            expansion: 1_000_000,
            documents: 200_000,
            threads: 0,
        }
    }
}

impl Limits {
    /// The defaults, with this many threads.
    pub fn with_threads(threads: usize) -> Self {
        Self {
            threads,
            ..Self::default()
        }
    }
}
