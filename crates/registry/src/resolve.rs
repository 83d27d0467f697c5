//! From a reference to a lock entry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use nacre_imagelock::{Digest, Entry, ImageReference, Layer, Source, UserDatabase, needs_database};

use crate::cache::Cache;
use crate::content::{Blob, Hashing, check};
use crate::error::{ContentError, Error};
use crate::http::Http;
use crate::layer::LayerFacts;
use crate::lookup;
use crate::manifest::{Config, Document, Manifest, choose, platforms};
use crate::options::Options;
use crate::progress::{Event, Progress};
use crate::registry::{Registry, Repository};
use crate::store::{Found, Store};

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";
/// Most that a layer may unpack to.
const MAX_LAYER: u64 = 64 << 30;
/// Largest configuration.
const MAX_CONFIG: u64 = 8 << 20;

/// Resolves images.
pub struct Resolver<'a> {
    options: Options,
    cache: Cache,
    stores: Vec<Store>,
    registry: Registry<'a>,
    progress: &'a dyn Progress,
    layers: Mutex<BTreeMap<Digest, Arc<Mutex<KnownLayer>>>>,
}

/// Facts of a layer, and about which paths they are.
#[derive(Default)]
struct KnownLayer {
    watch: BTreeSet<String>,
    facts: LayerFacts,
}

/// An image whose manifest is known.
struct Located {
    manifest: Manifest,
    digest: Digest,
    index: Option<Digest>,
    source: Source,
}

impl<'a> Resolver<'a> {
    /// Opens cache, stores and certificates. No request is made yet.
    pub fn new(options: Options, progress: &'a dyn Progress) -> Result<Self, Error> {
        let cache = Cache::open(options.cache_dir.as_deref())?;
        let layouts = options.layouts.iter().map(Store::layout);
        let archives = options.archives.iter().map(Store::archive);
        let stores: Result<_, _> = layouts.chain(archives).collect();
        let http = Http::new(
            options.timing.clone(),
            options.insecure_registries.clone(),
            &options.ca_files,
        )?;
        let registry = Registry::new(http, options.auth_files.clone(), progress);
        Ok(Self {
            cache,
            stores: stores?,
            registry,
            progress,
            layers: Mutex::default(),
            options,
        })
    }

