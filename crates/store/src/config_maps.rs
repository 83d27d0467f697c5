//! ConfigMaps of a Kubernetes namespace: what a Coordinator in a cluster uses.
//!
//! ```text
//! nacre-store-latest                 binaryData: data
//! nacre-store-<kind>-<hash>          binaryData: data; annotations: parts, bytes
//! nacre-store-<kind>-<hash>.<n>      the n-th further part of a large object
//! ```
//! A ConfigMap holds 1 MiB, so large objects are split. Further parts are written first: an object is
//! there when its first ConfigMap is and says of how many parts it consists; `0` is one that is being
//! written anew. Nothing is ever removed. `latest` moves by the API server's `resourceVersion`. The service
//! account needs `get, list, watch, create, update` on ConfigMaps of its namespace.
//!
//! Two writers of different large objects under one name could leave a mixture of their parts. Objects are
//! named by their hash, so whoever reads finds that out.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use crate::error::StoreError;
use crate::key::StoreKey;
use crate::{Found, Later, Latest, MAX_OBJECT, Object, Put, Store, Swap, Version, check_size};

/// Objects that are written at a time: the API server answers each when etcd has synced it, and etcd syncs
/// those together that come together.
const AT_A_TIME: usize = 16;
/// Bytes in one ConfigMap. The API server allows 1 MiB for all values; the rest is for what stands around.
const PART: usize = 900 << 10;
const PREFIX: &str = "nacre-store";
const DATA: &str = "data";
const PARTS: &str = "nacre.dev/parts";
const BYTES: &str = "nacre.dev/bytes";
/// Number of parts of an object that is being written anew.
const UNFINISHED: usize = 0;
/// By which an installation is listed and removed as a whole, as everything in `deploy/` is.
const LABELS: [(&str, &str); 3] = [
    ("app.kubernetes.io/name", "nacre-store"),
    ("app.kubernetes.io/part-of", "nacre"),
    ("app.kubernetes.io/managed-by", "nacre"),
];
/// How long one watch goes on, in seconds; then `latest` is read again, in case an event was lost.
const WATCH_SECONDS: u32 = 60;
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// A history in ConfigMaps.
#[derive(Clone)]
pub struct ConfigMaps {
    api: Api<ConfigMap>,
    namespace: String,
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
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
        }
    }

    async fn get(&self, name: &str) -> Result<Option<ConfigMap>, StoreError> {
        self.api.get_opt(name).await.map_err(failed(name))
    }

    /// `None` if there is one of that name.
    async fn create(&self, map: &ConfigMap) -> Result<Option<ConfigMap>, StoreError> {
        match self.api.create(&PostParams::default(), map).await {
            Ok(made) => Ok(Some(made)),
            Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(None),
            Err(error) => Err(failed(name_of(map))(error)),
        }
    }

    /// Writes over whatever has that name.
    async fn write(&self, mut map: ConfigMap) -> Result<(), StoreError> {
        loop {
            map.metadata.resource_version = None;
            if self.create(&map).await?.is_some() {
                return Ok(());
            }
            let Some(found) = self.get(name_of(&map)).await? else {
                continue;
            };
            map.metadata.resource_version = found.metadata.resource_version;
            let name = name_of(&map).to_owned();
            match self.api.replace(&name, &PostParams::default(), &map).await {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if [CONFLICT, NOT_FOUND].contains(&status.code) => {}
                Err(error) => return Err(failed(&name)(error)),
            }
        }
    }

    async fn read_object(&self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreError> {
        let name = object_name(key);
        let Some(first) = self.get(&name).await? else {
            return Ok(None);
        };
        let damaged = |what| StoreError::Damaged {
            object: key.to_string(),
            what,
        };
        let number = |annotation: &str| {
            let text = first.metadata.annotations.as_ref()?.get(annotation)?;
            text.parse::<usize>().ok()
        };
        let (parts, size) = number(PARTS)
            .zip(number(BYTES))
            .ok_or_else(|| damaged("its annotations do not say how much there is"))?;
        if parts == UNFINISHED {
            return Ok(None);
        }
        if size > MAX_OBJECT || parts > MAX_OBJECT / PART + 1 {
            return Err(StoreError::TooLarge {
                bytes: size,
                limit: MAX_OBJECT,
            });
        }
        let mut bytes = data(first).ok_or_else(|| damaged("it has no data"))?;
        for part in 1..parts {
            let map = self.get(&part_name(&name, part)).await?;
            let more = map
                .and_then(data)
                .ok_or_else(|| damaged("a part is missing"))?;
            bytes.extend_from_slice(&more);
        }
        if bytes.len() != size {
            return Err(damaged("it has another length than it says"));
        }
        Ok(Some(bytes))
    }

    /// What is there, as a [`Put`] of these bytes finds it; `None` if there is nothing. What cannot be read
    /// is another object.
    async fn compare(&self, key: &StoreKey, bytes: &[u8]) -> Result<Option<Put>, StoreError> {
        match self.read_object(key).await {
            Ok(found) => Ok(found.map(|found| match found == bytes {
                true => Put::Same,
                false => Put::Different,
            })),
            Err(StoreError::Damaged { .. } | StoreError::TooLarge { .. }) => {
                Ok(Some(Put::Different))
            }
            Err(error) => Err(error),
        }
    }

    /// The further parts of an object, and its first ConfigMap, which is for the caller to write.
    async fn write_parts(&self, name: &str, bytes: &[u8]) -> Result<ConfigMap, StoreError> {
        let (head, rest) = bytes.split_at(bytes.len().min(PART));
        let mut parts = 1;
        for chunk in rest.chunks(PART) {
            self.write(map(part_name(name, parts), chunk)).await?;
            parts += 1;
        }
        Ok(first(name, head, parts, bytes.len()))
    }

    async fn put_object(&self, key: &StoreKey, bytes: &[u8]) -> Result<Put, StoreError> {
        check_size(bytes)?;
        // Parts of an object that is there must not be touched.
        if bytes.len() > PART
            && let Some(end) = self.compare(key, bytes).await?
        {
            return Ok(end);
        }
        let name = object_name(key);
        let first = self.write_parts(&name, bytes).await?;
        if self.create(&first).await?.is_some() {
            return Ok(Put::Stored);
        }
        if let Some(end) = self.compare(key, bytes).await? {
            return Ok(end);
        }
        // Somebody began to write it anew and may have stopped halfway.
        self.replace_object(key, bytes).await?;
        Ok(Put::Stored)
    }

    async fn read_objects(&self, keys: Arc<[StoreKey]>) -> Result<Vec<Found>, StoreError> {
        // Whoever stops waiting for them ends them.
        let mut reads = JoinSet::new();
        for at in 0..keys.len() {
            let (this, keys) = (self.clone(), Arc::clone(&keys));
            reads.spawn(async move {
                let found = match keys.get(at) {
                    Some(key) => this.read_object(key).await,
                    None => Err(StoreError::GivenUp),
                };
                (at, found)
            });
        }
        let mut found: Vec<(usize, Found)> = Vec::new();
        while let Some(read) = reads.join_next().await {
            found.push(read.map_err(|_| StoreError::GivenUp)?);
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(found.into_iter().map(|(_, found)| found).collect())
    }

    async fn put_objects(&self, objects: Arc<[Object]>) -> Result<Vec<Put>, StoreError> {
        let mut writes = JoinSet::new();
        let mut ends: Vec<Option<Put>> = vec![None; objects.len()];
        let mut waiting = 0..objects.len();
        loop {
            while writes.len() < AT_A_TIME
                && let Some(at) = waiting.next()
            {
                let (this, objects) = (self.clone(), Arc::clone(&objects));
                writes.spawn(async move {
                    let Some(Object { key, bytes }) = objects.get(at) else {
                        return Err(StoreError::GivenUp);
                    };
                    Ok((at, this.put_object(key, bytes).await?))
                });
            }
            let Some(written) = writes.join_next().await else {
                break;
            };
            let (at, put) = written.map_err(|_| StoreError::GivenUp)??;
            if let Some(end) = ends.get_mut(at) {
                *end = Some(put);
            }
        }
        let ends: Option<Vec<Put>> = ends.into_iter().collect();
        ends.ok_or(StoreError::GivenUp)
    }

    async fn replace_object(&self, key: &StoreKey, bytes: &[u8]) -> Result<(), StoreError> {
        check_size(bytes)?;
        let name = object_name(key);
        if bytes.len() > PART {
            // The object is away while its parts change: never a mixture of two.
            self.write(first(&name, &[], UNFINISHED, 0)).await?;
        }
        let first = self.write_parts(&name, bytes).await?;
        self.write(first).await
    }

    async fn swap_latest(
        &self,
        expected: Option<&Version>,
        bytes: &[u8],
    ) -> Result<Swap, StoreError> {
        let mut wanted = map(latest_name(), bytes);
        let Some(Version(version)) = expected else {
            return match self.create(&wanted).await? {
                Some(made) => moved(made),
                None => Ok(Swap::Lost),
            };
        };
        wanted.metadata.resource_version = Some(String::from_utf8_lossy(version).into_owned());
        let name = latest_name();
        match self
            .api
            .replace(&name, &PostParams::default(), &wanted)
            .await
        {
            Ok(made) => moved(made),
            Err(kube::Error::Api(status)) if [CONFLICT, NOT_FOUND].contains(&status.code) => {
                Ok(Swap::Lost)
            }
            Err(error) => Err(failed(&name)(error)),
        }
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
        Box::pin(self.read_object(key))
    }

    fn read_all(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<Found>> {
        Box::pin(self.read_objects(keys))
    }

    fn put<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, Put> {
        Box::pin(self.put_object(key, bytes))
    }

    fn put_all(&self, objects: Arc<[Object]>) -> Later<'_, Vec<Put>> {
        Box::pin(self.put_objects(objects))
    }

    fn replace<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, ()> {
        Box::pin(self.replace_object(key, bytes))
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

fn object_name(key: &StoreKey) -> String {
    format!("{PREFIX}-{}-{}", key.kind(), key.hash())
}

fn part_name(name: &str, part: usize) -> String {
    format!("{name}.{part}")
}

fn map(name: String, bytes: &[u8]) -> ConfigMap {
    let labels = LABELS.map(|(key, value)| (key.to_owned(), value.to_owned()));
    ConfigMap {
        binary_data: Some(BTreeMap::from([(
            DATA.to_owned(),
            ByteString(bytes.to_vec()),
        )])),
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels.into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

/// The ConfigMap that says that an object is there.
fn first(name: &str, head: &[u8], parts: usize, size: usize) -> ConfigMap {
    let mut first = map(name.to_owned(), head);
    first.metadata.annotations = Some(BTreeMap::from([
        (PARTS.to_owned(), parts.to_string()),
        (BYTES.to_owned(), size.to_string()),
    ]));
    first
}

/// The bytes; an empty value may be left away on the way.
fn data(map: ConfigMap) -> Option<Vec<u8>> {
    let mut values = map.binary_data?;
    values.remove(DATA).map(|ByteString(bytes)| bytes)
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

fn moved(map: ConfigMap) -> Result<Swap, StoreError> {
    Ok(Swap::Moved(latest(map)?.version))
}

fn name_of(map: &ConfigMap) -> &str {
    map.metadata.name.as_deref().unwrap_or_default()
}

fn failed(name: &str) -> impl FnOnce(kube::Error) -> StoreError {
    let object = name.to_owned();
    move |source| StoreError::Cluster {
        object,
        source: Box::new(source),
    }
}
