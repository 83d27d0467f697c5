//! Packs (see [`pack`]) as ConfigMaps: the objects, compressed, are the data, and the head stands in an annotation.
//!
//! Where objects are is known from the metadata of the packs alone. Policies repeat their rules, so that what is sent
//! and kept of many is a fraction of them. A pack is one ConfigMap, so it is there whole or not at all. Two writers at
//! the same time may both write an object, each into a pack of its own; of an object that two packs have, that of the
//! pack with the smaller name counts, whoever reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lz4_flex::block;

use super::requests::{ALL, data, each, map};
use super::{ConfigMaps, PART, PREFIX};
use crate::error::StoreError;
use crate::key::StoreKey;
use crate::pack::{self, Listed, is_name};
use crate::{Found, Object};

/// The annotation with the head, in base64.
const LIST: &str = "nacre.dev/list";
/// By which packs are listed alone.
const LABEL: (&str, &str) = ("app.kubernetes.io/component", "pack");
/// Most objects of one pack. The API server allows 256 KiB for all annotations, and gives those of a page together.
const MOST: usize = 256;
const _: () = assert!(pack::longest_head(MOST).div_ceil(3) * 4 < 64 << 10);
/// Packs that were read last and are kept: whoever reads a history out reads object by object.
const KEPT: usize = 4;

/// What is known of packs.
#[derive(Debug, Default)]
pub(super) struct Packs {
    known: Mutex<Known>,
    /// Newest last.
    kept: Mutex<VecDeque<Kept>>,
    /// Pages that a list of everything is known to have more of: nothing is ever removed.
    long: AtomicUsize,
    room: Mutex<Option<Room>>,
}

/// A pack and its objects.
type Kept = (Arc<str>, Arc<[u8]>);

#[derive(Debug, Default)]
struct Known {
    /// The packs, with the bytes of all their objects.
    lengths: BTreeMap<Arc<str>, usize>,
    /// Those whose list is damaged, which the log has been told.
    damaged: BTreeSet<String>,
    places: BTreeMap<StoreKey, Place>,
}

/// Where an object is.
#[derive(Clone, Debug)]
struct Place {
    pack: Arc<str>,
    at: usize,
    length: usize,
}

impl Packs {
    /// Whether a pack has the object that was looked at.
    pub(super) fn has(&self, key: &StoreKey) -> bool {
        self.known().places.contains_key(key)
    }

    fn place(&self, key: &StoreKey) -> Option<Place> {
        self.known().places.get(key).cloned()
    }

    fn knows(&self, pack: &str) -> bool {
        self.known().lengths.contains_key(pack)
    }

    /// Looks at what the ConfigMap of this name lists, if it is a pack that is not known.
    pub(super) fn look(&self, map: &str, list: &str) {
        let Some(pack) = map.strip_prefix(&pack_name("")) else {
            return;
        };
        if !is_name(pack) || self.knows(pack) {
            return;
        }
        let head = STANDARD.decode(list).unwrap_or_default();
        match pack::parse(&head, pack).filter(|list| whole(list) <= PART) {
            Some(list) => self.add(pack, list),
            None => {
                if self.known().damaged.insert(pack.to_owned()) {
                    tracing::warn!(%map, "damaged; the objects in it count as missing");
                }
            }
        }
    }

    fn add(&self, pack: &str, list: Vec<Listed>) {
        let pack: Arc<str> = pack.into();
        let mut known = self.known();
        known.damaged.remove(&*pack);
        known.lengths.insert(Arc::clone(&pack), whole(&list));
        for Listed { key, at, length } in list {
            let place = Place {
                pack: Arc::clone(&pack),
                at,
                length,
            };
            let counts = known.places.entry(key).or_insert_with(|| place.clone());
            if place.pack < counts.pack {
                *counts = place;
            }
        }
    }

    fn kept(&self, pack: &str) -> Option<Arc<[u8]>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(name, _)| **name == *pack)?;
        let found = kept.remove(at)?;
        let bytes = Arc::clone(&found.1);
        kept.push_back(found);
        Some(bytes)
    }

    fn keep(&self, pack: &Arc<str>, bytes: &Arc<[u8]>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(name, _)| name != pack);
        kept.push_back((Arc::clone(pack), Arc::clone(bytes)));
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }

    fn room(&self) -> MutexGuard<'_, Option<Room>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of all objects of a list.
fn whole(list: &[Listed]) -> usize {
    list.last().map_or(0, |last| last.at + last.length)
}

impl ConfigMaps {
    /// Names of everything that is there, and what has come to be in packs; `None` when that is more than so many
    /// pages.
    pub(super) async fn list_all(
        &self,
        pages: usize,
    ) -> Result<Option<BTreeSet<String>>, StoreError> {
        let long = &self.packs.long;
        if pages <= long.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let listed = self.list(ALL, pages).await?;
        if listed.is_none() {
            long.fetch_max(pages, Ordering::Relaxed);
        }
        Ok(listed)
    }

    /// Looks once at the packs that have come, for an object that is not known.
    pub(super) async fn look_for(
        &self,
        key: &StoreKey,
        looked: &mut bool,
    ) -> Result<(), StoreError> {
        if *looked || self.packs.has(key) {
            return Ok(());
        }
        self.look_at_packs().await?;
        *looked = true;
        Ok(())
    }

    async fn look_at_packs(&self) -> Result<(), StoreError> {
        let (label, value) = LABEL;
        let selector = format!("{ALL},{label}={value}");
        self.list(&selector, usize::MAX).await.map(drop)
    }

