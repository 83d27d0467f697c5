//! Files that are there whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, fadvise};

use crate::MAX_OBJECT;
use crate::error::StoreError;

/// Files that are being written; the rest of the name is process and count.
pub(crate) const UNFINISHED: &str = ".new-";

/// The bytes of a file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
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

/// A written file, beside the one it is to become. It goes if it does not get there.
pub(crate) struct Unfinished {
    file: File,
    beside: PathBuf,
    path: PathBuf,
    placed: bool,
}

impl Unfinished {
    /// Writes the file, to the system's memory.
    pub(crate) fn write(
        path: PathBuf,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Self, StoreError> {
        let (mut file, beside) = create_beside(&path)?;
        let written = write(&mut file);
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
    pub(crate) fn start(&self) {
        // On Linux this starts the writing. What is lost when it does not is time: the sync is still to come.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Waits until it is on the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(StoreError::io(&self.beside))
    }

    /// Where it is to be.
    pub(crate) fn folder(&self) -> &Path {
        parent(&self.path)
    }

    /// Gives it its name, whatever had it. The file has to be synced; the name is not yet.
    pub(crate) fn place(mut self) -> Result<(), StoreError> {
        fs::rename(&self.beside, &self.path).map_err(StoreError::io(&self.path))?;
        self.placed = true;
        Ok(())
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

/// Whether something has the name.
pub(crate) fn is_there(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io(path)(error)),
    }
}

/// Makes a directory for this user only, and its name durable.
pub(crate) fn make_directory(path: &Path) -> Result<(), StoreError> {
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
pub(crate) fn sync(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(StoreError::io(directory))
}
