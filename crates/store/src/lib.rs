//! Where a Coordinator keeps its history: a directory, or ConfigMaps of its cluster.
//!
//! ```
//! use nacre_store::{Directory, Put, Store, StoreKey};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("nacre-store-{}", std::process::id()));
//! let store = Directory::open(&folder)?;
//! let key = StoreKey::new(&format!("manifests/{}", "0".repeat(64)))?;
//! assert_eq!(store.put(&key, b"{}").await?, Put::Stored);
//! assert_eq!(store.read(&key).await?.as_deref(), Some(&b"{}"[..]));
//! assert!(store.latest().await?.is_none());
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: believe what it reads. A store is in the host's hands; hashes and signatures are
//! checked by whoever reads. Its compare-and-swap keeps honest writers from losing each other's updates
//! and is no boundary against anybody.

mod config_maps;
mod directory;
mod error;
mod files;
mod key;
mod pack;
mod packs;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

pub use config_maps::ConfigMaps;
pub use directory::Directory;
pub use error::StoreError;
pub use key::{BadKey, StoreKey};

/// Largest object that is written or read, in bytes.
pub const MAX_OBJECT: usize = 16 << 20;

/// The answer of a store, later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What a lookup gives: the bytes, nothing, or why it failed.
pub type Found = Result<Option<Vec<u8>>, StoreError>;

/// What a history is kept in: objects that never change, and one `latest` that moves.
pub trait Store: Send + Sync + fmt::Debug {
    /// The bytes of an object; `None` if there is none.
    fn read<'a>(&'a self, key: &'a StoreKey) -> Later<'a, Option<Vec<u8>>>;

    /// Objects in the order of their names, each as [`Store::read`] gives it. The caller says how many are in memory at
    /// a time.
    fn read_all(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<Found>>;

    /// Whether something stands under each of these names, in their order. It is not read: what it is, and whether it
    /// is whole, reading says.
    fn there(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<bool>>;

    /// Writes an object if there is none. When this returns, the object survives a crash.
    fn put<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, Put>;

    /// Writes objects of different names as [`Store::put`] does each, in any order, and says how each ended
    /// in theirs. When this returns, all of them survive a crash; after an error some may be there.
    ///
    /// Of several who write the same object at the same time one is told [`Put::Stored`] and the others
    /// [`Put::Same`]; where many are written together and in ConfigMaps, several may be told `Stored`. Of different
    /// objects under one name that were written so, one is read by everybody from then on.
    fn put_all(&self, objects: Arc<[Object]>) -> Later<'_, Vec<Put>>;

    /// Writes an object whether there is one or not: for what is named by another object and was left
    /// behind by a writer that never moved `latest`.
    fn replace<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, ()>;

    /// What `latest` says; `None` if it was never written.
    fn latest(&self) -> Later<'_, Option<Latest>>;

    /// Moves `latest` if it still has the version that was expected, or was never written for `None`.
    fn swap<'a>(&'a self, expected: Option<&'a Version>, bytes: &'a [u8]) -> Later<'a, Swap>;

    /// Waits until `latest` has another version than `seen`. Waits for as long as it takes; errors come
    /// back, and the caller decides when to ask again.
    fn changed<'a>(&'a self, seen: Option<&'a Version>) -> Later<'a, Option<Latest>>;
}

/// An object to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its name.
    pub key: StoreKey,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How a [`Store::put`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is new.
    Stored,
    /// The same object was there.
    Same,
    /// Another object was there, and stays.
    Different,
}

/// How a [`Store::swap`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// `latest` moved and has this version now.
    Moved(Version),
    /// Somebody else moved it before.
    Lost,
}

/// What `latest` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// By which it is swapped.
    pub version: Version,
}

/// Tells one writing of `latest` from every other. Means something to the store it came from only.
#[derive(Clone, PartialEq, Eq)]
pub struct Version(pub(crate) Vec<u8>);

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match std::str::from_utf8(&self.0) {
            Ok(text) => text.to_owned(),
            Err(_) => hex::encode(&self.0),
        };
        write!(f, "Version({text})")
    }
}

fn check_size(bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() > MAX_OBJECT {
        return Err(StoreError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_OBJECT,
        });
    }
    Ok(())
}