    /// Reads those of the objects that are in packs and were not found elsewhere; each pack once.
    pub(super) async fn read_packed(&self, keys: &[StoreKey], found: &mut [Found]) {
        let mut wanted: BTreeMap<Arc<str>, Vec<(&StoreKey, Place, &mut Found)>> = BTreeMap::new();
        for (key, found) in keys.iter().zip(found) {
            if let (Ok(None), Some(place)) = (&found, self.packs.place(key)) {
                let pack = Arc::clone(&place.pack);
                wanted.entry(pack).or_default().push((key, place, found));
            }
        }
        for (pack, wanted) in wanted {
            let mut read = None;
            for (key, Place { at, length, .. }, found) in wanted {
                // A pack that could not be asked for is asked for again.
                let bytes = match &read {
                    Some(bytes) => bytes,
                    None => match self.read_pack(&pack).await {
                        Ok(bytes) => read.insert(bytes),
                        Err(error) => {
                            *found = Err(error);
                            continue;
                        }
                    },
                };
                let damaged = |what| StoreError::Damaged {
                    object: key.to_string(),
                    what,
                };
                let part = bytes.as_ref().map(|bytes| bytes.get(at..at + length));
                *found = match part {
                    Ok(Some(part)) => Ok(Some(part.to_vec())),
                    Ok(None) => Err(damaged(SHORT)),
                    Err(what) => Err(damaged(what)),
                };
            }
        }
    }

    /// The objects of a pack, or what is wrong with it.
    async fn read_pack(
        &self,
        pack: &Arc<str>,
    ) -> Result<Result<Arc<[u8]>, &'static str>, StoreError> {
        if let Some(bytes) = self.packs.kept(pack) {
            return Ok(Ok(bytes));
        }
        let Some(map) = self.get(&pack_name(pack)).await? else {
            return Ok(Err("the ConfigMap that it shares with others is gone"));
        };
        let Some(compressed) = data(map) else {
            return Ok(Err("the ConfigMap that it shares with others has no data"));
        };
        let length = self.packs.known().lengths.get(pack).copied();
        // Never more than [`PART`], see `Packs::look`.
        let mut bytes = vec![0; length.unwrap_or_default()];
        match block::decompress_into(&compressed, &mut bytes) {
            Ok(length) if length == bytes.len() => {
                let bytes = bytes.into();
                self.packs.keep(pack, &bytes);
                Ok(Ok(bytes))
            }
            _ => Ok(Err(SHORT)),
        }
    }

    /// Writes packs, and says of each of their objects, in order, whether this has stored it. What has not may be there
    /// in another form.
    pub(super) async fn write_packs(&self, packs: Vec<Pack>) -> Result<Vec<bool>, StoreError> {
        let packs: Arc<[Pack]> = packs.into();
        let written = {
            let (this, packs) = (self.clone(), Arc::clone(&packs));
            each(packs.len(), move |at| {
                let (this, packs) = (this.clone(), Arc::clone(&packs));
                async move {
                    match packs.get(at) {
                        Some(pack) => this.write_pack(pack).await,
                        None => Err(StoreError::GivenUp),
                    }
                }
            })
        };
        let mut stored = Vec::new();
        for (pack, written) in packs.iter().zip(written.await?) {
            stored.resize(stored.len() + pack.count, written?);
        }
        Ok(stored)
    }

    async fn write_pack(&self, pack: &Pack) -> Result<bool, StoreError> {
        let name = pack::name_of(&pack.head);
        let mut map = map(pack_name(&name), &pack.compressed);
        let (label, value) = LABEL;
        let labels = map.metadata.labels.get_or_insert_default();
        labels.insert(label.to_owned(), value.to_owned());
        let annotations = map.metadata.annotations.get_or_insert_default();
        annotations.insert(LIST.to_owned(), STANDARD.encode(&pack.head));
        if self.create(&map).await?.is_none() {
            // Somebody has written the same pack, or its list is damaged.
            self.look_at_packs().await?;
            if self.packs.knows(&name) {
                return Ok(false);
            }
            self.write(map).await?;
        }
        if let Some(list) = pack::parse(&pack.head, &name) {
            self.packs.add(&name, list);
        }
        Ok(true)
    }
}

const SHORT: &str = "the ConfigMap that it shares with others has other data than it lists";

fn pack_name(pack: &str) -> String {
    format!("{PREFIX}-pack.{pack}")
}

/// A pack that is to be written.
pub(super) struct Pack {
    head: Vec<u8>,
    compressed: Vec<u8>,
    count: usize,
}

impl Pack {
    /// The packs that these objects make, in their order. None of them is longer than [`PART`].
    pub(super) fn of(objects: &[&Object], packs: &Packs) -> Vec<Self> {
        let mut room = packs.room().take().unwrap_or_default();
        let mut made = Vec::new();
        let mut rest = objects;
        while !rest.is_empty() {
            room.bytes.clear();
            let mut count = 0;
            for object in rest.iter().take(MOST) {
                if count > 0 && room.bytes.len() + object.bytes.len() > PART {
                    break;
                }
                room.bytes.extend_from_slice(&object.bytes);
                count += 1;
            }
            let (these, more) = rest.split_at(count);
            made.push(Self {
                head: pack::head(these),
                compressed: room.compressed(),
                count,
            });
            rest = more;
        }
        *packs.room() = Some(room);
        made
    }
}

/// Where packs are made. It is taken from the system once and not for each.
#[derive(Default)]
struct Room {
    bytes: Vec<u8>,
    compressed: Vec<u8>,
}

impl Room {
    fn compressed(&mut self) -> Vec<u8> {
        let most = block::get_maximum_output_size(PART);
        self.compressed.resize(most, 0);
        match block::compress_into(&self.bytes, &mut self.compressed) {
            Ok(length) => self.compressed.get(..length).unwrap_or_default().to_vec(),
            Err(_) => block::compress(&self.bytes),
        }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Room")
    }
}
