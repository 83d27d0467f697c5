//! Revocation lists signed by an ARK (RFC 5280 §5).

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use crate::certificate::{explicit, extensions, is_pss_sha384, next_tag, octets, repeated, time};
use crate::time::Timestamp;

/// The longest list that is looked at, in bytes. AMD's hold a handful of entries.
pub const MAX_CRL: usize = 32 * 1024;

/// A revocation list in parts.
#[derive(Clone, Debug)]
pub(crate) struct Crl {
    pub(crate) pss_sha384: bool,
    pub(crate) issuer: Vec<u8>,
    pub(crate) this_update: Timestamp,
    pub(crate) next_update: Option<Timestamp>,
    /// Serial numbers as they stand in DER.
    pub(crate) revoked: Vec<Vec<u8>>,
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Crl {
    /// Takes a list apart; a critical extension (a delta list, for one) is an error.
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        if der.len() > MAX_CRL {
            return Err(der::ErrorKind::Overlength.into());
        }
        AnyRef::from_der(der)?.sequence(|outer| {
            let signed = outer.tlv_bytes()?;
            let algorithm = outer.tlv_bytes()?;
            let signature = octets(outer.decode::<BitStringRef<'_>>()?)?;
            AnyRef::from_der(signed)?.sequence(|list| {
                if next_tag(list) == Some(Tag::Integer) {
                    list.decode::<u64>()?;
                }
                let inner_algorithm = list.tlv_bytes()?;
                let issuer = list.tlv_bytes()?;
                let this_update = time(list)?;
                let next_update = match next_tag(list) {
                    Some(Tag::UtcTime | Tag::GeneralizedTime) => Some(time(list)?),
                    _ => None,
                };
                let revoked = match next_tag(list) {
                    Some(Tag::Sequence) => list.sequence(revoked)?,
                    _ => Vec::new(),
                };
                if !list.is_finished() {
                    let found = explicit(list, 0)?.sequence(extensions)?;
                    if repeated(&found).is_some() || found.iter().any(|found| found.critical) {
                        return Err(der::ErrorKind::Value { tag: Tag::Sequence }.into());
                    }
                }
                Ok(Self {
                    pss_sha384: algorithm == inner_algorithm && is_pss_sha384(algorithm),
                    issuer: issuer.to_vec(),
                    this_update,
                    next_update,
                    revoked,
                    signed: signed.to_vec(),
                    signature: signature.to_vec(),
                })
            })
        })
    }
}

fn revoked(reader: &mut SliceReader<'_>) -> der::Result<Vec<Vec<u8>>> {
    let mut serials = Vec::new();
    while !reader.is_finished() {
        serials.push(reader.sequence(|entry| {
            let serial = entry.decode::<AnyRef<'_>>()?;
            serial.tag().assert_eq(Tag::Integer)?;
            time(entry)?;
            if !entry.is_finished() {
                let found = entry.sequence(extensions)?;
                if found.iter().any(|found| found.critical) {
                    return Err(der::ErrorKind::Value { tag: Tag::Sequence }.into());
                }
            }
            Ok::<_, der::Error>(serial.value().to_vec())
        })?);
    }
    Ok(serials)
}
