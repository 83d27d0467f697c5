//! Deterministic gzip (RFC 1952) of initdata documents.
//!
//! Every document begins with the same rules, and compressing them again for each workload would be
//! most of the work. So the common beginning is deflated once, up to a byte boundary (a sync flush,
//! RFC 1951 section 3.2.4), and each document continues from there with a stream of its own.

use std::sync::OnceLock;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Magic, deflate, no flags, no time, best compression, unknown system (RFC 1952 section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

/// Compresses `document`; `common` is the beginning that documents share.
///
/// The same two arguments give the same bytes everywhere.
pub(crate) fn pack(document: &str, common: &'static str) -> Vec<u8> {
    static HEAD: OnceLock<Vec<u8>> = OnceLock::new();
    let mut out = Vec::with_capacity(document.len() / 2);
    out.extend_from_slice(&HEADER);
    match document.split_at_checked(common.len()) {
        Some((head, rest)) if head == common => {
            out.extend_from_slice(
                HEAD.get_or_init(|| deflate(common.as_bytes(), FlushCompress::Sync)),
            );
            out.extend(deflate(rest.as_bytes(), FlushCompress::Finish));
        }
        _ => out.extend(deflate(document.as_bytes(), FlushCompress::Finish)),
    }
    let mut crc = Crc::new();
    crc.update(document.as_bytes());
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
    out
}

/// A raw deflate stream, ended or flushed.
fn deflate(bytes: &[u8], end: FlushCompress) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    loop {
        let done = usize::try_from(deflate.total_in()).unwrap_or(usize::MAX);
        let rest = bytes.get(done..).unwrap_or_default();
        let before = out.len();
        // Compressing into memory does not fail.
        let status = deflate.compress_vec(rest, &mut out, end);
        let all = usize::try_from(deflate.total_in()).is_ok_and(|total| total == bytes.len());
        let room = out.len() < out.capacity();
        if matches!(status, Ok(Status::StreamEnd)) || (all && room) || status.is_err() {
            return out;
        }
        if out.len() == before || !room {
            out.reserve(bytes.len() / 4 + 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::carrier::common;

    fn unpack(bytes: &[u8]) -> String {
        let mut text = String::new();
        GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
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
