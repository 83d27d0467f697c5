//! Many objects in one file, which costs as much as one object to make and to sync.
//!
//! ```text
//! <folder>/<name>   magic (8 bytes); length of the list (u32, big-endian)
//!                   the list, for each object: length of its name (u8), name, length of the object (u32, big-endian)
//!                   the objects, in the order of the list
//! ```
//! The name is the SHA-256 of everything before the objects, in hex: a list that is damaged is not believed, and the
//! objects of its file count as missing until they are written again. An object that is damaged is for its reader to
//! find out, as in a file of its own. A file never changes and never goes, so where an object is has to be looked up
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::key::StoreKey;
use crate::{MAX_OBJECT, Object};

const MAGIC: &[u8; 8] = b"nacrepk1";
/// Magic and length of the list.
const FIXED: usize = MAGIC.len() + 4;
/// Longest list, in bytes.
const MAX_LIST: usize = 1 << 20;
/// Most objects in one file.
const MOST: usize = 4096;
// A name has at most 32 characters before the slash.
const _: () = assert!(MOST * (1 + 32 + 1 + 64 + 4) <= MAX_LIST);

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

    /// Looks at the files that have come. Of an object that two have, the one counts that was looked at first.
    pub(crate) fn look(&self) -> Result<(), StoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io(&self.folder)(error)),
        };
        let mut known = self.known();
        for entry in entries {
            let name = entry.map_err(StoreError::io(&self.folder))?.file_name();
            let Some(name) = name.to_str().filter(|name| is_name(name)) else {
                continue;
            };
            if known.names.contains(name) {
                continue;
            }
            let pack: Arc<str> = name.into();
            let Some(list) = self.list(&pack)? else {
                if known.damaged.insert(name.to_owned()) {
                    let file = self.folder.join(name);
                    tracing::warn!(file = %file.display(), "damaged; the objects in it count as missing");
                }
                continue;
            };
            known.damaged.remove(name);
            known.names.insert(pack);
            for (key, place) in list {
                known.places.entry(key).or_insert(place);
            }
        }
        Ok(())
    }

    /// The objects of a file; `None` when its list is not what its name says.
    fn list(&self, pack: &Arc<str>) -> Result<Option<List>, StoreError> {
        let path = self.folder.join(&**pack);
        let head = File::open(&path).and_then(|file| read_head(&file));
        let head = head.map_err(StoreError::io(&path))?;
        let head = head.filter(|head| name_of(head) == **pack);
        Ok(head.and_then(|head| parse(&head, pack)))
    }
}

/// Objects of a file and where they are.
type List = Vec<(StoreKey, Place)>;

/// What stands in front of the objects; `None` when it is not whole.
fn read_head(file: &File) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    file.take(FIXED as u64).read_to_end(&mut head)?;
    let length = head.strip_prefix(MAGIC);
    let length = length.and_then(|length| Some(u32::from_be_bytes(*length.first_chunk()?)));
    let Some(length) = length.filter(|length| *length <= MAX_LIST as u32) else {
        return Ok(None);
    };
    let read = file.take(length.into()).read_to_end(&mut head)?;
    Ok((read as u64 == u64::from(length)).then_some(head))
}

/// Reads what [`read_head`] gives.
fn parse(head: &[u8], pack: &Arc<str>) -> Option<List> {
    let mut at = u64::try_from(head.len()).ok()?;
    let mut rest = head.get(FIXED..)?;
    let mut list = Vec::new();
    while let Some((&length, more)) = rest.split_first() {
        let (name, more) = more.split_at_checked(length.into())?;
        let (length, more) = more.split_first_chunk()?;
        let key = StoreKey::new(std::str::from_utf8(name).ok()?).ok()?;
        let length = u32::from_be_bytes(*length);
        let place = Place {
            pack: Arc::clone(pack),
            at,
            length: usize::try_from(length)
                .ok()
                .filter(|length| *length <= MAX_OBJECT)?,
        };
        list.push((key, place));
        at = at.checked_add(length.into())?;
        rest = more;
    }
    Some(list)
}

fn name_of(head: &[u8]) -> String {
    hex::encode(Sha256::digest(head))
}

fn is_name(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A file that is to be written.
pub(crate) struct Pack<'a> {
    head: Vec<u8>,
    objects: &'a [&'a Object],
}

impl<'a> Pack<'a> {
    /// The files that these objects make. None of the objects is longer than one may be.
    pub(crate) fn of(objects: &'a [&'a Object]) -> impl Iterator<Item = Self> {
        objects.chunks(MOST).map(|objects| {
            let mut list = Vec::new();
            for Object { key, bytes } in objects {
                let name = key.as_str().as_bytes();
                list.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                list.extend_from_slice(name);
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                list.extend_from_slice(&length.to_be_bytes());
            }
            let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
            let head = [&MAGIC[..], &length.to_be_bytes(), &list].concat();
            Self { head, objects }
        })
    }

    pub(crate) fn name(&self) -> String {
        name_of(&self.head)
    }

    pub(crate) fn write(&self, file: &mut File) -> std::io::Result<()> {
        file.write_all(&self.head)?;
        let mut objects = self.objects.iter();
        objects.try_for_each(|object| file.write_all(&object.bytes))
    }
}
