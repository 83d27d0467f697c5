//! All-or-nothing writes for a set of files.
//!
//! 1. Every new content is written to a temporary file beside its target, with the target's
//!    permissions, and synced. A full disk shows here, before any target is touched.
//! 2. Every existing target gets a second name (a hard link; a copy where the file system has
//!    none), so that going back needs no space.
//! 3. The temporary files are renamed over their targets one after the other. If one rename fails or
//!    a signal arrives, those already done are renamed back.
//!
//! A `SIGKILL` or a power cut between two renames can leave some files new and some old, each of
//! them whole; running the same command again completes the set.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};

/// Mode of files that did not exist before.
const NEW_FILE_MODE: u32 = 0o644;
/// So many files of killed runs are passed by.
const LEFT_BEHIND: usize = 1000;

/// What a target must hold when it is replaced.
#[derive(Clone, Copy, Debug)]
pub enum Expected<'a> {
    /// Whatever it holds, or nothing.
    Anything,
    /// The bytes that were read earlier; anything else means that somebody edited it meanwhile.
    Exactly(&'a [u8]),
    /// It must not exist; it is created with this mode.
    Absent(u32),
}

/// One file to be replaced or created.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The target; a symbolic link is followed and stays a link.
    pub path: &'a Path,
    /// What it must hold before.
    pub expected: Expected<'a>,
    /// What it holds afterwards.
    pub content: &'a [u8],
}

