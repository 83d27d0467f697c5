//! Everything needed to verify an answer again later, offline.
//!
//! One JSON file: what the Coordinator answered, byte for byte, the nonce it was asked with, and the time
//! the person who made it claims. A bundle is believed no more than a Coordinator: whoever reads it brings
//! the manifest and the pin.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_api::limits::MAX_HISTORY;
use nacre_attest::Timestamp;
use nacre_history::ObjectKey;
use serde::{Deserialize, Serialize};

use crate::snapshot::{Head, Snapshot};

/// What the file says it is.
pub const FORMAT: &str = "nacre.dev/evidence-bundle/v1";
/// Longest file that is read: base64 of the largest answer.
pub const MAX_BUNDLE: usize = MAX_HISTORY / 2 * 3;

/// An answer and when it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// When it was verified, by the clock of the one who did.
    pub claimed: Timestamp,
    /// The address that was asked.
    pub coordinator: String,
    /// The answer.
    pub snapshot: Snapshot,
}

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Larger than any answer.
    #[error("it has {bytes} bytes, {MAX_BUNDLE} are read")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
    },
    /// Not JSON of this form.
    #[error("it is not readable")]
    Syntax(#[source] serde_json::Error),
    /// Of another format.
    #[error("its format is {found:?}, this program reads {FORMAT:?}")]
    Format {
        /// As written.
        found: String,
    },
    /// A field that is not what it should be.
    #[error("{field} is malformed")]
    Field {
        /// Which.
        field: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    format: String,
    claimed_time: String,
    coordinator: String,
    nonce: String,
    head: HeadText,
    objects: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HeadText {
    transition: String,
    manifest: String,
    root_spki: String,
    mesh_ca: String,
    evidence: String,
    root_ca: String,
    intermediate_ca: String,
}

impl Bundle {
    /// The file. The same bundle gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = &self.snapshot.head;
        let file = File {
            format: FORMAT.to_owned(),
            claimed_time: self.claimed.to_string(),
            coordinator: self.coordinator.clone(),
            nonce: hex::encode(self.snapshot.nonce),
            head: HeadText {
                transition: hex::encode(head.transition),
                manifest: hex::encode(head.manifest),
                root_spki: STANDARD.encode(&head.root_spki),
                mesh_ca: STANDARD.encode(&head.mesh_ca),
                evidence: STANDARD.encode(&head.evidence),
                root_ca: head.root_ca.clone(),
                intermediate_ca: head.intermediate_ca.clone(),
            },
            objects: self
                .snapshot
                .objects
                .iter()
                .map(|(key, bytes)| (key.to_string(), STANDARD.encode(bytes)))
                .collect(),
        };
        // Strings always become JSON.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Bundle::to_bytes`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Tagged {
            format: String,
        }
        if bytes.len() > MAX_BUNDLE {
            return Err(BundleError::TooLarge { bytes: bytes.len() });
        }
        let Tagged { format } = serde_json::from_slice(bytes).map_err(BundleError::Syntax)?;
        if format != FORMAT {
            let found = format.chars().take(80).collect();
            return Err(BundleError::Format { found });
        }
        let file: File = serde_json::from_slice(bytes).map_err(BundleError::Syntax)?;
        let field = |field: &str| BundleError::Field {
            field: field.to_owned(),
        };
        let objects = file
            .objects
            .iter()
            .map(|(name, text)| {
                let name_of = || field(&name.chars().take(80).collect::<String>());
                let key: ObjectKey = name.parse().map_err(|_| name_of())?;
                Ok((key, STANDARD.decode(text).map_err(|_| name_of())?))
            })
            .collect::<Result<_, BundleError>>()?;
        let base64 = |text: &str, name: &str| STANDARD.decode(text).map_err(|_| field(name));
        Ok(Self {
            claimed: Timestamp::parse(&file.claimed_time).ok_or_else(|| field("claimedTime"))?,
            coordinator: file.coordinator,
            snapshot: Snapshot {
                nonce: hash(&file.nonce).ok_or_else(|| field("nonce"))?,
                head: Head {
                    transition: hash(&file.head.transition).ok_or_else(|| field("transition"))?,
                    manifest: hash(&file.head.manifest).ok_or_else(|| field("manifest"))?,
                    root_spki: base64(&file.head.root_spki, "rootSpki")?,
                    mesh_ca: base64(&file.head.mesh_ca, "meshCa")?,
                    evidence: base64(&file.head.evidence, "evidence")?,
                    root_ca: file.head.root_ca,
                    intermediate_ca: file.head.intermediate_ca,
                },
                objects,
            },
        })
    }
}

fn hash(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        Bundle {
            claimed: Timestamp(1_800_000_000),
            coordinator: "coordinator:1313".into(),
            snapshot: Snapshot {
                nonce: [1; 32],
                head: Head {
                    transition: [2; 32],
                    manifest: [3; 32],
                    root_spki: vec![4, 5],
                    mesh_ca: vec![6],
                    evidence: vec![7; 100],
                    root_ca: "root".into(),
                    intermediate_ca: "intermediate".into(),
                },
                objects: [(ObjectKey::Latest, vec![0, 255])].into(),
            },
        }
    }

    #[test]
    fn a_bundle_survives_its_file() {
        let bytes = bundle().to_bytes();
        assert_eq!(Bundle::parse(&bytes).unwrap(), bundle());
    }

    #[test]
    fn what_is_no_bundle_says_why() {
        let text = String::from_utf8(bundle().to_bytes()).unwrap();
        for (from, to, reason) in [
            ("bundle/v1", "bundle/v2", "its format is"),
            ("\"nonce\"", "\"once\"", "it is not readable"),
            ("\"nonce\": \"01", "\"nonce\": \"", "nonce is malformed"),
            ("\"latest\"", "\"newest\"", "newest is malformed"),
            ("AP8=", "AP8", "latest is malformed"),
            ("2027-", "tomorrow", "claimedTime is malformed"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let error = Bundle::parse(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        assert!(matches!(Bundle::parse(b"{"), Err(BundleError::Syntax(_))));
    }
}
