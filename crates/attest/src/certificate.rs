//! X.509 certificates as AMD makes them: taken apart strictly, judged elsewhere.
//!
//! Signed bytes are kept as received and never encoded again. `rustls-webpki` is no use here: it has no
//! place for AMD's RSASSA-PSS parameters, and a chain of three fixed certificates needs no path building.

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, ParsedPublicKey, RSA_PSS_2048_8192_SHA384, VerificationAlgorithm,
};
use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};

use crate::time::Timestamp;

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const SHA_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The longest certificate that is looked at, in bytes. AMD's are below 1 800.
pub const MAX_CERTIFICATE: usize = 4096;
/// More extensions than any of AMD's certificates has.
const MAX_EXTENSIONS: usize = 32;

/// A certificate in parts.
pub(crate) struct Certificate<'a> {
    /// The signed part, tag and length included.
    pub(crate) signed: &'a [u8],
    /// 1 to 3.
    pub(crate) version: u64,
    pub(crate) serial: &'a [u8],
    /// Whether both algorithm fields are equal and say RSASSA-PSS with SHA-384, MGF1-SHA-384, salt 48.
    pub(crate) pss_sha384: bool,
    /// DER of the name.
    pub(crate) issuer: &'a [u8],
    /// DER of the name.
    pub(crate) subject: &'a [u8],
    pub(crate) common_name: Option<String>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) key: KeyBytes<'a>,
    pub(crate) extensions: Vec<Extension<'a>>,
    pub(crate) signature: &'a [u8],
}

/// A public key as it stands in a certificate.
#[derive(Clone, Copy)]
pub(crate) enum KeyBytes<'a> {
    /// Uncompressed point.
    P384(&'a [u8]),
    /// PKCS#1 `RSAPublicKey`.
    Rsa(&'a [u8]),
    Other,
}

impl KeyBytes<'_> {
    /// The key, ready to verify with; `None` when it is of another kind or not a valid one.
    pub(crate) fn parse(self) -> Option<ParsedPublicKey> {
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, _) = match self {
            Self::P384(point) if point.len() == 97 => (&ECDSA_P384_SHA384_FIXED, point),
            Self::Rsa(key) => (&RSA_PSS_2048_8192_SHA384, key),
            Self::P384(_) | Self::Other => return None,
        };
        ParsedPublicKey::new(algorithm, bytes).ok()
    }
}

/// One extension.
pub(crate) struct Extension<'a> {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) critical: bool,
    pub(crate) value: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Takes a certificate apart; anything behind it is an error.
    pub(crate) fn parse(der: &'a [u8]) -> der::Result<Self> {
        if der.len() > MAX_CERTIFICATE {
            return Err(der::ErrorKind::Overlength.into());
        }
        AnyRef::from_der(der)?.sequence(|outer| {
            let signed = outer.tlv_bytes()?;
            let algorithm = outer.tlv_bytes()?;
            let signature = octets(outer.decode::<BitStringRef<'_>>()?)?;
            AnyRef::from_der(signed)?.sequence(|tbs| {
                let version = if next_tag(tbs) == Some(context_tag(0)) {
                    explicit(tbs, 0)?.decode_as::<u64>()?.saturating_add(1)
                } else {
                    1
                };
                let serial = tbs.decode::<AnyRef<'_>>()?;
                serial.tag().assert_eq(Tag::Integer)?;
                let inner_algorithm = tbs.tlv_bytes()?;
                let issuer = tbs.tlv_bytes()?;
                let (not_before, not_after) = tbs
                    .sequence(|validity| Ok::<_, der::Error>((time(validity)?, time(validity)?)))?;
                let subject = tbs.tlv_bytes()?;
                let key = tbs.sequence(public_key)?;
                let extensions = if tbs.is_finished() {
                    Vec::new()
                } else {
                    explicit(tbs, 3)?.sequence(extensions)?
                };
                Ok(Self {
                    signed,
                    version,
                    serial: serial.value(),
                    pss_sha384: algorithm == inner_algorithm && is_pss_sha384(algorithm),
                    issuer,
                    subject,
                    common_name: common_name(subject)?,
                    not_before,
                    not_after,
                    key,
                    extensions,
                    signature,
                })
            })
        })
    }

    /// The value of the only extension with this identifier.
    pub(crate) fn extension(&self, oid: ObjectIdentifier) -> Option<&'a [u8]> {
        self.extensions
            .iter()
            .find(|extension| extension.oid == oid)
            .map(|found| found.value)
    }

    /// The first identifier that stands more than once.
    pub(crate) fn repeated_extension(&self) -> Option<ObjectIdentifier> {
        repeated(&self.extensions)
    }
}

/// The first identifier that stands more than once.
pub(crate) fn repeated(extensions: &[Extension<'_>]) -> Option<ObjectIdentifier> {
    extensions
        .iter()
        .enumerate()
        .find_map(|(index, extension)| {
            let earlier = extensions.get(..index)?;
            earlier
                .iter()
                .any(|other| other.oid == extension.oid)
                .then_some(extension.oid)
        })
}

/// `Extensions ::= SEQUENCE OF Extension`, the part inside.
pub(crate) fn extensions<'a>(reader: &mut SliceReader<'a>) -> der::Result<Vec<Extension<'a>>> {
    let mut found = Vec::new();
    while !reader.is_finished() {
        if found.len() == MAX_EXTENSIONS {
            return Err(der::ErrorKind::Overlength.into());
        }
        found.push(reader.sequence(|inner| {
            let oid = inner.decode()?;
            let critical = next_tag(inner) == Some(Tag::Boolean) && inner.decode::<bool>()?;
            let value = inner.decode::<&'a OctetStringRef>()?.as_bytes();
            Ok::<_, der::Error>(Extension {
                oid,
                critical,
                value,
            })
        })?);
    }
    Ok(found)
}

