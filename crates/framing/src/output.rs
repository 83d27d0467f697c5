//! Standard output: all of it, or an error.

use std::io::{self, Write};

use nacre_findings::{Finding, codes};

/// Writes the whole text and flushes it. A reader that went away, and a full disk behind a
/// redirection, are errors.
pub fn write(stdout: &mut dyn Write, text: &[u8]) -> Result<(), Finding> {
    stdout
        .write_all(text)
        .and_then(|()| stdout.flush())
        .map_err(|error| failed(&error))
}

/// Refuses to go on when standard output of this process was closed by its parent (`>&-`).
///
/// Rust opens `/dev/null` for reading and writing in place of a closed descriptor, and everything
/// written would be lost without an error. A shell's `> /dev/null` opens it for writing only and is
/// not meant.
pub fn require_open() -> Result<(), Finding> {
    let stdout = io::stdout();
    let null = rustix::fs::stat("/dev/null");
    let (Ok(null), Ok(ours), Ok(flags)) = (
        null,
        rustix::fs::fstat(&stdout),
        rustix::fs::fcntl_getfl(&stdout),
    ) else {
        return Ok(());
    };
    let is_null = ours.st_rdev == null.st_rdev
        && rustix::fs::FileType::from_raw_mode(ours.st_mode)
            == rustix::fs::FileType::CharacterDevice;
    if is_null && flags.contains(rustix::fs::OFlags::RDWR) {
        return Err(Finding::error(
            codes::cli::OUTPUT_CLOSED,
            "standard output is closed, the result would be lost",
        )
        .help("to discard the result on purpose, redirect it: `> /dev/null`"));
    }
    Ok(())
}

fn failed(error: &io::Error) -> Finding {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Finding::error(
            codes::cli::OUTPUT_CLOSED,
            "the reader of standard output went away before it had the whole result",
        )
    } else {
        Finding::error(
            codes::cli::FILE_UNWRITABLE,
            format!("cannot write standard output: {error}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_and_a_full_disk_are_told_apart() {
        let closed = write(&mut Failing(io::ErrorKind::BrokenPipe), b"x").unwrap_err();
        assert_eq!(closed.code, codes::cli::OUTPUT_CLOSED);
        let full = write(&mut Failing(io::ErrorKind::StorageFull), b"x").unwrap_err();
        assert_eq!(full.code, codes::cli::FILE_UNWRITABLE);
        assert!(full.message.starts_with("cannot write standard output"));
    }

    #[test]
    fn everything_is_written() {
        let mut out = Vec::new();
        write(&mut out, b"all").unwrap();
        assert_eq!(out, b"all");
    }
}
