//! A local directory: for one node, for tests, for trying out.
//!
//! ```text
//! <root>/<kind>/<hash>   an object
//! <root>/.packs/<hash>   many objects that were written together
//! <root>/latest          replaced by renaming
//! <root>/lock            flock(2) of whoever gives a name
//! ```
//! Each file is written beside its place, synced, then given its name: whole or not there. A name is synced by syncing
//! its directory. Processes may share the directory. An object of its own counts before one among many: it is newer,
//! what [`Store::replace`] wrote.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::error::StoreError;
use crate::files::{UNFINISHED, Unfinished, is_there, make_directory, read, sync};
use crate::key::StoreKey;
use crate::pack::MANY;
use crate::packs::{Pack, Packs};
use crate::{Found, Later, Latest, Object, Put, Store, Swap, Version, check_size};

const LATEST: &str = "latest";
const LOCK: &str = "lock";
/// Not the name of a kind.
const PACKS: &str = ".packs";
/// Age from which an unfinished file is nobody's any more.
const ABANDONED: Duration = Duration::from_secs(600);
/// How long the lock is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often `latest` is looked at by who waits for a change.
const GLANCE: Duration = Duration::from_millis(100);

/// A history in a directory.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<PathBuf>,
    packs: Arc<Packs>,
}

impl Directory {
    /// Opens a directory, or makes it, for this user only.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        make_directory(root)?;
        let directory = Self {
            root: Arc::new(root.to_path_buf()),
            packs: Arc::new(Packs::new(root.join(PACKS))),
        };
        directory.open_lock()?;
        directory.sweep()?;
        sync(root)?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn blocking<'a, T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Later<'a, T> {
        let this = self.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&this)).await;
            done.unwrap_or(Err(StoreError::GivenUp))
        })
    }

    fn object(&self, key: &StoreKey) -> PathBuf {
        self.root.join(key.kind()).join(key.hash())
    }

    /// What has no name yet is written beside its place and synced. Names are given under the lock: then nobody else
    /// gives one, and who was first stays.
    fn put_now(&self, objects: &[Object]) -> Result<Vec<Put>, StoreError> {
        let mut ends = vec![Put::Stored; objects.len()];
        let mut folders = BTreeSet::new();
        loop {
            self.packs.look()?;
            let mut new = Vec::new();
            for (object, end) in objects.iter().zip(&mut ends) {
                check_size(&object.bytes)?;
                match self.compare(object, &mut folders)? {
                    Some(there) => *end = there,
                    None => new.push(object),
                }
            }
            let written = self.write_beside(&new)?;
            if written.is_empty() || self.place(&new, written, &mut folders)? {
                break;
            }
            // Somebody has written some of them meanwhile.
        }
        // Also for what was there: who wrote it may not have got to the sync before it was killed.
        folders.iter().try_for_each(|folder| sync(folder))?;
        Ok(ends)
    }

    /// What is there, as a [`Put`] of this object finds it, and in which folder; `None` if there is nothing.
    fn compare(
        &self,
        object: &Object,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<Option<Put>, StoreError> {
        let path = self.object(&object.key);
        let (found, folder) = match read(&path) {
            Ok(Some(found)) => (found, self.root.join(object.key.kind())),
            // A link to nothing has the name too.
            Ok(None) if is_there(&path)? => return Ok(Some(Put::Different)),
            Ok(None) => match self.packs.read(&object.key) {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => (found, self.packs.folder().to_path_buf()),
                // What cannot be read is another object.
                Err(error) if error.is_damage() => return Ok(Some(Put::Different)),
                Err(error) => return Err(error),
            },
            Err(error) if error.is_damage() => return Ok(Some(Put::Different)),
            Err(error) => return Err(error),
        };
        folders.insert(folder);
        Ok(Some(match found == object.bytes {
            true => Put::Same,
            false => Put::Different,
        }))
    }

    /// Everything is on its way to the disk before the first wait for it.
    fn write_beside(&self, objects: &[&Object]) -> Result<Vec<Unfinished>, StoreError> {
        let mut written = Vec::new();
        if objects.len() >= MANY {
            make_directory(self.packs.folder())?;
            for pack in Pack::of(objects) {
                let path = self.packs.folder().join(pack.name());
                written.push(Unfinished::write(path, |file| pack.write(file))?);
            }
        } else {
            for object in objects {
                make_directory(&self.root.join(object.key.kind()))?;
                let path = self.object(&object.key);
                let file = Unfinished::write(path, |file| file.write_all(&object.bytes))?;
                file.start();
                written.push(file);
            }
        }
        written.iter().try_for_each(Unfinished::sync)?;
        Ok(written)
    }

    /// Gives files their names, unless one of the objects in them has come to be there; says whether.
    fn place(
        &self,
        objects: &[&Object],
        files: Vec<Unfinished>,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<bool, StoreError> {
        let _lock = self.lock()?;
        self.packs.look()?;
        for object in objects {
            if self.packs.has(&object.key) || is_there(&self.object(&object.key))? {
                return Ok(false);
            }
        }
        for file in files {
            folders.insert(file.folder().to_path_buf());
            file.place()?;
        }
        Ok(true)
    }

    fn read_now(&self, keys: &[StoreKey]) -> Vec<Found> {
        let mut looked = false;
        let mut find = |key: &StoreKey| {
            if let Some(bytes) = read(&self.object(key))? {
                return Ok(Some(bytes));
            }
            self.look_for(key, &mut looked)?;
            self.packs.read(key)
        };
        keys.iter().map(&mut find).collect()
    }

    fn there_now(&self, keys: &[StoreKey]) -> Result<Vec<bool>, StoreError> {
        let mut looked = false;
        let mut find = |key: &StoreKey| {
            if is_there(&self.object(key))? {
                return Ok(true);
            }
            self.look_for(key, &mut looked)?;
            Ok(self.packs.has(key))
        };
        keys.iter().map(&mut find).collect()
    }

    /// Looks once at what has come, for one that is not known. That something could not be looked at is no matter when
    /// it is found elsewhere.
    fn look_for(&self, key: &StoreKey, looked: &mut bool) -> Result<(), StoreError> {
        if *looked || self.packs.has(key) {
            return Ok(());
        }
        let look = self.packs.look();
        *looked = look.is_ok();
        match self.packs.has(key) {
            true => Ok(()),
            false => look,
        }
    }

    fn replace_now(&self, key: &StoreKey, bytes: &[u8]) -> Result<(), StoreError> {
        check_size(bytes)?;
        make_directory(&self.root.join(key.kind()))?;
        let file = Unfinished::write(self.object(key), |file| file.write_all(bytes))?;
        file.sync()?;
        let folder = file.folder().to_path_buf();
        {
            let _lock = self.lock()?;
            file.place()?;
        }
        sync(&folder)
    }

    fn latest_now(&self) -> Result<Option<Latest>, StoreError> {
        let found = read(&self.root.join(LATEST))?;
        Ok(found.map(|bytes| Latest {
            version: Version(bytes.clone()),
            bytes,
        }))
    }

    fn swap_now(&self, expected: Option<&Version>, bytes: &[u8]) -> Result<Swap, StoreError> {
        let _lock = self.lock()?;
        let found = self.latest_now()?.map(|latest| latest.version);
        if found.as_ref() != expected {
            return Ok(Swap::Lost);
        }
        let file = Unfinished::write(self.root.join(LATEST), |file| file.write_all(bytes))?;
        file.sync()?;
        file.place()?;
        sync(&self.root)?;
        Ok(Swap::Moved(Version(bytes.to_vec())))
    }

    fn open_lock(&self) -> Result<File, StoreError> {
        let path = self.root.join(LOCK);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        options.open(&path).map_err(StoreError::io(&path))
    }

    /// Takes the lock; it is let go when the file is closed, and by the kernel when the process dies.
    fn lock(&self) -> Result<File, StoreError> {
        let file = self.open_lock()?;
        let path = self.root.join(LOCK);
        let start = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(StoreError::io(&path)(errno.into())),
            }
            if start.elapsed() > PATIENCE {
                return Err(StoreError::Locked {
                    path,
                    limit: PATIENCE,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes what killed processes left unfinished.
    fn sweep(&self) -> Result<(), StoreError> {
        let mut folders = vec![self.root.to_path_buf()];
        for entry in fs::read_dir(&*self.root).map_err(StoreError::io(&self.root))? {
            let path = entry.map_err(StoreError::io(&self.root))?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        for folder in folders {
            for entry in fs::read_dir(&folder).map_err(StoreError::io(&folder))? {
                let entry = entry.map_err(StoreError::io(&folder))?;
                let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
                let age = entry.metadata().and_then(|data| data.modified());
                let old = age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED));
                if unfinished && old {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(())
    }
}

impl Store for Directory {
    fn read<'a>(&'a self, key: &'a StoreKey) -> Later<'a, Option<Vec<u8>>> {
        let all = self.read_all(Arc::new([key.clone()]));
        Box::pin(async { all.await?.pop().ok_or(StoreError::GivenUp)? })
    }

    fn read_all(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<Found>> {
        self.blocking(move |this| Ok(this.read_now(&keys)))
    }

    fn there(&self, keys: Arc<[StoreKey]>) -> Later<'_, Vec<bool>> {
        self.blocking(move |this| this.there_now(&keys))
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
        self.blocking(move |this| this.put_now(&objects))
    }

    fn replace<'a>(&'a self, key: &'a StoreKey, bytes: &'a [u8]) -> Later<'a, ()> {
        let (key, bytes) = (key.clone(), bytes.to_vec());
        self.blocking(move |this| this.replace_now(&key, &bytes))
    }

    fn latest(&self) -> Later<'_, Option<Latest>> {
        self.blocking(Self::latest_now)
    }

    fn swap<'a>(&'a self, expected: Option<&'a Version>, bytes: &'a [u8]) -> Later<'a, Swap> {
        let (expected, bytes) = (expected.cloned(), bytes.to_vec());
        self.blocking(move |this| this.swap_now(expected.as_ref(), &bytes))
    }

    fn changed<'a>(&'a self, seen: Option<&'a Version>) -> Later<'a, Option<Latest>> {
        Box::pin(async move {
            loop {
                let latest = self.latest().await?;
                if latest.as_ref().map(|latest| &latest.version) != seen {
                    return Ok(latest);
                }
                tokio::time::sleep(GLANCE).await;
            }
        })
    }
}
