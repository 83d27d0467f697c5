//! SIGINT and SIGTERM as a question that can be asked between two files.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Remembers the first signal that arrives while it exists.
///
/// Made only around writes in place: while it exists, Ctrl-C does not end the process by itself.
#[derive(Debug)]
pub struct Stop {
    arrived: Arc<AtomicUsize>,
    registrations: Vec<signal_hook::SigId>,
}

impl Stop {
    /// Starts to listen.
    pub fn watch() -> io::Result<Self> {
        let arrived = Arc::new(AtomicUsize::new(0));
        let mut registrations = Vec::new();
        for (signal, number) in [(SIGINT, 2), (SIGTERM, 15)] {
            registrations.push(signal_hook::flag::register_usize(
                signal,
                Arc::clone(&arrived),
                number,
            )?);
        }
        Ok(Self {
            arrived,
            registrations,
        })
    }

    /// The signal that has arrived: 2 for SIGINT, 15 for SIGTERM.
    pub fn signal(&self) -> Option<i32> {
        match self.arrived.load(Ordering::SeqCst) {
            0 => None,
            number => i32::try_from(number).ok(),
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            signal_hook::low_level::unregister(registration);
        }
    }
}
