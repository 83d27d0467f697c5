//! Many objects together, which cost as much as one to write: what a pack looks like wherever it is.
//!
//! ```text
//! the head      magic (8 bytes); length of the list (u32, big-endian)
//!               the list, for each object: length of its name (u8), name, length of the object (u32, big-endian)
//! the objects   one after the other, in the order of the list
//! ```
//! A pack has the SHA-256 of its head as its name, in hex: a list that is damaged is not believed, and the objects of
//! its pack count as missing until they are written again. An object that is damaged is for its reader to find out, as
//! everywhere. A pack never changes and never goes, so where an object is has to be looked up once.

use std::io::Read;

use sha2::{Digest as _, Sha256};

use crate::key::StoreKey;
use crate::{MAX_OBJECT, Object};

/// Objects from which on they share a pack, which is one to write and one to wait for.
pub(crate) const MANY: usize = 32;
const MAGIC: &[u8; 8] = b"nacrepk1";
/// Magic and length of the list.
const FIXED: usize = MAGIC.len() + 4;
/// Longest list, in bytes.
pub(crate) const MAX_LIST: usize = 1 << 20;
/// Most bytes of one object in the list: a name has at most 32 characters before the slash.
const ENTRY: usize = 1 + 32 + 1 + 64 + 4;

/// Longest head of so many objects.
pub(crate) const fn longest_head(objects: usize) -> usize {
    FIXED + objects * ENTRY
}

/// An object of a pack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) key: StoreKey,
    /// Where it begins, from the first object on.
    pub(crate) at: usize,
    pub(crate) length: usize,
}

/// The head of a pack of these objects. None of them is longer than one may be.
pub(crate) fn head(objects: &[&Object]) -> Vec<u8> {
    let mut list = Vec::new();
    for Object { key, bytes } in objects {
        let name = key.as_str().as_bytes();
        list.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        list.extend_from_slice(name);
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        list.extend_from_slice(&length.to_be_bytes());
    }
    let length = u32::try_from(list.len()).unwrap_or(u32::MAX);
    [&MAGIC[..], &length.to_be_bytes(), &list].concat()
}

/// Reads a head, and nothing behind it; `None` when it is not whole.
pub(crate) fn read_head(mut from: impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    from.by_ref().take(FIXED as u64).read_to_end(&mut head)?;
    let Some(length) = length(&head).filter(|length| *length <= MAX_LIST as u32) else {
        return Ok(None);
    };
    let read = from.take(length.into()).read_to_end(&mut head)?;
    Ok((read as u64 == u64::from(length)).then_some(head))
}

/// The length that a head says its list has.
fn length(head: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(
        *head.strip_prefix(MAGIC)?.first_chunk()?,
    ))
}

/// The objects of the pack of this name; `None` when this is not its head.
pub(crate) fn parse(head: &[u8], pack: &str) -> Option<Vec<Listed>> {
    let mut rest = head.get(FIXED..)?;
    if length(head)? as usize != rest.len() || name_of(head) != pack {
        return None;
    }
    let mut at = 0_usize;
    let mut list = Vec::new();
    while let Some((&length, more)) = rest.split_first() {
        let (name, more) = more.split_at_checked(length.into())?;
        let (length, more) = more.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let key = StoreKey::new(std::str::from_utf8(name).ok()?).ok()?;
        if length > MAX_OBJECT {
            return None;
        }
        list.push(Listed { key, at, length });
        at = at.checked_add(length)?;
        rest = more;
    }
    Some(list)
}

/// The name of a pack.
pub(crate) fn name_of(head: &[u8]) -> String {
    hex::encode(Sha256::digest(head))
}

/// Whether a pack may be named so.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<Object> {
        let object = |at: usize| Object {
            key: StoreKey::new(&format!("{}/{at:064x}", "k".repeat(1 + at))).unwrap(),
            bytes: vec![7; at * 100],
        };
        (0..32).map(object).collect()
    }

    #[test]
    fn a_head_lists_what_it_was_made_of_and_no_other_bytes_do() {
        let objects = objects();
        let head = head(&objects.iter().collect::<Vec<_>>());
        assert!(head.len() <= longest_head(objects.len()));
        let name = name_of(&head);
        assert!(is_name(&name) && !is_name(&name.to_uppercase()));
        let list = parse(&head, &name).unwrap();
        let mut at = 0;
        for (listed, Object { key, bytes }) in list.iter().zip(&objects) {
            let length = bytes.len();
            let key = key.clone();
            assert_eq!(*listed, Listed { key, at, length });
            at += length;
        }
        assert_eq!(list.len(), objects.len());
        let followed = [&head[..], b"objects"].concat();
        assert_eq!(read_head(&followed[..]).unwrap(), Some(head.clone()));
        assert_eq!(read_head(&head[..head.len() - 1]).unwrap(), None);
        for at in 0..head.len() {
            let mut other = head.clone();
            other[at] ^= 1;
            assert_eq!(parse(&other, &name), None, "{at}");
        }
    }

    #[test]
    fn a_list_that_makes_no_sense_is_none_under_its_own_name_either() {
        let object = |bytes| Object {
            key: StoreKey::new(&format!("k/{:064x}", 1)).unwrap(),
            bytes,
        };
        let good = head(&[&object(vec![7; 9])]);
        let end = good.len();
        let changed = |at: usize, to: &[u8]| {
            let mut head = good.clone();
            head[at..at + to.len()].copy_from_slice(to);
            head
        };
        let longer = u32::try_from(MAX_OBJECT + 1).unwrap().to_be_bytes();
        for head in [
            Vec::new(),
            good[..end - 1].to_vec(),
            [&good[..], b"x"].concat(),
            // The magic, the length of the list, of the name, the name, the length of the object.
            changed(0, b"N"),
            changed(8, &[0xff; 4]),
            changed(12, &[0xff]),
            changed(13, b"/"),
            changed(end - 4, &longer),
        ] {
            assert_eq!(parse(&head, &name_of(&head)), None);
        }
        assert!(parse(&good, &name_of(&good)).is_some());
        assert_eq!(read_head(&changed(8, &[0xff; 4])[..]).unwrap(), None);
    }
}