/// What stands inside an explicit context tag, which has to be next.
pub(crate) fn explicit<'a>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<AnyRef<'a>> {
    let outer: AnyRef<'a> = reader.decode()?;
    outer.tag().assert_eq(context_tag(number))?;
    AnyRef::from_der(outer.value())
}

fn context_tag(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}

/// What comes next, if anything does.
pub(crate) fn next_tag(reader: &SliceReader<'_>) -> Option<Tag> {
    Tag::peek(reader).ok()
}

/// `Time ::= CHOICE { utcTime, generalTime }`.
pub(crate) fn time(reader: &mut SliceReader<'_>) -> der::Result<Timestamp> {
    let since = if next_tag(reader) == Some(Tag::UtcTime) {
        reader.decode::<UtcTime>()?.to_unix_duration()
    } else {
        reader.decode::<GeneralizedTime>()?.to_unix_duration()
    };
    Ok(Timestamp(since.as_secs()))
}

/// The bytes of a bit string that is a whole number of them.
pub(crate) fn octets(bits: BitStringRef<'_>) -> der::Result<&[u8]> {
    bits.as_bytes().ok_or_else(|| {
        der::ErrorKind::Value {
            tag: Tag::BitString,
        }
        .into()
    })
}

fn public_key<'a>(reader: &mut SliceReader<'a>) -> der::Result<KeyBytes<'a>> {
    let (algorithm, parameter) = reader.sequence(|inner| {
        let algorithm: ObjectIdentifier = inner.decode()?;
        let parameter = if inner.is_finished() {
            None
        } else {
            Some(inner.decode::<AnyRef<'_>>()?)
        };
        Ok::<_, der::Error>((algorithm, parameter))
    })?;
    let bytes = octets(reader.decode::<BitStringRef<'_>>()?)?;
    let curve = parameter.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    Ok(match algorithm {
        EC_PUBLIC_KEY if curve == Some(SECP384R1) => KeyBytes::P384(bytes),
        RSA_ENCRYPTION | RSASSA_PSS => KeyBytes::Rsa(bytes),
        _ => KeyBytes::Other,
    })
}

/// The common name of a `Name`; `None` when there is none or more than one.
fn common_name(name: &[u8]) -> der::Result<Option<String>> {
    let mut found = Vec::new();
    AnyRef::from_der(name)?.sequence(|names| {
        while !names.is_finished() {
            let set = names.decode::<AnyRef<'_>>()?;
            set.tag().assert_eq(Tag::Set)?;
            let mut members = SliceReader::new(set.value())?;
            while !members.is_finished() {
                let (kind, value) = members.sequence(|pair| {
                    Ok::<_, der::Error>((
                        pair.decode::<ObjectIdentifier>()?,
                        pair.decode::<AnyRef<'_>>()?,
                    ))
                })?;
                if kind == COMMON_NAME {
                    found.push(value);
                }
            }
        }
        Ok::<_, der::Error>(())
    })?;
    let [only] = found.as_slice() else {
        return Ok(None);
    };
    Ok(match only.tag() {
        Tag::Utf8String | Tag::PrintableString => {
            std::str::from_utf8(only.value()).ok().map(str::to_owned)
        }
        _ => None,
    })
}

/// Whether an `AlgorithmIdentifier` is RSASSA-PSS with SHA-384, MGF1 with SHA-384, salt 48, trailer 1.
///
/// AMD writes the default trailer out for some products and leaves it away for others.
pub(crate) fn is_pss_sha384(algorithm: &[u8]) -> bool {
    pss_parameters(algorithm).unwrap_or(false)
}

fn pss_parameters(algorithm: &[u8]) -> der::Result<bool> {
    AnyRef::from_der(algorithm)?.sequence(|outer| {
        if outer.decode::<ObjectIdentifier>()? != RSASSA_PSS {
            outer.drain(outer.remaining_len())?;
            return Ok(false);
        }
        outer.sequence(|inner| {
            let hash = explicit(inner, 0)?.sequence(hash_identifier)?;
            let mask = explicit(inner, 1)?.sequence(|mask| {
                let function: ObjectIdentifier = mask.decode()?;
                let hash = mask.sequence(hash_identifier)?;
                Ok::<_, der::Error>((function, hash))
            })?;
            let salt = explicit(inner, 2)?.decode_as::<u64>()?;
            let trailer = if inner.is_finished() {
                1
            } else {
                explicit(inner, 3)?.decode_as::<u64>()?
            };
            Ok(hash == SHA_384 && mask == (MGF1, SHA_384) && salt == 48 && trailer == 1)
        })
    })
}

fn hash_identifier(reader: &mut SliceReader<'_>) -> der::Result<ObjectIdentifier> {
    let oid = reader.decode()?;
    if !reader.is_finished() {
        reader.decode::<der::asn1::Null>()?;
    }
    Ok(oid)
}
