//! Why a store could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("{}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock and does not let go.
    #[error("{} is locked by another process for {limit:?}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
    },
    /// More bytes than an object may have.
    #[error("an object of {bytes} bytes, {limit} are allowed")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// What is there was not written by this program, or not completely.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// Which object.
        object: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The API server could not be reached, or refused.
    #[error("ConfigMap {object}")]
    Cluster {
        /// Which one, or the namespace.
        object: String,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The work was given up because the program ends.
    #[error("the work was given up")]
    GivenUp,
}

impl StoreError {
    /// Whether what stands there cannot be what was written: writing it again mends it, which mends no other error.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::TooLarge { .. })
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}
