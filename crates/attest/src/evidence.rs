//! What an attester sends: a report, the certificate of its key, and a revocation list.

use crate::certificate::MAX_CERTIFICATE;
use crate::crl::MAX_CRL;
use crate::report::REPORT_LEN;

/// The longest encoded evidence, in bytes.
pub const MAX_EVIDENCE: usize = 1 + 3 * 4 + REPORT_LEN + MAX_CERTIFICATE + MAX_CRL;
/// First byte of the encoded form.
const FORMAT: u8 = 1;

/// Evidence as it travels. Nothing in it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The report, as the hardware gave it.
    pub report: Vec<u8>,
    /// DER of the VCEK or VLEK certificate.
    pub vek: Vec<u8>,
    /// DER of the revocation list of the product's root.
    pub crl: Option<Vec<u8>>,
}

impl Evidence {
    /// One byte of format, then three fields, each behind its length (u32, big-endian); an empty third
    /// field is no list.
    pub fn encode(&self) -> Vec<u8> {
        let crl = self.crl.as_deref().unwrap_or_default();
        let mut out = vec![FORMAT];
        for field in [&self.report, &self.vek, crl] {
            // A field of 4 GiB does not exist; were there one, the length would not decode.
            out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(field);
        }
        out
    }

    /// Reads what [`Evidence::encode`] wrote; every field has a limit and nothing may follow.
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        let (&format, rest) = bytes.split_first().ok_or(EvidenceError::Truncated)?;
        if format != FORMAT {
            return Err(EvidenceError::Format { actual: format });
        }
        let (report, rest) = field("report", REPORT_LEN, rest)?;
        let (vek, rest) = field("vek", MAX_CERTIFICATE, rest)?;
        let (crl, rest) = field("crl", MAX_CRL, rest)?;
        if !rest.is_empty() {
            return Err(EvidenceError::Trailing { bytes: rest.len() });
        }
        Ok(Self {
            report: report.to_vec(),
            vek: vek.to_vec(),
            crl: (!crl.is_empty()).then(|| crl.to_vec()),
        })
    }
}

fn field<'a>(
    name: &'static str,
    limit: usize,
    bytes: &'a [u8],
) -> Result<(&'a [u8], &'a [u8]), EvidenceError> {
    let (length, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or(EvidenceError::Truncated)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(EvidenceError::TooLong {
            field: name,
            limit,
            actual: length,
        });
    }
    rest.split_at_checked(length)
        .ok_or(EvidenceError::Truncated)
}

/// Why bytes are no evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The bytes end inside a field.
    #[error("evidence ends early")]
    Truncated,
    /// A first byte this build does not know.
    #[error("evidence format {actual} is not known")]
    Format {
        /// The byte.
        actual: u8,
    },
    /// A field is longer than it can be.
    #[error("evidence field {field} has {actual} bytes, {limit} are allowed")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Bytes allowed.
        limit: usize,
        /// Bytes announced.
        actual: usize,
    },
    /// Something follows the last field.
    #[error("{bytes} bytes follow the evidence")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Evidence {
        Evidence {
            report: vec![1; REPORT_LEN],
            vek: vec![2; 10],
            crl: Some(vec![3; 5]),
        }
    }

    #[test]
    fn round_trip() {
        for evidence in [
            sample(),
            Evidence {
                crl: None,
                ..sample()
            },
            Evidence::default(),
        ] {
            assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence));
        }
    }

    #[test]
    fn every_truncation_and_extension_is_refused() {
        let mut bytes = sample().encode();
        for length in 0..bytes.len() {
            assert_eq!(
                Evidence::decode(&bytes[..length]),
                Err(EvidenceError::Truncated)
            );
        }
        bytes.push(0);
        assert_eq!(
            Evidence::decode(&bytes),
            Err(EvidenceError::Trailing { bytes: 1 })
        );
    }

    #[test]
    fn announced_lengths_are_limited_before_anything_is_read() {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        let error = Evidence::decode(&bytes).unwrap_err();
        assert!(matches!(
            error,
            EvidenceError::TooLong {
                field: "report",
                ..
            }
        ));
        assert_eq!(
            Evidence::decode(&[2]),
            Err(EvidenceError::Format { actual: 2 })
        );
    }
}
