//! A local directory: for one node, for tests, for trying out.
//!
//! ```text
//! <root>/<kind>/<hash>   written beside, synced, then given its name: whole or not there
//! <root>/latest          replaced by renaming, under the lock
//! <root>/lock            flock(2) of whoever moves latest
//! ```
//! A name is synced by syncing its directory, once for all objects that are written together. Processes may
//! share the directory.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Advice, CWD, FlockOperation, RenameFlags, fadvise, flock, renameat_with};

use crate::error::StoreError;
use crate::key::StoreKey;
use crate::whole::Whole;
use crate::{Later, Latest, MAX_OBJECT, Object, Put, Store, Swap, Version};

const LATEST: &str = "latest";
const LOCK: &str = "lock";
/// Files that are being written; the rest of the name is process and count.
const UNFINISHED: &str = ".new-";
/// Objects from which on one sync of the whole file system costs less than one of each file. Fewer are not worth
/// waiting for what others have written to it.
const MANY: usize = 32;
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
}

impl Directory {
    /// Opens a directory, or makes it, for this user only.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        make_directory(root)?;
        let directory = Self {
            root: Arc::new(root.to_path_buf()),
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

    /// Everything is on its way to the disk before the first wait for it: the waits that follow are one, of
    /// the file system or of each file.
    fn put_now(&self, objects: &[Object]) -> Result<Vec<Put>, StoreError> {
        let whole = match objects.len() >= MANY {
            true => Whole::of(&self.root).map_err(StoreError::io(&self.root))?,
            false => None,
        };
        let mut begun = Vec::new();
        for object in objects {
            let one = self.begin(object)?;
            if let (Begun::Written(file), None) = (&one, &whole) {
                file.start();
            }
            begun.push(one);
        }
        let mut written = begun.iter().filter_map(|begun| match begun {
            Begun::Written(file) => Some(file),
            Begun::There(_) => None,
        });
        match whole {
            Some(whole) if written.clone().count() >= MANY => {
                whole.sync().map_err(StoreError::io(&self.root))?;
            }
            _ => written.try_for_each(Unfinished::sync)?,
        }
        let mut ends = Vec::new();
        let mut folders = BTreeSet::new();
        for (object, begun) in objects.iter().zip(begun) {
            ends.push(match begun {
                Begun::There(put) => put,
                Begun::Written(file) => file.place(&object.bytes)?,
            });
            folders.insert(object.key.kind());
        }
        // Also for what was there: who wrote it may not have got to the sync before it was killed.
        for folder in folders {
            sync(&self.root.join(folder))?;
        }
        Ok(ends)
    }

    /// Writes an object beside its place, unless that is taken.
    fn begin(&self, object: &Object) -> Result<Begun, StoreError> {
        let path = self.object(&object.key);
        if let Some(found) = read(&path)? {
            return Ok(Begun::There(compared(&found, &object.bytes)));
        }
        make_directory(&self.root.join(object.key.kind()))?;
        Ok(Begun::Written(Unfinished::write(path, &object.bytes)?))
    }

    fn replace_now(&self, key: &StoreKey, bytes: &[u8]) -> Result<(), StoreError> {
        make_directory(&self.root.join(key.kind()))?;
        write_over(self.object(key), bytes)
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
        write_over(self.root.join(LATEST), bytes)?;
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
        let path = self.object(key);
        self.blocking(move |_| read(&path))
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

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    let limit = MAX_OBJECT as u64 + 1;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(StoreError::io(path))?;
    if bytes.len() > MAX_OBJECT {
        return Err(StoreError::TooLarge {
            bytes: bytes.len(),
            limit: MAX_OBJECT,
        });
    }
    Ok(Some(bytes))
}

fn compared(found: &[u8], bytes: &[u8]) -> Put {
    match found == bytes {
        true => Put::Same,
        false => Put::Different,
    }
}

/// An object that is to be put.
enum Begun {
    /// Something has its name.
    There(Put),
    Written(Unfinished),
}

/// A written file, beside the one it is to become. It goes if it does not get there.
struct Unfinished {
    file: File,
    beside: PathBuf,
    path: PathBuf,
    placed: bool,
}

impl Unfinished {
    /// Writes the file, to the system's memory.
    fn write(path: PathBuf, bytes: &[u8]) -> Result<Self, StoreError> {
        if bytes.len() > MAX_OBJECT {
            return Err(StoreError::TooLarge {
                bytes: bytes.len(),
                limit: MAX_OBJECT,
            });
        }
        let (mut file, beside) = create_beside(&path)?;
        let written = file.write_all(bytes);
        let this = Self {
            file,
            beside,
            path,
            placed: false,
        };
        written.map_err(StoreError::io(&this.beside))?;
        Ok(this)
    }

    /// Sends it on its way to the disk, without waiting.
    fn start(&self) {
        // On Linux this starts the writing. What is lost when it does not is time: the sync is still to come.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Waits until it is on the disk.
    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io(&self.beside))
    }

    /// Gives it its name unless that is taken. The file has to be synced; the name is not yet.
    fn place(mut self, bytes: &[u8]) -> Result<Put, StoreError> {
        match renameat_with(CWD, &self.beside, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => {
                self.placed = true;
                Ok(Put::Stored)
            }
            Err(errno) => match read(&self.path)? {
                Some(found) => Ok(compared(&found, bytes)),
                None => Err(StoreError::io(&self.path)(errno.into())),
            },
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

/// A new file in the same directory, of a name that nobody uses: processes of several containers may have
/// the same number.
fn create_beside(path: &Path) -> Result<(File, PathBuf), StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(0o600);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{UNFINISHED}{}-{count}", std::process::id());
        let beside = path.with_file_name(name);
        match options.open(&beside) {
            Ok(file) => return Ok((file, beside)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io(&beside)(error)),
        }
    }
}

/// Replaces a file, or makes it.
fn write_over(path: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = Unfinished::write(path, bytes)?;
    file.sync()?;
    fs::rename(&file.beside, &file.path).map_err(StoreError::io(&file.path))?;
    file.placed = true;
    sync(parent(&file.path))
}

/// Makes a directory for this user only, and its name durable.
fn make_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(StoreError::io(path))?;
    sync(parent(path))
}

/// The directory that a name stands in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs the names in a directory.
fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io(directory))
}
