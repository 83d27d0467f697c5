//! Lengths in front of byte strings, and reading what was written so.

use crate::error::FormatError;

/// Appends `part` behind its length (u32, big-endian), so that no two lists of parts give the same bytes.
pub fn frame(out: &mut Vec<u8>, part: &[u8]) {
    // Nothing that is framed here comes near 4 GiB; a longer part would not be read again.
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

/// Reads parts one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// A version byte, which must be 1.
    pub(crate) fn version(&mut self) -> Result<(), FormatError> {
        match self.array()? {
            [1] => Ok(()),
            [found] => Err(FormatError::Version { found }),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A framed part of 1 to `most` bytes.
    pub(crate) fn frame(&mut self, most: usize) -> Result<&'a [u8], FormatError> {
        let length = usize::try_from(u32::from_be_bytes(self.array()?)).unwrap_or(usize::MAX);
        if length == 0 || length > most {
            return Err(FormatError::PartLength { length, most });
        }
        let (part, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(FormatError::Truncated)?;
        self.rest = rest;
        Ok(part)
    }

    /// Fails when something is left.
    pub(crate) fn end(self) -> Result<(), FormatError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(FormatError::Trailing { bytes }),
        }
    }
}
