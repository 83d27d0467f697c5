//! The history's objects in a store, by their typed names.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use nacre_history::{Expect, History, Invalid, Lookup, ObjectKey, Objects, Rules};
use nacre_store::{Found, Latest, Object, Put, Store, StoreError, StoreKey, Swap, Version};
use tokio::runtime::Handle;

use crate::denied::Denied;

/// How long one operation of a store may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store, with a limit on how long each operation may take.
#[derive(Clone, Debug)]
pub(crate) struct Storage(Arc<dyn Store>);

impl Storage {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// The bytes of an object. Not checked, and not for `latest`.
    pub(crate) async fn read(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, Denied> {
        let key = name(key)?;
        within(self.0.read(&key)).await
    }

    /// The bytes of an object that has to be there and to be what its name says.
    pub(crate) async fn checked(&self, key: ObjectKey) -> Result<Vec<u8>, Denied> {
        let bytes = self.read(&key).await?;
        let bytes = bytes.ok_or(Invalid::Missing { key })?;
        if !key.holds(&bytes) {
            return Err(Invalid::Tampered { key }.into());
        }
        Ok(bytes)
    }

    /// Objects in the order of their keys, looked up together: the caller says how many that are.
    async fn read_all(&self, keys: &[ObjectKey]) -> Result<Vec<Found>, Denied> {
        let keys: Result<Arc<[StoreKey]>, Denied> = keys.iter().map(name).collect();
        within(self.0.read_all(keys?)).await
    }

    /// Which of these objects have something under their name in the store, whatever it is.
    pub(crate) async fn there(&self, keys: &[ObjectKey]) -> Result<Vec<bool>, Denied> {
        let keys: Result<Arc<[StoreKey]>, Denied> = keys.iter().map(name).collect();
        within(self.0.there(keys?)).await
    }

    /// Of objects in the order of their keys, the bytes of each that is what its name says; nothing of one
    /// that is damaged, which [`write`](Self::write) would repair.
    pub(crate) async fn intact(&self, keys: &[ObjectKey]) -> Result<Vec<Option<Vec<u8>>>, Denied> {
        let found = self.read_all(keys).await?.into_iter();
        found
            .zip(keys)
            .map(|(found, key)| match found.map_err(Denied::from) {
                Ok(bytes) => Ok(bytes.filter(|bytes| key.holds(bytes))),
                Err(error) if is_damage(&error) => Ok(None),
                Err(error) => Err(error),
            })
            .collect()
    }

    /// Writes an object. Whatever stands there under its name, put there by somebody whose `latest` never
    /// moved or by somebody else, or damaged, gives way.
    pub(crate) async fn write(&self, key: &ObjectKey, bytes: &[u8]) -> Result<(), Denied> {
        self.replace_unless_same(&name(key)?, bytes).await
    }

    async fn replace_unless_same(&self, key: &StoreKey, bytes: &[u8]) -> Result<(), Denied> {
        match within(self.0.put(key, bytes)).await {
            Ok(Put::Stored | Put::Same) => Ok(()),
            Ok(Put::Different) => within(self.0.replace(key, bytes)).await,
            Err(error) if is_damage(&error) => within(self.0.replace(key, bytes)).await,
            Err(error) => Err(error),
        }
    }

    /// Writes objects, each as [`write`](Self::write) does; all survive a crash afterwards.
    pub(crate) async fn write_all(&self, objects: Vec<(ObjectKey, Vec<u8>)>) -> Result<(), Denied> {
        let objects: Result<Vec<Object>, Denied> = objects
            .into_iter()
            .map(|(key, bytes)| {
                Ok(Object {
                    key: name(&key)?,
                    bytes,
                })
            })
            .collect();
        let objects: Arc<[Object]> = objects?.into();
        let ends = match within(self.0.put_all(Arc::clone(&objects))).await {
            // It does not say which; each by itself is repaired.
            Err(error) if is_damage(&error) => {
                for object in objects.iter() {
                    self.replace_unless_same(&object.key, &object.bytes).await?;
                }
                return Ok(());
            }
            ends => ends?,
        };
        if ends.len() != objects.len() {
            return Err(Denied::Internal("the answer of the store"));
        }
        for (object, end) in objects.iter().zip(ends) {
            match end {
                Put::Stored | Put::Same => {}
                Put::Different => within(self.0.replace(&object.key, &object.bytes)).await?,
            }
        }
        Ok(())
    }

    pub(crate) async fn latest(&self) -> Result<Option<Latest>, Denied> {
        within(self.0.latest()).await
    }

    /// Moves `latest`; `None` when somebody else moved it before.
    pub(crate) async fn swap(
        &self,
        expected: Option<&Version>,
        bytes: &[u8],
    ) -> Result<Option<Version>, Denied> {
        match within(self.0.swap(expected, bytes)).await? {
            Swap::Moved(version) => Ok(Some(version)),
            Swap::Lost => Ok(None),
        }
    }

    /// Waits until `latest` is another one.
    pub(crate) async fn changed(&self, seen: Option<&Version>) -> Result<Option<Latest>, Denied> {
        Ok(self.0.changed(seen).await?)
    }

    /// Checks the history that `latest` leads to: whole, or what of it is new behind a known one.
    pub(crate) async fn validate(
        &self,
        latest: Vec<u8>,
        rules: Rules,
        known: Option<History>,
    ) -> Result<History, Denied> {
        let view = View {
            storage: self.clone(),
            latest,
            runtime: Handle::current(),
        };
        let expect = Expect::complete().lean();
        let work = move || match known {
            Some(known) => nacre_history::validate_after(&known, &view, &rules, &expect),
            None => nacre_history::validate(&view, &rules, &expect),
        };
        let history = tokio::task::spawn_blocking(work).await;
        Ok(history.map_err(|_| Denied::Internal("validation was given up"))??)
    }
}

async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, Denied> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Denied::StoreSlow { limit: PATIENCE }),
    }
}

/// Writing it again mends it.
fn is_damage(error: &Denied) -> bool {
    matches!(error, Denied::Store(error) if error.is_damage())
}

fn name(key: &ObjectKey) -> Result<StoreKey, Denied> {
    StoreKey::new(&key.to_string()).map_err(|_| Denied::Internal("the name of an object"))
}

/// The store as [`nacre_history::validate`] wants it, for a thread that may block.
struct View {
    storage: Storage,
    latest: Vec<u8>,
    runtime: Handle,
}

impl Objects for View {
    fn object(&self, key: &ObjectKey) -> Lookup<'_> {
        if *key == ObjectKey::Latest {
            return Ok(Some(Cow::Borrowed(&self.latest)));
        }
        let bytes = self.runtime.block_on(self.storage.read(key))?;
        Ok(bytes.map(Cow::Owned))
    }

    fn objects(&self, keys: &[ObjectKey]) -> Vec<Lookup<'_>> {
        match self.runtime.block_on(self.storage.read_all(keys)) {
            Ok(found) => {
                let found = found.into_iter();
                found.map(|bytes| Ok(bytes?.map(Cow::Owned))).collect()
            }
            // Whoever asked looks at the first one first.
            Err(error) => vec![Err(error.into())],
        }
    }
}