/// Why a set of files was not written. Every target is as it was before, except after
/// [`ReplaceError::NotRestored`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// A target cannot be looked at.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The target.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A target is a directory, a device or a pipe.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// The target.
        path: PathBuf,
    },
    /// A target was edited after it had been read, or exists where none should be.
    #[error("{} was changed by another program meanwhile", path.display())]
    Changed {
        /// The target.
        path: PathBuf,
    },
    /// A new content cannot be written.
    #[error("cannot write {}", path.display())]
    Unwritable {
        /// The target.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A signal arrived.
    #[error("interrupted by signal {signal}")]
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// A rename back failed: the old content is under the second name.
    #[error("{} could not be put back; its old content is in {}", path.display(), backup.display())]
    NotRestored {
        /// The target.
        path: PathBuf,
        /// Where the old content is.
        backup: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A set of new contents that are on the disk but not in place yet. Dropped without
/// [`Staged::commit`], it leaves no trace.
#[derive(Debug)]
#[must_use = "nothing is in place before commit"]
pub struct Staged {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    target: PathBuf,
    fresh: PathBuf,
    /// Second name of the old content; `None` where the target did not exist.
    backup: Option<PathBuf>,
    renamed: bool,
}

impl Staged {
    /// Writes every new content beside its target. `stop` is asked between files and answers with
    /// a signal's number when one has arrived.
    pub fn stage(
        changes: &[Change<'_>],
        stop: &dyn Fn() -> Option<i32>,
    ) -> Result<Self, ReplaceError> {
        let mut staged = Self {
            entries: Vec::with_capacity(changes.len()),
        };
        for change in changes {
            check(stop)?;
            staged.add(change)?;
        }
        check(stop)?;
        Ok(staged)
    }

    /// Puts every file into place, or none.
    pub fn commit(mut self, stop: &dyn Fn() -> Option<i32>) -> Result<(), ReplaceError> {
        let outcome = self.rename_all(stop);
        if let Err(error) = outcome {
            self.roll_back()?;
            return Err(error);
        }
        for directory in self.directories() {
            // The renames are done; a directory that cannot be synced changes nothing about that.
            let _ = File::open(directory).and_then(|dir| dir.sync_all());
        }
        Ok(())
    }

    fn add(&mut self, change: &Change<'_>) -> Result<(), ReplaceError> {
        let unwritable = |source| ReplaceError::Unwritable {
            path: change.path.into(),
            source,
        };
        let (target, metadata) = resolve(change.path)?;
        let existing = match &metadata {
            Some(_) => {
                let current = fs::read(&target).map_err(|source| ReplaceError::Unreadable {
                    path: change.path.into(),
                    source,
                })?;
                let as_expected = match change.expected {
                    Expected::Anything => true,
                    Expected::Exactly(bytes) => bytes == current,
                    Expected::Absent(_) => false,
                };
                if !as_expected {
                    return Err(ReplaceError::Changed {
                        path: change.path.into(),
                    });
                }
                // A rename would replace a write-protected file as well.
                OpenOptions::new()
                    .write(true)
                    .open(&target)
                    .map_err(unwritable)?;
                true
            }
            None => {
                if let Expected::Exactly(_) = change.expected {
                    return Err(ReplaceError::Changed {
                        path: change.path.into(),
                    });
                }
                false
            }
        };
        let mode = match (&metadata, change.expected) {
            (Some(metadata), _) => metadata.permissions().mode() & 0o7777,
            (None, Expected::Absent(mode)) => mode,
            (None, _) => NEW_FILE_MODE,
        };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let (mut file, fresh) =
            beside(&target, "new", |path| options.open(path)).map_err(unwritable)?;
        // From here on, dropping `self` removes the file.
        self.entries.push(Entry {
            target: target.clone(),
            fresh,
            backup: None,
            renamed: false,
        });
        if let Some(metadata) = &metadata {
            // Only the superuser can give files away; for everybody else the owner stays the writer.
            let _ = fchown(&file, Some(metadata.uid()), Some(metadata.gid()));
            file.set_permissions(metadata.permissions())
                .map_err(unwritable)?;
        }
        file.write_all(change.content)
            .and_then(|()| file.sync_all())
            .map_err(unwritable)?;
        drop(file);
        if existing {
            let ((), backup) =
                beside(&target, "old", |path| second_name(&target, path)).map_err(unwritable)?;
            if let Some(entry) = self.entries.last_mut() {
                entry.backup = Some(backup);
            }
        }
        Ok(())
    }

    fn rename_all(&mut self, stop: &dyn Fn() -> Option<i32>) -> Result<(), ReplaceError> {
        for entry in &mut self.entries {
            check(stop)?;
            fs::rename(&entry.fresh, &entry.target).map_err(|source| ReplaceError::Unwritable {
                path: entry.target.clone(),
                source,
            })?;
            entry.renamed = true;
        }
        check(stop)
    }

    fn roll_back(&mut self) -> Result<(), ReplaceError> {
        let mut first_failure = None;
        for entry in self.entries.iter_mut().rev().filter(|entry| entry.renamed) {
            let restored = match &entry.backup {
                Some(backup) => fs::rename(backup, &entry.target),
                None => fs::remove_file(&entry.target),
            };
            match (restored, &entry.backup) {
                (Err(source), Some(backup)) => {
                    let failure = ReplaceError::NotRestored {
                        path: entry.target.clone(),
                        backup: backup.clone(),
                        source,
                    };
                    first_failure.get_or_insert(failure);
                    // The only copy of the old content must survive the drop.
                    entry.backup = None;
                }
                _ => entry.renamed = false,
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    fn directories(&self) -> Vec<&Path> {
        let mut out: Vec<&Path> = self
            .entries
            .iter()
            .filter_map(|entry| entry.target.parent())
            .collect();
        out.sort_unstable();
        out.dedup();
        out
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for entry in &self.entries {
            // Already renamed or never created: nothing to remove.
            let _ = fs::remove_file(&entry.fresh);
            if let Some(backup) = &entry.backup {
                let _ = fs::remove_file(backup);
            }
        }
    }
}

/// Writes one file in the same way: temporary file, sync, rename.
pub fn replace_one(path: &Path, content: &[u8]) -> Result<(), ReplaceError> {
    let never = || None;
    Staged::stage(
        &[Change {
            path,
            expected: Expected::Anything,
            content,
        }],
        &never,
    )?
    .commit(&never)
}

/// What a user is told about a failure.
pub fn finding(error: &ReplaceError) -> Finding {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let code = match error {
        ReplaceError::Interrupted { .. } => codes::cli::INTERRUPTED,
        ReplaceError::Unreadable { .. } => codes::cli::FILE_UNREADABLE,
        _ => codes::cli::FILE_UNWRITABLE,
    };
    let finding = Finding::error(code, format!("{error}{}", cause.unwrap_or_default()));
    match error {
        ReplaceError::Interrupted { .. } => finding.help("nothing was changed; run it again"),
        ReplaceError::NotRestored { path, .. } => finding
            .help("rename the file named back, or run the command again")
            .at(Location::file(path.display().to_string())),
        ReplaceError::Unreadable { path, .. }
        | ReplaceError::NotRegular { path }
        | ReplaceError::Changed { path }
        | ReplaceError::Unwritable { path, .. } => finding
            .help("nothing was changed")
            .at(Location::file(path.display().to_string())),
    }
}

fn check(stop: &dyn Fn() -> Option<i32>) -> Result<(), ReplaceError> {
    match stop() {
        Some(signal) => Err(ReplaceError::Interrupted { signal }),
        None => Ok(()),
    }
}

/// The file behind symbolic links, and what is known of it when it exists.
fn resolve(path: &Path) -> Result<(PathBuf, Option<fs::Metadata>), ReplaceError> {
    match fs::canonicalize(path) {
        Ok(target) => {
            let metadata = fs::metadata(&target).map_err(|source| ReplaceError::Unreadable {
                path: path.into(),
                source,
            })?;
            if !metadata.is_file() {
                return Err(ReplaceError::NotRegular { path: path.into() });
            }
            Ok((target, Some(metadata)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                // A link that leads nowhere: creating its target would surprise.
                return Err(ReplaceError::NotRegular { path: path.into() });
            }
            Ok((path.to_path_buf(), None))
        }
        Err(source) => Err(ReplaceError::Unreadable {
            path: path.into(),
            source,
        }),
    }
}

/// Another name for a file: a hard link, or a copy where the file system has none. Never over a file that is
/// there: what a killed run left may be the target itself by another name.
fn second_name(target: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(target, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut from = File::open(target)?;
            let mode = from.metadata()?.permissions().mode() & 0o7777;
            let mut options = OpenOptions::new();
            let mut to = options.write(true).create_new(true).mode(mode).open(path)?;
            let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
            copied.inspect_err(|_| {
                let _ = fs::remove_file(path);
            })
        }
        linked => linked,
    }
}

/// Makes a file beside another under the first name that is free. Process numbers come back, in a container
/// at each start, and a killed run leaves its files.
fn beside<T>(
    target: &Path,
    suffix: &str,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let mut number = 0;
    loop {
        let path = name_beside(target, number, suffix);
        match make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < LEFT_BEHIND => {
                number += 1;
            }
            made => return made.map(|made| (made, path)),
        }
    }
}

/// `.<name>.nacre-<process>-<number>.<suffix>`: hidden, and no YAML to any tool that walks folders.
fn name_beside(target: &Path, number: usize, suffix: &str) -> PathBuf {
    let name = target
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    // Long names are cut, so that the longer name stays within the usual limit of 255 bytes.
    let name: String = name.chars().take(48).collect();
    target.with_file_name(format!(
        ".{name}.nacre-{}-{number}.{suffix}",
        std::process::id()
    ))
}

#[cfg(test)]
#[path = "replace_tests.rs"]
mod tests;