    /// Resolves every distinct reference, several at a time; the results come in the order of
    /// the references.
    pub fn resolve_all(
        &self,
        references: impl IntoIterator<Item = ImageReference>,
    ) -> Vec<(ImageReference, Result<Entry, Error>)> {
        let mut seen = BTreeSet::new();
        let distinct = references
            .into_iter()
            .filter(|r| seen.insert(r.normalised()));
        let queue: Mutex<VecDeque<_>> = Mutex::new(distinct.enumerate().collect());
        let results = Mutex::new(BTreeMap::new());
        let take = || {
            queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        std::thread::scope(|scope| {
            let count = queue.lock().unwrap_or_else(PoisonError::into_inner).len();
            for _ in 0..self.options.parallel.get().min(count) {
                scope.spawn(|| {
                    while let Some((at, reference)) = take() {
                        let outcome = self.resolve(&reference);
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.insert(at, (reference, outcome));
                    }
                });
            }
        });
        results
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .into_values()
            .collect()
    }

    /// Resolves one reference.
    pub fn resolve(&self, reference: &ImageReference) -> Result<Entry, Error> {
        let image = reference.to_string();
        self.progress.event(&Event::Started {
            image: image.clone(),
        });
        let outcome = self.entry(reference);
        self.progress.event(&Event::Finished {
            image,
            resolved: outcome.is_ok(),
        });
        outcome
    }

    fn entry(&self, reference: &ImageReference) -> Result<Entry, Error> {
        let Located {
            manifest,
            digest,
            index,
            source,
        } = self.locate(reference)?;
        let what = format!("configuration of {reference}");
        let bytes = self.config(reference, &manifest.config, &what)?;
        let config = Config::parse(&what, &bytes)?;
        let wanted = &self.options.platform;
        if config.platform.os != wanted.os || config.platform.architecture != wanted.architecture {
            return Err(Error::NoPlatform {
                image: reference.to_string(),
                platform: wanted.to_string(),
                available: vec![config.platform.to_string()],
            });
        }
        if config.diff_ids.len() != manifest.layers.len() {
            let reason = "manifest and configuration disagree about the layers".to_owned();
            return Err(Error::Unsupported { what, reason });
        }
        let layers: Vec<_> = manifest
            .layers
            .iter()
            .copied()
            .zip(config.diff_ids)
            .collect();
        let mut entry = Entry::new(reference.clone(), digest);
        entry.index_digest = index;
        entry.config_digest = Some(manifest.config.digest);
        entry.platform = wanted.clone();
        entry.source = source;
        entry.size_bytes = layers
            .iter()
            .fold(0, |sum: u64, (b, _)| sum.saturating_add(b.size));
        entry.config = config.facts;
        if self.options.always_read_users || needs_database(&entry.config.user) {
            let bytes = entry.size_bytes;
            self.progress.event(&Event::Layer {
                image: reference.to_string(),
                bytes,
            });
            let passwd = self.file(reference, &layers, PASSWD)?;
            let group = self.file(reference, &layers, GROUP)?;
            entry.users = Some(UserDatabase::parse(&passwd, &group));
        }
        entry.resolved_user = entry.default_user();
        let layer = |(blob, diff_id): (Blob, Digest)| Layer {
            digest: blob.digest,
            diff_id,
            size_bytes: blob.size,
            verity_root: None,
        };
        entry.layers = layers.into_iter().map(layer).collect();
        Ok(entry)
    }

    fn locate(&self, reference: &ImageReference) -> Result<Located, Error> {
        let mut legacy = None;
        for store in &self.stores {
            match store.find(reference)? {
                Some(Found::Manifest(blob)) => {
                    let bytes = store.blob(&blob.digest)?.ok_or_else(|| Error::Store {
                        path: store.path().to_owned(),
                        reason: format!("blob {} is missing", blob.digest),
                    })?;
                    verify(&blob, &bytes, reference)?;
                    let written = reference.digest();
                    if let Some(expected) = written.filter(|d| **d != blob.digest) {
                        // The digest may be that of the platform's manifest inside the index.
                        let located =
                            self.select(reference, blob.digest, &bytes, store.source())?;
                        if located.digest != *expected {
                            let (expected, found) = (*expected, located.digest);
                            let source = ContentError::Digest { expected, found };
                            return Err(Error::Content {
                                what: reference.to_string(),
                                source,
                            });
                        }
                        return Ok(located);
                    }
                    return self.select(reference, blob.digest, &bytes, store.source());
                }
                Some(Found::Legacy(image)) => {
                    legacy = legacy.or(Some((image.config, store.path().to_owned())));
                }
                None => {}
            }
        }
        let image = || reference.to_string();
        let (digest, bytes) = match self.remote(reference) {
            Err(Error::Offline { .. }) if let Some((_, archive)) = legacy => {
                return Err(Error::NoManifest {
                    image: image(),
                    archive,
                });
            }
            outcome => outcome?,
        };
        let located = self.select(reference, digest, &bytes, Source::Registry)?;
        match legacy {
            Some((config, archive)) if config != located.manifest.config.digest => {
                Err(Error::ArchiveDiffers {
                    image: image(),
                    archive,
                })
            }
            _ => Ok(located),
        }
    }

    /// From the document a reference leads to, to the platform's manifest.
    fn select(
        &self,
        reference: &ImageReference,
        digest: Digest,
        bytes: &[u8],
        source: Source,
    ) -> Result<Located, Error> {
        let what = format!("manifest of {reference}");
        let (mut current, mut document) = (digest, Document::parse(&what, bytes)?);
        // An index may hold indexes (OCI image index, "manifests"); two levels are in use.
        for _ in 0..3 {
            match document {
                Document::Manifest(manifest) => {
                    let index = (current != digest).then_some(digest);
                    return Ok(Located {
                        manifest,
                        digest: current,
                        index,
                        source,
                    });
                }
                Document::Index(children) => {
                    let wanted = &self.options.platform;
                    let only = children
                        .first()
                        .filter(|c| children.len() == 1 && c.platform.is_none());
                    let child = choose(&children, wanted).or(only);
                    let child = child.ok_or_else(|| Error::NoPlatform {
                        image: reference.to_string(),
                        platform: wanted.to_string(),
                        available: platforms(&children),
                    })?;
                    let bytes = self.manifest_by_digest(reference, &child.blob)?;
                    current = child.blob.digest;
                    document = Document::parse(&what, &bytes)?;
                }
            }
        }
        Err(Error::Unsupported {
            what,
            reason: "indexes within indexes".to_owned(),
        })
    }

    fn remote(&self, reference: &ImageReference) -> Result<(Digest, Vec<u8>), Error> {
        if let Some(digest) = reference.digest()
            && let Some(bytes) = self.cache.blob(digest)
        {
            return Ok((*digest, bytes));
        }
        let wanted = match reference.digest() {
            Some(digest) => digest.to_string(),
            None => reference.tag_or_latest().to_owned(),
        };
        let found = self.each_repository(reference, |r| self.registry.manifest(r, &wanted))?;
        self.cache.put_blob(&found.1)?;
        Ok(found)
    }

    fn manifest_by_digest(
        &self,
        reference: &ImageReference,
        blob: &Blob,
    ) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.local_blob(reference, blob)? {
            return Ok(bytes);
        }
        let wanted = blob.digest.to_string();
        let (_, bytes) = self.each_repository(reference, |r| self.registry.manifest(r, &wanted))?;
        verify(blob, &bytes, reference)?;
        self.cache.put_blob(&bytes)?;
        Ok(bytes)
    }

