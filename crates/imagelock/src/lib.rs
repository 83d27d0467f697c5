//! The image lock: digest and configuration facts of every image, read offline.
//!
//! Pure types: parsing, printing, look-up and merging. Nothing here opens a file or a socket;
//! `nacre-registry` fills a lock, and the transformation reads it. See [`ImageLock`] for an
//! example.
//!
//! What it does not do: prove that the facts belong to the digest. They were verified against
//! it when the lock was written; a lock is trusted as the rest of the rendered deployment is.

pub use digest::{Digest, DigestError};
pub use entry::{
    Entry, ImageFacts, Layer, Platform, PlatformError, STAND_IN_LABEL, Source, TEST_ROOT_LABEL,
};
pub use lock::{Conflict, DEFAULT_NAME, ImageLock, LookupError, MergeError, differences};
pub use read::{InvalidLock, Problem};
pub use reference::{ImageReference, Reason, ReferenceError};
pub use user::{
    GroupEntry, PasswdEntry, ResolvedUser, UserDatabase, UserError, UserRequest, needs_database,
    resolve, resolve_image_user,
};
pub use write::{API_VERSION, KIND};

mod digest;
mod entry;
mod lock;
mod read;
mod reference;
mod user;
mod write;
