//! Files of commands: read with a limit, written all or none, failures as findings.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_framing::replace::{Change, Expected, ReplaceError, Staged, finding, replace_one};
use nacre_framing::signals::Stop;

use crate::context::Context;
use crate::error::{CommandError, Kind};

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, CommandError> {
    let name = path.display().to_string();
    let failed = |why: String| {
        let message = format!("cannot read {name}: {why}");
        CommandError::from(
            Finding::error(codes::cli::FILE_UNREADABLE, message).at(Location::file(name.clone())),
        )
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX);
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let too_long = || failed(format!("it has more than {limit} bytes"));
    // Said before a long file is read; what is no file has no length, and any may grow meanwhile.
    if file.metadata().is_ok_and(|found| found.len() > most) {
        return Err(too_long());
    }
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    match bytes.len() > limit {
        true => Err(too_long()),
        false => Ok(bytes),
    }
}

/// Files that are put into place together.
#[derive(Debug, Default)]
pub(crate) struct Outputs(Vec<(PathBuf, Vec<u8>)>);

impl Outputs {
    /// Adds a file.
    pub(crate) fn add(&mut self, path: PathBuf, content: impl Into<Vec<u8>>) {
        self.0.push((path, content.into()));
    }

    /// The paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }

    /// Writes all or none. Files that hold the content already stay as they are.
    pub(crate) fn write(&self) -> Result<(), CommandError> {
        for (path, _) in &self.0 {
            if let Some(directory) = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                std::fs::create_dir_all(directory).map_err(|source| {
                    let path = directory.to_path_buf();
                    write_error(&ReplaceError::Unwritable { path, source })
                })?;
            }
        }
        let different = self
            .0
            .iter()
            .filter(|(path, content)| std::fs::read(path).map_or(true, |there| there != *content));
        let changes: Vec<Change<'_>> = different
            .map(|(path, content)| Change {
                path,
                expected: Expected::Anything,
                content,
            })
            .collect();
        let stop = Stop::watch().map_err(|source| {
            let path = PathBuf::from("signal handlers");
            write_error(&ReplaceError::Unwritable { path, source })
        })?;
        let signal = || stop.signal();
        Staged::stage(&changes, &signal)
            .and_then(|staged| staged.commit(&signal))
            .map_err(|error| write_error(&error))
    }
}

/// The failure of an all-or-nothing write.
pub(crate) fn write_error(error: &ReplaceError) -> CommandError {
    let finding = finding(error);
    match error {
        ReplaceError::Interrupted { signal } => {
            let signal = u8::try_from(*signal).unwrap_or_default();
            CommandError::new(Kind::Interrupted(signal), vec![finding])
        }
        _ => finding.into(),
    }
}

/// Writes a command's text to a file of the user's, or to standard output. Findings come first, so that
/// a report that cannot be written stops the command before anything is put in place.
pub(crate) fn write_result(
    out: Option<&Path>,
    text: &str,
    context: &mut Context,
) -> Result<(), CommandError> {
    context.publish()?;
    let Some(out) = out.filter(|path| *path != Path::new("-")) else {
        return context.print(text);
    };
    let path = context.environment.path(out);
    replace_one(&path, text.as_bytes()).map_err(|error| write_error(&error))?;
    context.note(&format!("wrote {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_limit_is_read_whole_and_one_byte_more_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (length, is_read) in [(0, true), (9, true), (10, true), (11, false), (4096, false)] {
            std::fs::write(&path, vec![7; length]).unwrap();
            let read = read(&path, 10);
            assert_eq!(
                read.ok().map(|bytes| bytes.len()),
                is_read.then_some(length)
            );
        }
        // What says nothing of its length is read to one byte more than the limit.
        let endless = read(Path::new("/dev/zero"), 10);
        let message = endless.unwrap_err().findings.remove(0).message;
        assert!(message.ends_with("it has more than 10 bytes"), "{message}");
    }
}