    fn config(
        &self,
        reference: &ImageReference,
        blob: &Blob,
        what: &str,
    ) -> Result<Vec<u8>, Error> {
        if blob.size > MAX_CONFIG {
            let source = ContentError::TooLong { limit: MAX_CONFIG };
            return Err(Error::Content {
                what: what.to_owned(),
                source,
            });
        }
        if let Some(bytes) = self.local_blob(reference, blob)? {
            return Ok(bytes);
        }
        let mut download = self.cache.download(&blob.digest)?;
        let bytes = self.each_repository(reference, |r| {
            self.registry.small_blob(r, blob, &mut download)
        })?;
        self.cache.put_blob(&bytes)?;
        download.discard();
        Ok(bytes)
    }

    /// A manifest or configuration from stores and cache.
    fn local_blob(
        &self,
        reference: &ImageReference,
        blob: &Blob,
    ) -> Result<Option<Vec<u8>>, Error> {
        for store in &self.stores {
            if let Some(bytes) = store.blob(&blob.digest)? {
                verify(blob, &bytes, reference)?;
                return Ok(Some(bytes));
            }
        }
        match self.cache.blob(&blob.digest) {
            Some(bytes) => {
                verify(blob, &bytes, reference)?;
                Ok(Some(bytes))
            }
            None => Ok(None),
        }
    }

    /// Mirrors, then the registry itself; the last error counts.
    fn each_repository<T>(
        &self,
        reference: &ImageReference,
        mut ask: impl FnMut(&Repository) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.options.offline {
            return Err(Error::Offline {
                image: reference.to_string(),
            });
        }
        let mirrors = self
            .options
            .mirrors
            .iter()
            .filter(|m| m.registry == reference.registry());
        for mirror in mirrors {
            let name = match mirror.prefix.as_str() {
                "" => reference.repository().to_owned(),
                prefix => format!("{prefix}/{}", reference.repository()),
            };
            match ask(&Repository {
                host: mirror.host.clone(),
                name,
            }) {
                Err(error) if error.may_try_elsewhere() => {}
                outcome => return outcome,
            }
        }
        ask(&Repository {
            host: reference.registry().to_owned(),
            name: reference.repository().to_owned(),
        })
    }

