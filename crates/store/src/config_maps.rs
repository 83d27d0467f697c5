//! ConfigMaps of a Kubernetes namespace: what a Coordinator in a cluster uses.
//!
//! ```text
//! nacre-store-latest                 binaryData: data
//! nacre-store-<kind>-<hash>          binaryData: data; annotations: parts, bytes
//! nacre-store-<kind>-<hash>.<n>      the n-th further part of a large object
//! nacre-store-pack.<hash>            binaryData: data, many objects, compressed; annotation: list
//! ```
//! A ConfigMap holds 1 MiB, so large objects are split. Further parts are written first: an object is
//! there when its first ConfigMap is and says of how many parts it consists; `0` is one that is being
//! written anew. Nothing is ever removed. `latest` moves by the API server's `resourceVersion`. The service
//! account needs `get, list, watch, create, update` on ConfigMaps of its namespace.
//!
//! Many small objects that are written together share packs (`packs.rs`). An object of its own counts before one in a
//! pack: it is newer, what [`Store::replace`] wrote. Only where the pack's is what its name says, the other is not asked for:
//! each question takes as long as a read of the whole pack. What has lost its labels is not in lists: an object of its own is
//! found by its name all the same, the objects of a pack are missing.
//!
//! Two writers of different large objects under one name could leave a mixture of their parts. Objects are
//! named by their hash, so whoever reads finds that out.

mod objects;
mod packs;
mod requests;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio_stream::StreamExt as _;

use crate::error::StoreError;
use crate::key::StoreKey;
use crate::pack::MANY;
use crate::{Found, Later, Latest, Object, Put, Store, Swap, Version, check_size};
use objects::object_name;
use packs::{Pack, Packs};
use requests::{data, each, failed, map};

/// Bytes in one ConfigMap. The API server allows 1 MiB for all values; the rest is for what stands around.
const PART: usize = 900 << 10;
const PREFIX: &str = "nacre-store";
/// How long one watch goes on, in seconds; then `latest` is read again, in case an event was lost.
const WATCH_SECONDS: u32 = 60;
/// So many objects that are looked for one by one cost about as much as a page of a list.
const OF_A_PAGE: usize = 8;

/// A history in ConfigMaps.
#[derive(Clone)]
pub struct ConfigMaps {
    api: Api<ConfigMap>,
    client: Client,
    namespace: String,
    /// ConfigMaps of one page of a list.
    page: u32,
    packs: Arc<Packs>,
}

impl ConfigMaps {
    /// The cluster of the user's kubeconfig, else that of the pod's service account; without a namespace
    /// the one that stands there.
    pub async fn connect(namespace: Option<&str>) -> Result<Self, StoreError> {
        let client = Client::try_default().await;
        let client = client.map_err(failed(namespace.unwrap_or("namespace")))?;
        let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
        Ok(Self::new(client, &namespace))
    }

