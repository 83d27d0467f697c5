//! What a signed request is a signature over.

use sha2::{Digest as _, Sha256};

use crate::v1::RecoverRequest;

const DOMAIN: &[u8] = b"nacre/v1/recover";

/// SHA-256 of a [`RecoverRequest`] without its signature: the domain, the expected transition, the index
/// (u32, big-endian), whether it is a dry run (one byte) and the share, each framed by its length (u32,
/// big-endian).
pub fn recover_digest(request: &RecoverRequest) -> [u8; 32] {
    let mut hash = Sha256::new();
    let parts: [&[u8]; 5] = [
        DOMAIN,
        &request.expected,
        &request.index.to_be_bytes(),
        &[u8::from(request.dry_run)],
        &request.share,
    ];
    for part in parts {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RecoverRequest {
        RecoverRequest {
            expected: vec![1; 32],
            share: vec![2; 32],
            index: 3,
            dry_run: false,
            signature: None,
        }
    }

    /// Computed with Python:
    /// `f = lambda b: struct.pack(">I", len(b)) + b`, then SHA-256 of the five parts in a row.
    #[test]
    fn vector() {
        assert_eq!(hex::encode(recover_digest(&request())), VECTOR);
    }

    const VECTOR: &str = "5c924c8305ff8d85398f18f912355f3c70da3638392ecf8971dc90ceac153cbb";

    #[test]
    fn every_field_counts() {
        let base = recover_digest(&request());
        let others = [
            RecoverRequest {
                expected: vec![9; 32],
                ..request()
            },
            RecoverRequest {
                share: vec![9; 32],
                ..request()
            },
            RecoverRequest {
                index: 9,
                ..request()
            },
            RecoverRequest {
                dry_run: true,
                ..request()
            },
        ];
        for other in others {
            assert_ne!(recover_digest(&other), base);
        }
    }
}
