//! As much DER as a public key needs: definite lengths, minimal encodings, nothing left over.

/// Why bytes are not the DER that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DerError {
    /// The bytes end inside a value.
    #[error("the encoding ends early")]
    Truncated,
    /// A length in a form that DER does not allow, or longer than four bytes.
    #[error("a length is not in its shortest form")]
    Length,
    /// Another type of value than expected.
    #[error("tag {found:#04x} where {expected:#04x} was expected")]
    Tag {
        /// The tag the structure needs here.
        expected: u8,
        /// The tag that stands here.
        found: u8,
    },
    /// Bytes behind the value.
    #[error("bytes behind the end of the encoding")]
    Trailing,
    /// A number that is negative or has superfluous leading zeros.
    #[error("a number is negative or not in its shortest form")]
    Integer,
    /// A bit string that does not end at a whole byte.
    #[error("a bit string does not end at a whole byte")]
    BitString,
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// Reads values one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Self {
        Self { rest: der }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The content of the next value, which must have this tag.
    pub(crate) fn value(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        let found = self.byte()?;
        if found != tag {
            return Err(DerError::Tag {
                expected: tag,
                found,
            });
        }
        let length = self.length()?;
        let (content, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok(content)
    }

    /// A reader of the content of the next value, a sequence.
    pub(crate) fn sequence(&mut self) -> Result<Reader<'a>, DerError> {
        self.value(SEQUENCE).map(Reader::new)
    }

    /// The magnitude of the next value, a number above zero or zero, without leading zeros.
    pub(crate) fn unsigned(&mut self) -> Result<&'a [u8], DerError> {
        match self.value(INTEGER)? {
            [] => Err(DerError::Integer),
            [0] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|byte| byte & 0x80 != 0) => Ok(rest),
            [0, ..] => Err(DerError::Integer),
            [first, ..] if first & 0x80 != 0 => Err(DerError::Integer),
            number => Ok(number),
        }
    }

    /// The bytes of the next value, a bit string.
    pub(crate) fn bits(&mut self) -> Result<&'a [u8], DerError> {
        match self.value(BIT_STRING)? {
            [0, bytes @ ..] => Ok(bytes),
            _ => Err(DerError::BitString),
        }
    }

    /// Fails when something is left.
    pub(crate) fn end(self) -> Result<(), DerError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DerError::Trailing)
        }
    }

    fn byte(&mut self) -> Result<u8, DerError> {
        let (byte, rest) = self.rest.split_first().ok_or(DerError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn length(&mut self) -> Result<usize, DerError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(usize::from(first));
        }
        let count = first & 0x7f;
        if !(1..=4).contains(&count) {
            return Err(DerError::Length);
        }
        let mut length = 0_usize;
        for _ in 0..count {
            length = length << 8 | usize::from(self.byte()?);
        }
        let shortest = match count {
            1 => length >= 0x80,
            _ => length >= 1 << (8 * (count - 1)),
        };
        if shortest {
            Ok(length)
        } else {
            Err(DerError::Length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_in_order() {
        let mut outer = Reader::new(&[0x30, 0x06, 0x02, 0x01, 0x05, 0x03, 0x01, 0x00]);
        let mut inner = outer.sequence().unwrap();
        assert_eq!(inner.unsigned(), Ok(&[5][..]));
        assert_eq!(inner.bits(), Ok(&[][..]));
        assert_eq!(inner.end(), Ok(()));
        assert_eq!(outer.end(), Ok(()));
    }

    #[test]
    fn each_departure_from_der_has_its_reason() {
        let unsigned = |bytes: &[u8]| Reader::new(bytes).unsigned().map(<[u8]>::to_vec);
        assert_eq!(unsigned(&[]), Err(DerError::Truncated));
        assert_eq!(unsigned(&[2, 2, 1]), Err(DerError::Truncated));
        assert_eq!(
            unsigned(&[3, 1, 1]),
            Err(DerError::Tag {
                expected: 2,
                found: 3
            })
        );
        assert_eq!(unsigned(&[2, 1, 0x80]), Err(DerError::Integer));
        assert_eq!(unsigned(&[2, 2, 0, 1]), Err(DerError::Integer));
        assert_eq!(unsigned(&[2, 0]), Err(DerError::Integer));
        assert_eq!(unsigned(&[2, 2, 0, 0x80]), Ok(vec![0x80]));
        assert_eq!(unsigned(&[2, 0x81, 1, 1]), Err(DerError::Length));
        assert_eq!(unsigned(&[2, 0x82, 0, 0x80, 1]), Err(DerError::Length));
        assert_eq!(unsigned(&[2, 0x80, 1, 0, 0]), Err(DerError::Length));
        assert_eq!(unsigned(&[2, 0x85, 1, 1, 1, 1, 1]), Err(DerError::Length));
        assert_eq!(
            unsigned(&[2, 0x84, 0xff, 0xff, 0xff, 0xff, 1]),
            Err(DerError::Truncated)
        );
        assert_eq!(Reader::new(&[3, 2, 1, 0]).bits(), Err(DerError::BitString));
        assert_eq!(Reader::new(&[0]).end(), Err(DerError::Trailing));
    }
}
