//! A tar reader for hostile input: no panics, bounded memory, positions for random access.
//!
//! ustar, pax (`x`, `g`) and GNU long names are understood, which is what image builders write.
//! Reads only; nothing is ever unpacked.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// Most that a name or pax record may take.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    /// Devices, pipes.
    Other,
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// As written, without trust in it.
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    /// Where the content begins in the stream.
    pub(crate) position: u64,
}

pub(crate) struct Archive<R> {
    reader: R,
    position: u64,
    /// Where the next header is.
    next: u64,
}

#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            position: 0,
            next: 0,
        }
    }

    /// The next entry; what was left of the one before is skipped.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extension = Extension::default();
        loop {
            self.skip_to(self.next)?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let flag = byte(&header, 156);
            let mut size = number(field(&header, 124, 12))?;
            if let Some(larger) = extension.size
                && !matches!(flag, b'x' | b'g' | b'L' | b'K')
            {
                size = larger;
            }
            let kind = match flag {
                b'0' | 0 | b'7' | b'S' => Kind::File,
                b'1' => Kind::HardLink,
                b'2' => Kind::Symlink,
                b'5' => Kind::Directory,
                _ => Kind::Other,
            };
            // Links and directories have no content whatever the size field says.
            if matches!(kind, Kind::HardLink | Kind::Symlink | Kind::Directory) {
                size = 0;
            }
            if flag == b'S' {
                self.skip_sparse_map(&header)?;
            }
            let position = self.position;
            self.next = position
                .checked_add(size)
                .and_then(|end| end.checked_next_multiple_of(BLOCK as u64))
                .ok_or_else(|| invalid("an entry is too large"))?;
            match flag {
                b'L' => extension.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extension.link = Some(until_nul(&self.extension(size)?).to_vec()),
                b'x' => pax(&self.extension(size)?, &mut extension)?,
                b'g' => {}
                _ => {
                    let path = extension.path.take().unwrap_or_else(|| name(&header));
                    let link = extension.link.take();
                    let link = link.unwrap_or_else(|| until_nul(field(&header, 157, 100)).to_vec());
                    return Ok(Some(Entry {
                        path,
                        link,
                        kind,
                        size,
                        position,
                    }));
                }
            }
        }
    }

    /// The content of the entry just returned.
    pub(crate) fn content(&mut self, entry: &Entry, limit: u64) -> io::Result<Option<Vec<u8>>> {
        if entry.size > limit {
            return Ok(None);
        }
        self.exactly(entry.size).map(Some)
    }

    /// The reader, behind everything read so far.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    /// `None` at the end: a block of zeros, or the end of the stream at a block's edge.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest)? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => filled += read,
            }
        }
        self.position += BLOCK as u64;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let sum = |as_byte: fn(u8) -> i64| -> i64 {
            let blank = |(at, b): (usize, &u8)| {
                if (148..156).contains(&at) {
                    i64::from(b' ')
                } else {
                    as_byte(*b)
                }
            };
            block.iter().enumerate().map(blank).sum()
        };
        let recorded = number(field(&block, 148, 8))?;
        // Old writers summed signed characters.
        let signed =
            i64::try_from(recorded).is_ok_and(|r| r == sum(|b| i64::from(b.cast_signed())));
        if !signed && i64::try_from(recorded) != Ok(sum(i64::from)) {
            return Err(invalid("a header has a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(invalid("an extended header is too large"));
        }
        self.exactly(size)
    }

    fn exactly(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self.reader).take(size).read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        if (bytes.len() as u64) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    fn skip_to(&mut self, position: u64) -> io::Result<()> {
        let distance = position.saturating_sub(self.position);
        let skipped = io::copy(&mut (&mut self.reader).take(distance), &mut io::sink())?;
        self.position += skipped;
        if skipped < distance {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Old GNU sparse files: further blocks of the map stand before the content.
    fn skip_sparse_map(&mut self, header: &[u8; BLOCK]) -> io::Result<()> {
        let mut more = byte(header, 482) != 0;
        while more {
            let block = self.exactly(BLOCK as u64)?;
            more = block.get(504).is_some_and(|b| *b != 0);
        }
        Ok(())
    }
}

fn pax(records: &[u8], extension: &mut Extension) -> io::Result<()> {
    let mut rest = records;
    while !rest.is_empty() {
        let malformed = || invalid("an extended header is malformed");
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(malformed)?;
        let digits = rest.get(..space).and_then(|d| std::str::from_utf8(d).ok());
        let length: usize = digits.and_then(|d| d.parse().ok()).ok_or_else(malformed)?;
        let record = rest.get(space + 1..length).ok_or_else(malformed)?;
        rest = rest.get(length..).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record
            .iter()
            .position(|b| *b == b'=')
            .ok_or_else(malformed)?;
        let (key, value) = record.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        match key {
            b"path" => extension.path = Some(value.to_vec()),
            b"linkpath" => extension.link = Some(value.to_vec()),
            b"size" => {
                let text = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                extension.size = Some(text.ok_or_else(malformed)?);
            }
            _ => {}
        }
    }
    Ok(())
}

fn name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(field(header, 0, 100));
    let prefix = until_nul(field(header, 345, 155));
    if field(header, 257, 6) != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn byte(block: &[u8], at: usize) -> u8 {
    block.get(at).copied().unwrap_or(0)
}

fn field(block: &[u8], at: usize, length: usize) -> &[u8] {
    block.get(at..at + length).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|b| *b == 0).next().unwrap_or_default()
}

/// Octal with blanks and NULs around it, or base 256 behind a set high bit.
fn number(field: &[u8]) -> io::Result<u64> {
    let malformed = || invalid("a number in a header is malformed");
    if let Some((first, rest)) = field.split_first()
        && first & 0x80 != 0
    {
        return rest.iter().try_fold(u64::from(first & 0x7f), |value, b| {
            value
                .checked_mul(256)
                .map(|v| v | u64::from(*b))
                .ok_or_else(malformed)
        });
    }
    let is_blank = |b: &u8| *b == b' ' || *b == 0;
    let digits = field
        .iter()
        .skip_while(|b| is_blank(b))
        .take_while(|b| !is_blank(b));
    digits.into_iter().try_fold(0u64, |value, b| match b {
        b'0'..=b'7' => value
            .checked_mul(8)
            .map(|v| v | u64::from(b - b'0'))
            .ok_or_else(malformed),
        _ => Err(malformed()),
    })
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One entry with content, padded.
    pub(crate) fn entry(path: &str, flag: u8, link: &str, content: &[u8]) -> Vec<u8> {
        let mut header = [0u8; BLOCK];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = flag;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..263].copy_from_slice(b"ustar\0");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    pub(crate) fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
        [entries.concat(), vec![0; 2 * BLOCK]].concat()
    }

    fn paths(bytes: &[u8]) -> io::Result<Vec<(String, String, Kind, u64)>> {
        let mut archive = Archive::new(bytes);
        let mut found = Vec::new();
        while let Some(e) = archive.next()? {
            let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
            found.push((text(e.path), text(e.link), e.kind, e.position));
        }
        Ok(found)
    }

    #[test]
    fn plain_pax_and_gnu_names() {
        let long = "d/".repeat(80) + "file";
        let record = format!("path={long}\n");
        let record = format!("{} {record}", record.len() + 4);
        let bytes = archive(&[
            entry("a", b'0', "", b"12345"),
            entry("dir/", b'5', "", b""),
            entry("l", b'2', "a", b""),
            entry("PaxHeader", b'x', "", record.as_bytes()),
            entry("short", b'0', "", b"x"),
            entry("././@LongLink", b'L', "", (long.clone() + "\0").as_bytes()),
            entry("short", b'0', "", b""),
        ]);
        let names: Vec<_> = paths(&bytes)
            .unwrap()
            .into_iter()
            .map(|e| (e.0, e.2))
            .collect();
        let expected = [
            ("a".to_owned(), Kind::File),
            ("dir/".to_owned(), Kind::Directory),
            ("l".to_owned(), Kind::Symlink),
            (long.clone(), Kind::File),
            (long, Kind::File),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn content_and_positions() {
        let bytes = archive(&[entry("a", b'0', "", b"one"), entry("b", b'0', "", b"two")]);
        let mut archive = Archive::new(&bytes[..]);
        archive.next().unwrap();
        let second = archive.next().unwrap().unwrap();
        assert_eq!(&bytes[second.position as usize..][..3], b"two");
        assert_eq!(archive.content(&second, 2).unwrap(), None);
        assert_eq!(archive.content(&second, 3).unwrap().unwrap(), b"two");
        assert!(archive.next().unwrap().is_none());
    }

    #[test]
    fn hostile_archives_end_in_an_error() {
        let mut broken = entry("a", b'0', "", b"");
        broken[0] ^= 1;
        assert!(paths(&broken).is_err());
        let cut = entry("a", b'0', "", &[7; 2000]);
        assert!(paths(&cut[..1500]).is_err());
        assert!(paths(&entry("a", b'x', "", b"9999999 path=x\n")).is_err());
        let mut huge = entry("a", b'L', "", b"");
        huge[124..136].copy_from_slice(&[
            0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ]);
        assert!(paths(&huge).is_err());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _ = paths_lossy(&bytes);
        }

        #[test]
        fn damaged_archives_never_panic(at in 0usize..2500, value: u8) {
            let mut bytes = archive(&[entry("a/b", b'x', "", b"11 path=ab\n"), entry("b", b'S', "", &[1; 600])]);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = paths_lossy(&bytes);
        }
    }

    fn paths_lossy(bytes: &[u8]) -> io::Result<usize> {
        let mut archive = Archive::new(bytes);
        let mut count = 0;
        while let Some(entry) = archive.next()? {
            archive.content(&entry, 100)?;
            count += 1;
        }
        Ok(count)
    }
}
