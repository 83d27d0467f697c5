//! Revocation lists, with any field settable.

use nacre_attest::Timestamp;

use crate::SimError;
use crate::certificate::{ExtensionSpec, extensions, signed};
use crate::der::{explicit, integer, integer_bytes, pss, sequence, time, tlv};
use crate::pki::{Authority, RsaKey};

/// What is to stand in a revocation list.
#[derive(Clone, Debug)]
pub struct CrlSpec {
    /// DER of the algorithm identifier, used in both places.
    pub algorithm: Vec<u8>,
    /// DER of the issuer's name.
    pub issuer: Vec<u8>,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due.
    pub next_update: Option<Timestamp>,
    /// Content bytes of revoked serial numbers.
    pub revoked: Vec<Vec<u8>>,
    /// Extensions in order.
    pub extensions: Vec<ExtensionSpec>,
}

impl CrlSpec {
    /// An empty list from yesterday that is good for seven months, as AMD's are.
    pub fn new(ark: &Authority) -> Result<Self, SimError> {
        let now = Timestamp::now().0;
        Ok(Self {
            algorithm: pss(48)?,
            issuer: ark.subject.clone(),
            this_update: Timestamp(now.saturating_sub(86_400)),
            next_update: Some(Timestamp(now.saturating_add(210 * 86_400))),
            revoked: Vec::new(),
            extensions: vec![ExtensionSpec {
                oid: "2.5.29.20".into(),
                critical: false,
                value: integer(4),
            }],
        })
    }

    /// DER of the list, signed.
    pub fn sign(&self, key: &RsaKey) -> Result<Vec<u8>, SimError> {
        let mut tbs = integer(1);
        tbs.extend_from_slice(&self.algorithm);
        tbs.extend_from_slice(&self.issuer);
        tbs.extend(time(self.this_update)?);
        if let Some(next_update) = self.next_update {
            tbs.extend(time(next_update)?);
        }
        if !self.revoked.is_empty() {
            let mut entries = Vec::new();
            for serial in &self.revoked {
                entries.extend(sequence(&[
                    &integer_bytes(serial),
                    &time(self.this_update)?,
                ]));
            }
            tbs.extend(tlv(0x30, &entries));
        }
        if !self.extensions.is_empty() {
            tbs.extend(explicit(0, &extensions(&self.extensions)?));
        }
        signed(&tlv(0x30, &tbs), &self.algorithm, key)
    }
}
