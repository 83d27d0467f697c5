//! Who a certificate of the mesh speaks for: a SPIFFE id and a policy hash.
//!
//! ```
//! use nacre_identity::SpiffeId;
//!
//! let id = SpiffeId::parse("spiffe://nacre.local/ns/shop/Deployment/web").unwrap();
//! assert_eq!(id.to_string(), "spiffe://nacre.local/ns/shop/Deployment/web");
//! assert_eq!(SpiffeId::parse("spiffe://nacre.local/ns/../web"), None);
//! ```
//!
//! Both are compared literally. What it does not do: verify a certificate. Whoever reads a [`Leaf`] has
//! verified its chain before, or the result means nothing.

mod leaf;
mod spiffe;

pub use leaf::{Leaf, LeafError};
pub use spiffe::SpiffeId;

/// Length of a policy hash, in bytes.
pub const POLICY_HASH_LEN: usize = 32;

/// A policy hash as it stands in the subject's `serialNumber` (OID 2.5.4.5): 64 lower-case hex digits.
///
/// It stands there and in no extension of our own, because widespread readers of certificates refuse
/// extensions whose OID has an arc of more than 31 bits, as every OID below `2.25` does.
#[must_use]
pub fn policy_hash_text(hash: &[u8; POLICY_HASH_LEN]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The reverse of [`policy_hash_text`]; anything else gives None.
#[must_use]
pub fn parse_policy_hash(text: &str) -> Option<[u8; POLICY_HASH_LEN]> {
    fn digit(byte: u8) -> Option<u8> {
        match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        }
    }
    if text.len() != 2 * POLICY_HASH_LEN {
        return None;
    }
    let mut hash = [0; POLICY_HASH_LEN];
    for (to, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *to = digit(high)? << 4 | digit(low)?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_hash_has_one_text() {
        let mut hash = [0x5a; 32];
        hash[0] = 0x0f;
        let text = policy_hash_text(&hash);
        assert!(text.starts_with("0f5a5a") && text.len() == 64);
        assert_eq!(parse_policy_hash(&text), Some(hash));
        for wrong in [text.to_uppercase(), text[1..].to_owned(), text + "0"] {
            assert_eq!(parse_policy_hash(&wrong), None, "{wrong}");
        }
        assert_eq!(parse_policy_hash(&"é".repeat(32)), None);
    }
}
