//! Deterministic gzip (RFC 1952) of initdata documents.
//!
//! Every document begins with the same rules, and compressing them again for each workload would be
//! most of the work. So the common beginning stands here deflated, as a block without its last bits to the
//! byte, and the block of each document continues at that bit: its data may refer back to the rules.
//! `NACRE_BLESS=1 cargo test -p nacre-policy --lib` writes the beginning anew after a change of the rules.

use std::io::Read;
use std::sync::LazyLock;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::carrier::common;
use crate::deflate::{Bits, Places, last_block};

/// Magic, deflate, no flags, no time, best compression, unknown system (RFC 1952 section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

/// The common beginning, compressed with more effort than there is time for in a run: first how many bits
/// of the last byte count.
const BEGINNING: &[u8] = include_bytes!("rules.deflate");

/// Compresses `document`. The same document gives the same bytes everywhere.
pub(crate) fn pack(document: &str) -> Vec<u8> {
    /// Bits and places of the beginning, if what stands here deflated is that of these rules.
    static PRIMED: LazyLock<Option<(Bits, Places)>> = LazyLock::new(|| {
        let common = common();
        let (in_last, bytes) = BEGINNING.split_first()?;
        let bits = Bits::of(bytes.to_vec(), u32::from(*in_last));
        let same = unfinished(&bits, common.len()).as_deref() == Some(common);
        same.then(|| (bits, Places::of(common.as_bytes())))
    });
    let common = common();
    let primed = PRIMED.clone().filter(|_| document.starts_with(common));
    let begun = primed.is_some();
    let (mut bits, places) = primed.unwrap_or_else(|| (Bits::default(), Places::of(&[])));
    let start = if begun { common.len() } else { 0 };
    last_block(&mut bits, document.as_bytes(), start, places);
    let mut crc = Crc::new();
    crc.update(document.as_bytes());
    let mut out = HEADER.to_vec();
    out.extend_from_slice(&bits.into_bytes());
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// Inflates a stream without its last block, if it holds a text of this length.
fn unfinished(bits: &Bits, length: usize) -> Option<String> {
    let mut ended = bits.clone();
    last_block(&mut ended, &[], 0, Places::of(&[]));
    let limit = u64::try_from(length).ok()?.saturating_add(1);
    let mut text = String::new();
    let ended = ended.into_bytes();
    let mut inflate = DeflateDecoder::new(ended.as_slice()).take(limit);
    inflate.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;

    fn unpack(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    /// One block of the best parse there is, turned into one that others follow.
    fn beginning(text: &str) -> Vec<u8> {
        let options = zopfli::Options {
            maximum_block_splits: 1,
            iteration_count: std::num::NonZeroU64::new(200).unwrap(),
            ..zopfli::Options::default()
        };
        let mut block = Vec::new();
        zopfli::compress(
            options,
            zopfli::Format::Deflate,
            text.as_bytes(),
            &mut block,
        )
        .unwrap();
        assert_eq!(block[0] & 1, 1, "the only block is the last");
        block[0] &= !1;
        // Where in its last byte the block ends it does not say.
        let in_last = (1..=8u8).find(|in_last| {
            let bits = Bits::of(block.clone(), u32::from(*in_last));
            unfinished(&bits, text.len()).as_deref() == Some(text)
        });
        [&[in_last.unwrap()], block.as_slice()].concat()
    }

    #[test]
    fn the_beginning_is_that_of_the_rules() {
        let common = common();
        if std::env::var_os("NACRE_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules.deflate");
            std::fs::write(path, beginning(common)).unwrap();
            return;
        }
        let bits = Bits::of(BEGINNING[1..].to_vec(), u32::from(BEGINNING[0]));
        assert!(
            unfinished(&bits, common.len()).as_deref() == Some(common),
            "NACRE_BLESS=1 cargo test -p nacre-policy --lib"
        );
        let mut plain = Bits::default();
        last_block(&mut plain, common.as_bytes(), 0, Places::of(&[]));
        assert!(BEGINNING.len() < plain.into_bytes().len());
    }

    #[test]
    fn what_goes_in_comes_out() {
        let noise: String = (0..40_000u32)
            .map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
            .collect();
        let common = common();
        assert_eq!(
            unpack(&pack("first of the process")),
            "first of the process"
        );
        for rest in ["", "x", "policy_data := {}\n", &noise] {
            let document = format!("{common}{rest}");
            let packed = pack(&document);
            assert!(unpack(&packed) == document);
            assert_eq!(packed, pack(&document));
        }
        for other in ["", "something else", &common[..100]] {
            assert_eq!(unpack(&pack(other)), other);
        }
    }
}
