//! A folder of content by digest, shared between runs.
//!
//! Files appear under their name only when whole, and are verified every time they are read; a
//! damaged one counts as absent. Interrupted downloads are kept and resumed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nacre_imagelock::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use crate::content::{Hashing, read_limited};
use crate::error::Error;

/// Largest small file (manifest, configuration, facts of a layer) taken from the cache.
const SMALL: u64 = 16 << 20;

#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    /// Keeps a cache of one run alive.
    _temporary: Option<TempDir>,
}

impl Cache {
    /// The cache in this folder, which is made if needed; without one, a folder for this run.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, Error> {
        let (root, temporary) = match folder {
            Some(folder) => (folder.join("v1"), None),
            None => {
                let folder = TempDir::new().map_err(Error::file(std::env::temp_dir()))?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        for name in ["blobs", "facts", "partial"] {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(Error::file(path))?;
        }
        Ok(Self {
            root,
            _temporary: temporary,
        })
    }

    /// A manifest or configuration.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = small(&self.root.join("blobs").join(digest.hex()))?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<(), Error> {
        self.put(
            &self.root.join("blobs").join(Digest::of(bytes).hex()),
            bytes,
        )
    }

    /// What was found out under a key: kept behind its own checksum.
    pub(crate) fn facts(&self, key: &str) -> Option<Vec<u8>> {
        let mut bytes = small(&self.facts_path(key))?;
        let body = bytes.split_off_checked(32)?;
        (Digest::of(&body).as_bytes().as_slice() == bytes).then_some(body)
    }

    pub(crate) fn put_facts(&self, key: &str, body: &[u8]) -> Result<(), Error> {
        let mut bytes = Digest::of(body).as_bytes().to_vec();
        bytes.extend_from_slice(body);
        self.put(&self.facts_path(key), &bytes)
    }

    fn facts_path(&self, key: &str) -> PathBuf {
        self.root
            .join("facts")
            .join(Digest::of(key.as_bytes()).hex())
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let mut file = NamedTempFile::new_in(&self.root).map_err(Error::file(&self.root))?;
        file.write_all(bytes).map_err(Error::file(path))?;
        file.persist(path).map_err(|e| Error::File {
            path: path.to_owned(),
            source: e.error,
        })?;
        Ok(())
    }

    /// A download of this blob, with what earlier runs left of it. A second process working on
    /// the same blob gets a file of its own.
    pub(crate) fn download(&self, digest: &Digest) -> Result<Download, Error> {
        let path = self.root.join("partial").join(digest.hex());
        let fail = || Error::file(&path);
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = open.map_err(fail())?;
        match file.try_lock() {
            Ok(()) => Download::resume(file, Some(path.clone())).map_err(fail()),
            Err(fs::TryLockError::WouldBlock) => {
                let file = tempfile::tempfile_in(&self.root).map_err(fail())?;
                Download::resume(file, None).map_err(fail())
            }
            Err(fs::TryLockError::Error(error)) => Err(fail()(error)),
        }
    }
}

fn small(path: &Path) -> Option<Vec<u8>> {
    read_limited(File::open(path).ok()?, SMALL).ok().flatten()
}

trait SplitOffChecked {
    fn split_off_checked(&mut self, at: usize) -> Option<Vec<u8>>;
}

impl SplitOffChecked for Vec<u8> {
    fn split_off_checked(&mut self, at: usize) -> Option<Vec<u8>> {
        (self.len() >= at).then(|| self.split_off(at))
    }
}

/// A blob on its way to the disk.
#[derive(Debug)]
pub(crate) struct Download {
    file: File,
    path: Option<PathBuf>,
    hasher: Sha256,
    length: u64,
}

impl Download {
    fn resume(file: File, path: Option<PathBuf>) -> io::Result<Self> {
        let (hasher, length) = Hashing::new(&file).drain()?;
        Ok(Self {
            file,
            path,
            hasher,
            length,
        })
    }

    /// How much is there.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// The digest of what is there.
    pub(crate) fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// Throws away what is there.
    pub(crate) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// The content, from its start.
    pub(crate) fn reader(&mut self) -> io::Result<impl Read + '_> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(BufReader::with_capacity(256 << 10, &self.file))
    }

    /// Removes the file: what was wanted from it is known.
    pub(crate) fn discard(self) {
        if let Some(path) = &self.path {
            // A file that stays is only a waste of space; the next run uses or removes it.
            let _ = fs::remove_file(path);
        }
    }
}

impl Write for Download {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_counts_as_absent() {
        let folder = TempDir::new().unwrap();
        let cache = Cache::open(Some(folder.path())).unwrap();
        let digest = Digest::of(b"content");
        assert_eq!(cache.blob(&digest), None);
        cache.put_blob(b"content").unwrap();
        cache.put_facts("key", b"facts").unwrap();
        assert_eq!(cache.blob(&digest).unwrap(), b"content");
        assert_eq!(cache.facts("key").unwrap(), b"facts");
        assert_eq!(cache.facts("other"), None);

        fs::write(
            folder.path().join("v1/blobs").join(digest.hex()),
            b"Content",
        )
        .unwrap();
        assert_eq!(cache.blob(&digest), None);
        let path = cache.facts_path("key");
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(cache.facts("key"), None);
        fs::write(&path, b"short").unwrap();
        assert_eq!(cache.facts("key"), None);
    }

    #[test]
    fn a_download_goes_on_where_it_ended() {
        let folder = TempDir::new().unwrap();
        let cache = Cache::open(Some(folder.path())).unwrap();
        let digest = Digest::of(b"hello world");
        let mut first = cache.download(&digest).unwrap();
        first.write_all(b"hello ").unwrap();
        // Another process meanwhile works on a copy of its own.
        assert_eq!(cache.download(&digest).unwrap().length(), 0);
        drop(first);
        let mut second = cache.download(&digest).unwrap();
        assert_eq!(second.length(), 6);
        second.write_all(b"world").unwrap();
        assert_eq!(second.digest(), digest);
        let mut text = String::new();
        second.reader().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello world");
        second.discard();
        assert_eq!(cache.download(&digest).unwrap().length(), 0);
    }

    #[test]
    fn a_download_can_start_over() {
        let cache = Cache::open(None).unwrap();
        let mut download = cache.download(&Digest::of(b"x")).unwrap();
        download.write_all(b"wrong").unwrap();
        download.restart().unwrap();
        download.write_all(b"x").unwrap();
        assert_eq!(
            (download.length(), download.digest()),
            (1, Digest::of(b"x"))
        );
    }
}