    /// A file of the image; empty if it has none.
    fn file(
        &self,
        reference: &ImageReference,
        layers: &[(Blob, Digest)],
        path: &str,
    ) -> Result<Vec<u8>, Error> {
        let mut layer = |index: usize, watch: &BTreeSet<String>| match layers.get(index) {
            Some((blob, diff_id)) => self.layer(reference, blob, diff_id, watch),
            None => Ok(LayerFacts::default()),
        };
        match lookup::find(path, layers.len(), &mut layer)? {
            Ok(content) => Ok(content.unwrap_or_default()),
            Err(unclear) => Err(Error::ImageFile {
                image: reference.to_string(),
                path: format!("/{path}"),
                reason: unclear.reason(),
            }),
        }
    }

    /// Facts of a layer, from memory, the cache, a store or the registry. One thread at a time
    /// works on a layer; the others wait for its result.
    fn layer(
        &self,
        reference: &ImageReference,
        blob: &Blob,
        diff_id: &Digest,
        watch: &BTreeSet<String>,
    ) -> Result<LayerFacts, Error> {
        let slot = {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.entry(blob.digest).or_default().clone()
        };
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if watch.is_subset(&known.watch) {
            return Ok(known.facts.clone());
        }
        let mut watch: BTreeSet<String> = watch.union(&known.watch).cloned().collect();
        watch.extend(["etc", PASSWD, GROUP].map(str::to_owned));
        let paths: Vec<_> = watch.iter().map(String::as_str).collect();
        let key = format!("layer 1\n{}\n{diff_id}\n{}", blob.digest, paths.join("\n"));
        let cached = self.cache.facts(&key);
        let facts = match cached.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            Some(facts) => facts,
            None => {
                let facts = self.read_layer(reference, blob, diff_id, &watch)?;
                if let Ok(bytes) = serde_json::to_vec(&facts) {
                    self.cache.put_facts(&key, &bytes)?;
                }
                facts
            }
        };
        *known = KnownLayer { watch, facts };
        Ok(known.facts.clone())
    }

    fn read_layer(
        &self,
        reference: &ImageReference,
        blob: &Blob,
        diff_id: &Digest,
        watch: &BTreeSet<String>,
    ) -> Result<LayerFacts, Error> {
        let refuse = |source| Error::Content {
            what: format!("layer {}", blob.digest),
            source,
        };
        let scan = |reader: &mut dyn std::io::Read| {
            let failed = |e: std::io::Error| Error::Layer {
                digest: blob.digest,
                reason: e.to_string(),
            };
            let (facts, found) = LayerFacts::read(reader, watch, MAX_LAYER).map_err(failed)?;
            match found == *diff_id {
                true => Ok(facts),
                false => Err(refuse(ContentError::Digest {
                    expected: *diff_id,
                    found,
                })),
            }
        };
        for store in &self.stores {
            if let Some(reader) = store.open_blob(&blob.digest)? {
                let mut reader = Hashing::new(reader);
                let facts = scan(&mut reader);
                // Wrong bytes explain any failure to read them.
                let (digest, length) = reader
                    .finish(blob.size)
                    .map_err(Error::file(store.path()))?;
                check(blob, digest, length).map_err(refuse)?;
                return facts;
            }
            if let Some(mut reader) = store.open_diff(diff_id)? {
                return scan(&mut reader);
            }
        }
        let mut download = self.cache.download(&blob.digest)?;
        self.each_repository(reference, |r| self.registry.blob(r, blob, &mut download))?;
        let facts = scan(&mut download.reader().map_err(Error::file("download"))?)?;
        // Behind a link the layer may be needed once more.
        if !facts.has_links() {
            download.discard();
        }
        Ok(facts)
    }
}

fn verify(blob: &Blob, bytes: &[u8], reference: &ImageReference) -> Result<(), Error> {
    check(blob, Digest::of(bytes), bytes.len() as u64).map_err(|source| Error::Content {
        what: format!("{} of {reference}", blob.digest),
        source,
    })
}
