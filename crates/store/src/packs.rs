//! Packs (see [`pack`]) as the files of a folder, each under its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Object;
use crate::error::StoreError;
use crate::key::StoreKey;
use crate::pack::{self, is_name, read_head};

/// Most objects in one file.
const MOST: usize = 4096;
const _: () = assert!(pack::longest_head(MOST) <= pack::MAX_LIST);

/// The files of one folder and where in them each object is.
#[derive(Debug)]
pub(crate) struct Packs {
    folder: PathBuf,
    known: Mutex<Known>,
}

/// What has been looked up.
#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<Arc<str>>,
    /// Those whose list is damaged, which the log has been told.
    damaged: BTreeSet<String>,
    places: BTreeMap<StoreKey, Place>,
}

/// Where an object is.
#[derive(Clone, Debug)]
struct Place {
    pack: Arc<str>,
    at: u64,
    length: usize,
}

impl Packs {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            known: Mutex::default(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The bytes of an object; `None` if no file has it that was looked at.
    pub(crate) fn read(&self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(Place { pack, at, length }) = self.known().places.get(key).cloned() else {
            return Ok(None);
        };
        let damaged = |what| StoreError::Damaged {
            object: key.to_string(),
            what,
        };
        let path = self.folder.join(&*pack);
        let mut bytes = vec![0; length];
        match File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, at)) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(damaged("the file that it shares with others ends early"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(damaged("the file that it shares with others is gone"))
            }
            Err(error) => Err(StoreError::io(&path)(error)),
        }
    }

    /// Whether a file has the object that was looked at.
    pub(crate) fn has(&self, key: &StoreKey) -> bool {
        self.known().places.contains_key(key)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the files that have come. Of an object that two have, the one counts that was looked at first. One
    /// that cannot be looked at hides none of the others: its error comes when they have been.
    pub(crate) fn look(&self) -> Result<(), StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io(&self.folder)(error)),
        };
        let mut known = self.known();
        let mut looked = Ok(());
        for entry in entries {
            let name = match entry.map_err(StoreError::io(&self.folder)) {
                Ok(entry) => entry.file_name(),
                Err(error) => {
                    looked = looked.and(Err(error));
                    continue;
                }
            };
            let Some(name) = name.to_str().filter(|name| is_name(name)) else {
                continue;
            };
            if known.names.contains(name) {
                continue;
            }
            let pack: Arc<str> = name.into();
            match self.list(&pack) {
                Ok(Some(list)) => {
                    known.damaged.remove(name);
                    known.names.insert(pack);
                    for (key, place) in list {
                        known.places.entry(key).or_insert(place);
                    }
                }
                Ok(None) => {
                    if known.damaged.insert(name.to_owned()) {
                        let file = self.folder.join(name);
                        tracing::warn!(file = %file.display(), "damaged; the objects in it count as missing");
                    }
                }
                Err(error) => looked = looked.and(Err(error)),
            }
        }
        looked
    }

    /// The objects of a file; `None` when its list is not what its name says.
    fn list(&self, pack: &Arc<str>) -> Result<Option<List>, StoreError> {
        let path = self.folder.join(&**pack);
        let head = File::open(&path).and_then(read_head);
        let Some(head) = head.map_err(StoreError::io(&path))? else {
            return Ok(None);
        };
        let place = |listed: pack::Listed| {
            let place = Place {
                pack: Arc::clone(pack),
                at: head.len() as u64 + listed.at as u64,
                length: listed.length,
            };
            (listed.key, place)
        };
        let list = pack::parse(&head, pack);
        Ok(list.map(|list| list.into_iter().map(place).collect()))
    }
}

/// Objects of a file and where they are.
type List = Vec<(StoreKey, Place)>;

/// A file that is to be written.
pub(crate) struct Pack<'a> {
    head: Vec<u8>,
    objects: &'a [&'a Object],
}

impl<'a> Pack<'a> {
    /// The files that these objects make. None of the objects is longer than one may be.
    pub(crate) fn of(objects: &'a [&'a Object]) -> impl Iterator<Item = Self> {
        objects.chunks(MOST).map(|objects| Self {
            head: pack::head(objects),
            objects,
        })
    }

    pub(crate) fn name(&self) -> String {
        pack::name_of(&self.head)
    }

    pub(crate) fn write(&self, file: &mut File) -> std::io::Result<()> {
        file.write_all(&self.head)?;
        let mut objects = self.objects.iter();
        objects.try_for_each(|object| file.write_all(&object.bytes))
    }
}
