//! Reading bytes against a digest and a size.

use std::io::{self, Read};

use nacre_imagelock::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::ContentError;

/// What a manifest says about a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// A reader that hashes and counts what passes.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
    count: u64,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            count: 0,
        }
    }

    /// Reads all that is left.
    pub(crate) fn drain(mut self) -> io::Result<(Sha256, u64)> {
        let mut buffer = vec![0; 64 << 10];
        while self.read(&mut buffer)? != 0 {}
        Ok((self.hasher, self.count))
    }

    /// Reads what is left, up to a limit on the whole, and gives digest and length.
    pub(crate) fn finish(mut self, limit: u64) -> io::Result<(Digest, u64)> {
        let mut buffer = vec![0; 64 << 10];
        while self.count <= limit {
            if self.read(&mut buffer)? == 0 {
                break;
            }
        }
        Ok((
            Digest::from_bytes(self.hasher.finalize().into()),
            self.count,
        ))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(bytes) = buffer.get(..read) {
            self.hasher.update(bytes);
        }
        self.count += read as u64;
        Ok(read)
    }
}

/// Compares what came with what was asked for.
pub(crate) fn check(blob: &Blob, found: Digest, length: u64) -> Result<(), ContentError> {
    if length < blob.size {
        return Err(ContentError::Truncated {
            expected: blob.size,
            received: length,
        });
    }
    if length > blob.size {
        return Err(ContentError::TooLong { limit: blob.size });
    }
    if found != blob.digest {
        return Err(ContentError::Digest {
            expected: blob.digest,
            found,
        });
    }
    Ok(())
}

/// All of a reader, if it is no longer than `limit`.
pub(crate) fn read_limited(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_sees_what_was_not_read_by_the_caller() {
        let mut reader = Hashing::new(&b"hello world"[..]);
        let mut five = [0; 5];
        reader.read_exact(&mut five).unwrap();
        let blob = Blob {
            digest: Digest::of(b"hello world"),
            size: 11,
        };
        let (digest, length) = reader.finish(100).unwrap();
        assert_eq!(check(&blob, digest, length), Ok(()));
        let other = Blob {
            digest: Digest::of(b"x"),
            size: 11,
        };
        let expected = ContentError::Digest {
            expected: other.digest,
            found: blob.digest,
        };
        assert_eq!(check(&other, digest, length), Err(expected));
        let cut = ContentError::Truncated {
            expected: 12,
            received: 11,
        };
        assert_eq!(check(&Blob { size: 12, ..blob }, digest, length), Err(cut));
        assert_eq!(
            check(&Blob { size: 10, ..blob }, digest, length),
            Err(ContentError::TooLong { limit: 10 })
        );
    }

    #[test]
    fn limits_end_an_endless_reader() {
        assert!(Hashing::new(io::repeat(0)).finish(1 << 20).unwrap().1 > 1 << 20);
        assert_eq!(read_limited(io::repeat(0), 10).unwrap(), None);
        assert_eq!(read_limited(&b"abc"[..], 3).unwrap().unwrap(), b"abc");
    }
}
