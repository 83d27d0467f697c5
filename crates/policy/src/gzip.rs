//! Deterministic gzip (RFC 1952) of initdata documents.
//!
//! Every document begins with the same rules, and compressing them again for each workload would be
//! most of the work. So the common beginning stands here deflated, up to a byte boundary (a sync
//! flush, RFC 1951 section 3.2.4), and each document continues with a copy of a compressor that has
//! seen it: its data may refer back to the rules. `NACRE_BLESS=1 cargo test -p nacre-policy --lib`
//! writes the beginning anew after a change of the rules.

use std::io::Read;
use std::sync::OnceLock;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};

/// Magic, deflate, no flags, no time, best compression, unknown system (RFC 1952 section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

/// The common beginning, compressed with more effort than there is time for in a run.
const BEGINNING: &[u8] = include_bytes!("rules.deflate");

/// A compressor that has seen the common beginning, and what it wrote.
struct Primed {
    head: Vec<u8>,
    compressor: CompressorOxide,
}

/// Compresses `document`; `common` is the beginning that documents share.
///
/// The same two arguments give the same bytes everywhere.
pub(crate) fn pack(document: &str, common: &'static str) -> Vec<u8> {
    static PRIMED: OnceLock<Primed> = OnceLock::new();
    let mut out = Vec::with_capacity(document.len() / 2);
    out.extend_from_slice(&HEADER);
    match document.split_at_checked(common.len()) {
        Some((head, rest)) if head == common => {
            let primed = PRIMED.get_or_init(|| {
                let (mut head, mut compressor) = (Vec::new(), fresh());
                deflate(
                    &mut compressor,
                    common.as_bytes(),
                    TDEFLFlush::Sync,
                    &mut head,
                );
                if unfinished(BEGINNING, common.len()).as_deref() == Some(common) {
                    head = BEGINNING.to_vec();
                }
                Primed { head, compressor }
            });
            out.extend_from_slice(&primed.head);
            let mut compressor = primed.compressor.clone();
            deflate(
                &mut compressor,
                rest.as_bytes(),
                TDEFLFlush::Finish,
                &mut out,
            );
        }
        _ => deflate(
            &mut fresh(),
            document.as_bytes(),
            TDEFLFlush::Finish,
            &mut out,
        ),
    }
    let mut crc = Crc::new();
    crc.update(document.as_bytes());
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// A compressor for raw deflate streams at the best level.
fn fresh() -> CompressorOxide {
    CompressorOxide::new(create_comp_flags_from_zip_params(10, -15, 0))
}

/// Appends the compressed `bytes`, ended or flushed.
fn deflate(state: &mut CompressorOxide, bytes: &[u8], end: TDEFLFlush, out: &mut Vec<u8>) {
    // Into memory nothing fails.
    compress_to_output(state, bytes, end, |chunk| {
        out.extend_from_slice(chunk);
        true
    });
}

/// Inflates a stream that ends with a flush, if it holds a text of this length.
fn unfinished(bytes: &[u8], length: usize) -> Option<String> {
    // An empty last block with fixed codes ends it.
    let ended = [bytes, &[0x03, 0x00]].concat();
    let limit = u64::try_from(length).ok()?.saturating_add(1);
    let mut text = String::new();
    let mut inflate = DeflateDecoder::new(ended.as_slice()).take(limit);
    inflate.read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use flate2::read::GzDecoder;

    use super::*;
    use crate::carrier::common;

    fn unpack(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    /// One block of the best parse there is, turned into an unfinished one that ends on a byte.
    fn beginning(text: &str) -> Vec<u8> {
        let options = zopfli::Options {
            maximum_block_splits: 1,
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
        // An empty stored block follows; its three bits of head fit into the last byte or not.
        [&[0, 0, 0xff, 0xff][..], &[0, 0, 0, 0xff, 0xff]]
            .into_iter()
            .map(|flush| [&block, flush].concat())
            .find(|bytes| unfinished(bytes, text.len()).as_deref() == Some(text))
            .unwrap()
    }

    #[test]
    fn the_beginning_is_that_of_the_rules() {
        let common = crate::carrier::common();
        if std::env::var_os("NACRE_BLESS").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/rules.deflate");
            std::fs::write(path, beginning(common)).unwrap();
            return;
        }
        let found = unfinished(BEGINNING, common.len());
        assert!(
            found.as_deref() == Some(common),
            "NACRE_BLESS=1 cargo test -p nacre-policy --lib"
        );
        let (mut plain, mut compressor) = (Vec::new(), fresh());
        deflate(
            &mut compressor,
            common.as_bytes(),
            TDEFLFlush::Sync,
            &mut plain,
        );
        assert!(BEGINNING.len() < plain.len());
    }

    #[test]
    fn what_goes_in_comes_out() {
        let noise: String = (0..40_000u32)
            .map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
            .collect();
        // The beginning is compressed once for a process, so it is the same one for all tests.
        let common = common();
        for rest in ["", "x", "policy_data := {}\n", &noise] {
            let document = format!("{common}{rest}");
            let packed = pack(&document, common);
            assert!(unpack(&packed) == document);
            assert_eq!(packed, pack(&document, common));
        }
        for other in ["", "something else", &common[..100]] {
            assert_eq!(unpack(&pack(other, common)), other);
        }
    }
}