    /// The namespace, through a client that is there.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            client,
            namespace: namespace.to_owned(),
            page: 500,
            packs: Arc::default(),
        }
    }

    /// The same, with another number of ConfigMaps in a page of a list.
    #[must_use]
    pub fn with_pages_of(self, page: u32) -> Self {
        Self { page, ..self }
    }

    /// What is there under these names. What a pack has and is what its name says is that, whatever else there may be.
    /// Of the rest, objects of their own first.
    async fn read_objects(&self, keys: Arc<[StoreKey]>) -> Result<Vec<Found>, StoreError> {
        let mut found: Vec<Found> = keys.iter().map(|_| Ok(None)).collect();
        self.read_packed(&keys, &mut found).await;
        let unsure = |(key, found): (&StoreKey, &Found)| match found {
            Ok(Some(bytes)) => !key.is_sha256_of(bytes),
            _ => true,
        };
        let unsure = keys.iter().zip(&found).map(unsure).enumerate();
        let asked: Arc<[usize]> = unsure
            .filter_map(|(at, unsure)| unsure.then_some(at))
            .collect();
        let own = {
            let (this, keys, asked) = (self.clone(), Arc::clone(&keys), Arc::clone(&asked));
            each(asked.len(), move |at| {
                let key = asked.get(at).and_then(|at| keys.get(*at));
                let (this, key) = (this.clone(), key.cloned());
                async move { this.read_own(&key.ok_or(StoreError::GivenUp)?).await }
            })
        };
        for (at, own) in asked.iter().zip(own.await?) {
            if let Some(found) = found.get_mut(*at)
                && !matches!(own, Ok(None))
            {
                *found = own;
            }
        }
        let mut looked = false;
        for (key, found) in keys.iter().zip(&mut found) {
            if matches!(found, Ok(None))
                && let Err(error) = self.look_for(key, &mut looked).await
            {
                *found = Err(error);
            }
        }
        self.read_packed(&keys, &mut found).await;
        Ok(found)
    }

    /// Whether something stands under each of these names.
    async fn find(&self, keys: &[StoreKey]) -> Result<Vec<bool>, StoreError> {
        // Many are looked for in a list, unless the history is so long that it costs more.
        let listed = match keys.len() < MANY {
            true => None,
            false => self.list_all(keys.len() / OF_A_PAGE).await?,
        };
        let own = match listed {
            Some(own) => own,
            None => self.find_own(keys).await?,
        };
        let there = |key| own.contains(&object_name(key)) || self.packs.has(key);
        Ok(keys.iter().map(there).collect())
    }

    async fn find_own(&self, keys: &[StoreKey]) -> Result<BTreeSet<String>, StoreError> {
        let mut looked = false;
        for key in keys {
            self.look_for(key, &mut looked).await?;
        }
        let unknown = keys.iter().filter(|key| !self.packs.has(key));
        let names: Arc<[String]> = unknown.map(object_name).collect();
        let found = {
            let (this, names) = (self.clone(), Arc::clone(&names));
            each(names.len(), move |at| {
                let (this, name) = (this.clone(), names.get(at).cloned());
                async move { this.is_there(&name.ok_or(StoreError::GivenUp)?).await }
            })
        };
        let mut own = BTreeSet::new();
        for (name, found) in names.iter().zip(found.await?) {
            if found? {
                own.insert(name.clone());
            }
        }
        Ok(own)
    }

    /// What is there, as a [`Put`] of each of these objects finds it; `None` if there is nothing.
    async fn compare(&self, objects: &[&Object]) -> Result<Vec<Option<Put>>, StoreError> {
        let keys = objects.iter().map(|object| object.key.clone()).collect();
        let found = self.read_objects(keys).await?;
        let ends = found.into_iter().zip(objects);
        ends.map(|(found, object)| match found {
            Ok(found) => Ok(found.map(|found| match found == object.bytes {
                true => Put::Same,
                false => Put::Different,
            })),
            // What cannot be read is another object.
            Err(error) if error.is_damage() => Ok(Some(Put::Different)),
            Err(error) => Err(error),
        })
        .collect()
    }

    async fn put_objects(&self, objects: Arc<[Object]>) -> Result<Vec<Put>, StoreError> {
        let sizes = objects.iter().map(|object| check_size(&object.bytes));
        sizes.collect::<Result<(), StoreError>>()?;
        let there = self.there_before(&objects).await?;
        let mut ends = vec![None; objects.len()];
        let old: Vec<usize> = (0..objects.len())
            .filter(|at| there.get(*at).is_some_and(|there| *there))
            .collect();
        self.compare_into(&mut ends, &objects, &old).await?;
        let new = |ends: &[Option<Put>], small: bool| -> Vec<usize> {
            let all = objects.iter().enumerate();
            all.filter(|(at, object)| {
                let fits = !small || object.bytes.len() <= PART;
                fits && ends.get(*at).is_some_and(Option::is_none)
            })
            .map(|(at, _)| at)
            .collect()
        };
        let small = new(&ends, true);
        if small.len() >= MANY {
            let packed: Vec<&Object> = small.iter().filter_map(|at| objects.get(*at)).collect();
            let written = self.write_packs(Pack::of(&packed, &self.packs)).await?;
            let mut raced = Vec::new();
            for (at, stored) in small.into_iter().zip(written) {
                match (stored, ends.get_mut(at)) {
                    (true, Some(end)) => *end = Some(Put::Stored),
                    _ => raced.push(at),
                }
            }
            self.compare_into(&mut ends, &objects, &raced).await?;
        }
        let rest: Arc<[usize]> = new(&ends, false).into();
        let written = {
            let (this, rest, objects) = (self.clone(), Arc::clone(&rest), Arc::clone(&objects));
            each(rest.len(), move |at| {
                let (this, objects) = (this.clone(), Arc::clone(&objects));
                let at = rest.get(at).copied().unwrap_or_default();
                async move {
                    let object = objects.get(at).ok_or(StoreError::GivenUp)?;
                    this.put_own(object).await
                }
            })
        };
        for (at, put) in rest.iter().zip(written.await?) {
            if let Some(end) = ends.get_mut(*at) {
                *end = Some(put?);
            }
        }
        let ends: Option<Vec<Put>> = ends.into_iter().collect();
        ends.ok_or(StoreError::GivenUp)
    }

    /// Which of these objects have to be compared before any is written. Of few, an object of its own is found when it
    /// cannot be created.
    async fn there_before(&self, objects: &[Object]) -> Result<Vec<bool>, StoreError> {
        let keys: Vec<StoreKey> = objects.iter().map(|object| object.key.clone()).collect();
        if keys.len() >= MANY {
            return self.find(&keys).await;
        }
        let mut looked = false;
        for key in &keys {
            self.look_for(key, &mut looked).await?;
        }
        Ok(keys.iter().map(|key| self.packs.has(key)).collect())
    }

    async fn compare_into(
        &self,
        ends: &mut [Option<Put>],
        objects: &[Object],
        which: &[usize],
    ) -> Result<(), StoreError> {
        let compared: Vec<&Object> = which.iter().filter_map(|at| objects.get(*at)).collect();
        for (at, found) in which.iter().zip(self.compare(&compared).await?) {
            if let Some(end) = ends.get_mut(*at) {
                *end = found;
            }
        }
        Ok(())
    }

    async fn swap_latest(
        &self,
        expected: Option<&Version>,
        bytes: &[u8],
    ) -> Result<Swap, StoreError> {
        let mut wanted = map(latest_name(), bytes);
        let Some(Version(version)) = expected else {
            return Ok(match self.create(&wanted).await? {
                Some(version) => Swap::Moved(version),
                None => Swap::Lost,
            });
        };
        wanted.metadata.resource_version = Some(String::from_utf8_lossy(version).into_owned());
        Ok(match self.update(&wanted).await? {
            Some(version) => Swap::Moved(version),
            None => Swap::Lost,
        })
    }

    async fn wait(&self, seen: Option<&Version>) -> Result<Option<Latest>, StoreError> {
        let name = latest_name();
        let fields = format!("metadata.name={name}");
        loop {
            // A list says as of when nothing was there, which a get of nothing does not.
            let list = ListParams::default().fields(&fields);
            let list = self.api.list(&list).await.map_err(failed(&name))?;
            let as_of = list.metadata.resource_version.unwrap_or_default();
            let latest = list.items.into_iter().next().map(latest).transpose()?;
            if latest.as_ref().map(|latest| &latest.version) != seen {
                return Ok(latest);
            }
            let params = WatchParams::default()
                .fields(&fields)
                .timeout(WATCH_SECONDS);
            let events = self
                .api
                .watch(&params, &as_of)
                .await
                .map_err(failed(&name))?;
            let mut events = pin!(events);
            // Whatever happens is a reason to look again; the end of a watch is one too.
            match events.next().await {
                Some(Ok(WatchEvent::Error(status))) => {
                    tracing::debug!(%name, reason = status.message, "the watch begins anew");
                }
                Some(Err(error)) => return Err(failed(&name)(error)),
                Some(Ok(_)) | None => {}
            }
        }
    }
}

