//! Writing DER by hand, so that anything can be written, the malformed included.

use std::time::Duration;

use der::Encode as _;
use der::asn1::{GeneralizedTime, ObjectIdentifier, UtcTime};
use nacre_attest::Timestamp;

use crate::SimError;

/// Tag, length, value.
pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = value.len().to_be_bytes();
    let significant: Vec<u8> = length.into_iter().skip_while(|&byte| byte == 0).collect();
    match (value.len(), u8::try_from(significant.len())) {
        (0..=0x7f, _) => out.push(significant.last().copied().unwrap_or(0)),
        (_, count) => {
            out.push(0x80 | count.unwrap_or(0));
            out.extend_from_slice(&significant);
        }
    }
    out.extend_from_slice(value);
    out
}

/// SEQUENCE.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// INTEGER from its content bytes.
pub fn integer_bytes(content: &[u8]) -> Vec<u8> {
    tlv(0x02, content)
}

/// INTEGER.
pub fn integer(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let mut content: Vec<u8> = bytes.into_iter().skip_while(|&byte| byte == 0).collect();
    if content.first().is_none_or(|&first| first >= 0x80) {
        content.insert(0, 0);
    }
    integer_bytes(&content)
}

/// OBJECT IDENTIFIER.
pub fn oid(text: &str) -> Result<Vec<u8>, SimError> {
    Ok(ObjectIdentifier::new(text)
        .map_err(|_| SimError::Encoding)?
        .to_der()?)
}

/// OCTET STRING.
pub fn octet_string(value: &[u8]) -> Vec<u8> {
    tlv(0x04, value)
}

/// BIT STRING of whole bytes.
pub fn bit_string(value: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], value].concat())
}

/// IA5String.
pub fn ia5(text: &str) -> Vec<u8> {
    tlv(0x16, text.as_bytes())
}

/// NULL.
pub fn null() -> Vec<u8> {
    tlv(0x05, &[])
}

/// Explicit, constructed context tag.
pub fn explicit(number: u8, inner: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, inner)
}

/// UTCTime before 2050, GeneralizedTime from then on.
pub fn time(moment: Timestamp) -> Result<Vec<u8>, SimError> {
    const YEAR_2050: u64 = 2_524_608_000;
    let since = Duration::from_secs(moment.0);
    if moment.0 < YEAR_2050 {
        Ok(UtcTime::from_unix_duration(since)?.to_der()?)
    } else {
        Ok(GeneralizedTime::from_unix_duration(since)?.to_der()?)
    }
}

/// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and this salt, trailer written out as AMD does.
pub fn pss(salt: u64) -> Result<Vec<u8>, SimError> {
    let sha_384 = sequence(&[&oid("2.16.840.1.101.3.4.2.2")?, &null()]);
    let mgf1 = sequence(&[&oid("1.2.840.113549.1.1.8")?, &sha_384]);
    let parameters = sequence(&[
        &explicit(0, &sha_384),
        &explicit(1, &mgf1),
        &explicit(2, &integer(salt)),
        &explicit(3, &integer(1)),
    ]);
    Ok(sequence(&[&oid("1.2.840.113549.1.1.10")?, &parameters]))
}

/// A name in AMD's order; the organisation says that it is not AMD's.
pub fn name(common_name: &str) -> Result<Vec<u8>, SimError> {
    let mut parts = Vec::new();
    for (kind, tag, value) in [
        ("2.5.4.11", 0x0c, "Engineering"),
        ("2.5.4.6", 0x13, "US"),
        ("2.5.4.7", 0x0c, "Santa Clara"),
        ("2.5.4.8", 0x0c, "CA"),
        ("2.5.4.10", 0x0c, crate::MARKER),
        ("2.5.4.3", 0x0c, common_name),
    ] {
        let pair = sequence(&[&oid(kind)?, &tlv(tag, value.as_bytes())]);
        parts.extend_from_slice(&tlv(0x31, &pair));
    }
    Ok(tlv(0x30, &parts))
}
