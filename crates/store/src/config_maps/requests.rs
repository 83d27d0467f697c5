//! What is asked of the API server, and how little of the answer is wanted.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{ConfigMaps, PREFIX};
use crate::Version;
use crate::error::StoreError;

/// Requests at a time: the API server answers each when etcd has synced it, and etcd syncs those together that come
/// together.
const AT_A_TIME: usize = 16;
/// What is written does not come back; a server that knows no metadata alone gives the whole.
const METADATA: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
);
const METADATA_LIST: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
);
const DATA: &str = "data";
/// By which an installation is listed and removed as a whole, as everything in `deploy/` is.
const LABELS: [(&str, &str); 3] = [
    ("app.kubernetes.io/name", "nacre-store"),
    ("app.kubernetes.io/part-of", "nacre"),
    ("app.kubernetes.io/managed-by", "nacre"),
];
/// Everything that a store has written.
pub(super) const ALL: &str = "app.kubernetes.io/name=nacre-store";
const CONFLICT: u16 = 409;
const NOT_FOUND: u16 = 404;

/// A ConfigMap without what it holds.
#[derive(Deserialize)]
struct Bare {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    resource_version: String,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "nacre.dev/list")]
    list: Option<String>,
}

/// A page of a list. Of nothing, the API server says `null`.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Option<Vec<Bare>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl ConfigMaps {
    pub(super) async fn get(&self, name: &str) -> Result<Option<ConfigMap>, StoreError> {
        self.api.get_opt(name).await.map_err(failed(name))
    }

    /// Whether there is a ConfigMap of that name.
    pub(super) async fn is_there(&self, name: &str) -> Result<bool, StoreError> {
        let found = self.api.get_metadata_opt(name).await;
        Ok(found.map_err(failed(name))?.is_some())
    }

    /// `None` if there is one of that name.
    pub(super) async fn create(&self, map: &ConfigMap) -> Result<Option<Version>, StoreError> {
        let name = name_of(map);
        let request = self.requests().create(&PostParams::default(), json(map)?);
        match self.ask::<Bare>(request, METADATA).await {
            Ok(made) => version(name, made).map(Some),
            Err(kube::Error::Api(status)) if status.code == CONFLICT => Ok(None),
            Err(error) => Err(failed(name)(error)),
        }
    }

    /// Takes the place of the version that the ConfigMap names; `None` if that is not there any more.
    pub(super) async fn update(&self, map: &ConfigMap) -> Result<Option<Version>, StoreError> {
        let name = name_of(map);
        let params = PostParams::default();
        let request = self.requests().replace(name, &params, json(map)?);
        match self.ask::<Bare>(request, METADATA).await {
            Ok(made) => version(name, made).map(Some),
            Err(kube::Error::Api(status)) if [CONFLICT, NOT_FOUND].contains(&status.code) => {
                Ok(None)
            }
            Err(error) => Err(failed(name)(error)),
        }
    }

    /// Writes over whatever has that name.
    pub(super) async fn write(&self, mut map: ConfigMap) -> Result<(), StoreError> {
        loop {
            map.metadata.resource_version = None;
            if self.create(&map).await?.is_some() {
                return Ok(());
            }
            let name = name_of(&map);
            let found = self.api.get_metadata_opt(name).await;
            let Some(found) = found.map_err(failed(name))? else {
                continue;
            };
            map.metadata.resource_version = found.metadata.resource_version;
            if self.update(&map).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Names of what this selector finds, having looked at the lists of packs among them; `None` when it has more pages.
    pub(super) async fn list(
        &self,
        selector: &str,
        pages: usize,
    ) -> Result<Option<BTreeSet<String>>, StoreError> {
        let name = format!("{PREFIX}-*");
        let mut params = ListParams::default().labels(selector).limit(self.page);
        let mut names = BTreeSet::new();
        for _ in 0..pages {
            let request = self.requests().list(&params);
            let page = self.ask::<Page>(request, METADATA_LIST).await;
            let page = page.map_err(failed(&name))?;
            for Bare { metadata } in page.items.unwrap_or_default() {
                let list = metadata.annotations.and_then(|all| all.list);
                self.packs.look(&metadata.name, &list.unwrap_or_default());
                names.insert(metadata.name);
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(Some(names)),
            }
        }
        Ok(None)
    }

    fn requests(&self) -> Request {
        Request::new(self.api.resource_url())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        accept: HeaderValue,
    ) -> Result<T, kube::Error> {
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        request.headers_mut().insert(ACCEPT, accept);
        self.client.request(request).await
    }
}

/// Does this for each number below `count`, some at a time, and gives what comes of it in their order. Whoever stops
/// waiting ends them.
pub(super) async fn each<T: Send + 'static, F>(
    count: usize,
    work: impl Fn(usize) -> F,
) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut waiting = 0..count;
    let mut done = Vec::new();
    loop {
        while running.len() < AT_A_TIME
            && let Some(at) = waiting.next()
        {
            let work = work(at);
            running.spawn(async move { (at, work.await) });
        }
        let Some(one) = running.join_next().await else {
            break;
        };
        done.push(one.map_err(|_| StoreError::GivenUp)?);
    }
    done.sort_by_key(|(at, _)| *at);
    Ok(done.into_iter().map(|(_, one)| one).collect())
}

pub(super) fn map(name: String, bytes: &[u8]) -> ConfigMap {
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

/// The bytes; an empty value may be left away on the way.
pub(super) fn data(map: ConfigMap) -> Option<Vec<u8>> {
    let mut values = map.binary_data?;
    values.remove(DATA).map(|ByteString(bytes)| bytes)
}

fn version(name: &str, made: Bare) -> Result<Version, StoreError> {
    let version = made.metadata.resource_version;
    if version.is_empty() {
        return Err(StoreError::Damaged {
            object: name.to_owned(),
            what: "it has no resourceVersion",
        });
    }
    Ok(Version(version.into_bytes()))
}

fn name_of(map: &ConfigMap) -> &str {
    map.metadata.name.as_deref().unwrap_or_default()
}

/// The ConfigMap as it is sent. What makes it long is base64, in which JSON has nothing to escape.
fn json(map: &ConfigMap) -> Result<Vec<u8>, StoreError> {
    let bare = ConfigMap {
        metadata: map.metadata.clone(),
        ..ConfigMap::default()
    };
    let text = serde_json::to_string(&bare).map_err(kube::Error::SerdeError);
    let mut text = text.map_err(failed(name_of(map)))?;
    let data = map.binary_data.as_ref().and_then(|all| all.get(DATA));
    if let Some(ByteString(bytes)) = data
        && text.pop() == Some('}')
    {
        text.reserve(bytes.len() / 3 * 4 + 40);
        text += r#","binaryData":{"data":""#;
        STANDARD.encode_string(bytes, &mut text);
        text += r#""}}"#;
    }
    Ok(text.into_bytes())
}

pub(super) fn failed(name: &str) -> impl FnOnce(kube::Error) -> StoreError + use<> {
    let object = name.to_owned();
    move |source| StoreError::Cluster {
        object,
        source: Box::new(source),
    }
}