impl Store for ConfigMaps {
    fn read<'a>(&'a self, key: &'a StoreKey) -> Later<'a, Option<Vec<u8>>> {
        let all = self.read_all(Arc::new([key.clone()]));
        Box::pin(async { all.await?.pop().ok_or(StoreError::GivenUp)? })
    }

    fn read_all(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<Found>> {
        Box::pin(self.read_objects(keys))
    }

    fn there(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<bool>> {
        Box::pin(async move { self.find(&keys).await })
    }

    fn put<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, Put> {
        let object = Object {
            key: key.clone(),
            bytes: bytes.to_vec(),
        };
        let all = self.put_all(Arc::new([object]));
        Box::pin(async { all.await?.pop().ok_or(StoreError::GivenUp) })
    }

    fn put_all(&self, objects: Arc<[Object]>) -> Later<'_, Vec<Put>> {
        Box::pin(self.put_objects(objects))
    }

    fn replace<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, ()> {
        Box::pin(self.replace_own(key, bytes))
    }

    fn latest(&self) -> Later<'_, Option<Latest>> {
        Box::pin(async { self.get(&latest_name()).await?.map(latest).transpose() })
    }

    fn swap<'a>(&'a self, expected: Option<&'a Version>, bytes: &'a [u8]) -> Later<'a, Swap> {
        Box::pin(self.swap_latest(expected, bytes))
    }

    fn changed<'a>(&'a self, seen: Option<&'a Version>) -> Later<'a, Option<Latest>> {
        Box::pin(self.wait(seen))
    }
}

impl std::fmt::Debug for ConfigMaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConfigMaps({})", self.namespace)
    }
}

fn latest_name() -> String {
    format!("{PREFIX}-latest")
}

fn latest(map: ConfigMap) -> Result<Latest, StoreError> {
    let damaged = |what| StoreError::Damaged {
        object: latest_name(),
        what,
    };
    let version = map.metadata.resource_version.clone();
    let version = version.ok_or_else(|| damaged("it has no resourceVersion"))?;
    Ok(Latest {
        bytes: data(map).ok_or_else(|| damaged("it has no data"))?,
        version: Version(version.into_bytes()),
    })
}
