//! How a report carries what it is bound to.

use aws_lc_rs::digest::{SHA384, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The form of the 64 bytes of REPORT_DATA. The attester's source decides it, the reference values say which one
/// is expected; a verifier accepts that one and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportDataForm {
    /// The 64 bytes as they are.
    #[default]
    Exact,
    /// The unpadded base64url of their SHA-384: 48 bytes give exactly 64 characters.
    ///
    /// The attestation agent of Confidential Containers takes what a report is bound to as text in an address. Its
    /// releases differ in what else they take; text goes through all of them as it is.
    Text,
}

impl ReportDataForm {
    /// What stands in the report when it is bound to `intended`.
    pub fn apply(self, intended: &[u8; 64]) -> [u8; 64] {
        match self {
            Self::Exact => *intended,
            Self::Text => {
                let text = URL_SAFE_NO_PAD.encode(digest(&SHA384, intended));
                let mut out = [0; 64];
                out.iter_mut()
                    .zip(text.bytes())
                    .for_each(|(to, from)| *to = from);
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python: `urlsafe_b64encode(sha384(bytes(range(64))).digest())`.
    #[test]
    fn text_is_base64url_of_the_sha_384() {
        let intended: [u8; 64] = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(ReportDataForm::Exact.apply(&intended), intended);
        let text = ReportDataForm::Text.apply(&intended);
        assert_eq!(std::str::from_utf8(&text).unwrap(), VECTOR);
        assert_ne!(text, ReportDataForm::Text.apply(&text));
    }

    const VECTOR: &str = "nyyetxFrPXpLqEp0pNTv-KXvz1S217ZiaTw4V3kUxzohR2bwoXUzm7CJWoY4JPwK";
}
