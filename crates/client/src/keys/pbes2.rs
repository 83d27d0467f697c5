//! Keys encrypted with a passphrase: PKCS#8 `EncryptedPrivateKeyInfo` under PBES2 with PBKDF2 and AES-CBC
//! (RFC 8018), which is what `openssl pkcs8 -topk8` and `openssl genpkey -aes256` write.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Reader, SliceReader};
use zeroize::Zeroizing;

use super::KeyError;

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const SCRYPT: &str = "1.3.6.1.4.1.11591.4.11";
/// Most rounds that are run for a file: about ten seconds.
const MAX_ROUNDS: u32 = 20_000_000;
/// The block size of AES, and so the length of an initialisation vector.
const BLOCK: usize = 16;

/// What stands in the file.
struct Scheme<'a> {
    salt: &'a [u8],
    rounds: NonZeroU32,
    prf: pbkdf2::Algorithm,
    cipher: &'static Algorithm,
    key_length: usize,
    iv: [u8; BLOCK],
    ciphertext: &'a [u8],
}

/// Opens an encrypted key. A wrong passphrase and a damaged file cannot always be told apart.
pub(super) fn decrypt(der: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let scheme = parse(der)?;
    let mut key = Zeroizing::new(vec![0; scheme.key_length]);
    pbkdf2::derive(scheme.prf, scheme.rounds, scheme.salt, passphrase, &mut key);
    let failed = |_| KeyError::WrongPassphrase;
    let key = UnboundCipherKey::new(scheme.cipher, &key).map_err(failed)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(failed)?;
    let mut buffer = Zeroizing::new(scheme.ciphertext.to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(scheme.iv));
    let plain = key.decrypt(&mut buffer, context).map_err(failed)?;
    // One in 256 wrong passphrases leaves valid padding; what comes out is then no SEQUENCE over all of it.
    let plain = Zeroizing::new(plain.to_vec());
    AnyRef::try_from(plain.as_slice())
        .ok()
        .filter(|any| any.header().tag() == der::Tag::Sequence)
        .ok_or(KeyError::WrongPassphrase)?;
    Ok(plain)
}

fn parse(der: &[u8]) -> Result<Scheme<'_>, KeyError> {
    let malformed = |_: der::Error| KeyError::Malformed;
    let mut outer = SliceReader::new(der).map_err(malformed)?;
    let whole: AnyRef<'_> = outer.decode().map_err(malformed)?;
    outer.finish().map_err(malformed)?;
    let mut info = sequence(whole)?;
    let mut algorithm = sequence(info.decode().map_err(malformed)?)?;
    let data: &OctetStringRef = info.decode().map_err(malformed)?;
    expect(&mut algorithm, PBES2)?;
    let mut parameters = sequence(algorithm.decode().map_err(malformed)?)?;
    let mut kdf = sequence(parameters.decode().map_err(malformed)?)?;
    let mut encryption = sequence(parameters.decode().map_err(malformed)?)?;
    expect(&mut kdf, PBKDF2)?;
    let mut kdf = sequence(kdf.decode().map_err(malformed)?)?;
    let salt: &OctetStringRef = kdf.decode().map_err(malformed)?;
    let rounds: u32 = kdf.decode().map_err(malformed)?;
    let rounds = NonZeroU32::new(rounds)
        .filter(|rounds| rounds.get() <= MAX_ROUNDS)
        .ok_or_else(|| scheme(format!("{rounds} rounds of PBKDF2")))?;
    let mut stated_length = None;
    let mut prf = pbkdf2::PBKDF2_HMAC_SHA1;
    while !kdf.is_finished() {
        let next: AnyRef<'_> = kdf.decode().map_err(malformed)?;
        match next.header().tag() {
            der::Tag::Integer => {
                let length: u16 = next.decode_as().map_err(malformed)?;
                stated_length = Some(usize::from(length));
            }
            _ => prf = prf_of(&mut sequence(next)?)?,
        }
    }
    let (cipher, key_length) = cipher_of(&mut encryption)?;
    if stated_length.is_some_and(|stated| stated != key_length) {
        return Err(KeyError::Malformed);
    }
    let iv: &OctetStringRef = encryption.decode().map_err(malformed)?;
    Ok(Scheme {
        salt: salt.as_bytes(),
        rounds,
        prf,
        cipher,
        key_length,
        iv: iv.as_bytes().try_into().map_err(|_| KeyError::Malformed)?,
        ciphertext: data.as_bytes(),
    })
}

fn sequence(any: AnyRef<'_>) -> Result<SliceReader<'_>, KeyError> {
    if any.header().tag() != der::Tag::Sequence {
        return Err(KeyError::Malformed);
    }
    SliceReader::new(any.value()).map_err(|_| KeyError::Malformed)
}

fn expect(reader: &mut SliceReader<'_>, oid: &str) -> Result<(), KeyError> {
    let found: ObjectIdentifier = reader.decode().map_err(|_| KeyError::Malformed)?;
    match found.to_string() {
        found if found == oid => Ok(()),
        found if found == SCRYPT => Err(scheme("scrypt".to_owned())),
        found => Err(scheme(format!("the scheme {found}"))),
    }
}

fn prf_of(reader: &mut SliceReader<'_>) -> Result<pbkdf2::Algorithm, KeyError> {
    let oid: ObjectIdentifier = reader.decode().map_err(|_| KeyError::Malformed)?;
    Ok(match oid.to_string().as_str() {
        "1.2.840.113549.2.7" => pbkdf2::PBKDF2_HMAC_SHA1,
        "1.2.840.113549.2.9" => pbkdf2::PBKDF2_HMAC_SHA256,
        "1.2.840.113549.2.10" => pbkdf2::PBKDF2_HMAC_SHA384,
        "1.2.840.113549.2.11" => pbkdf2::PBKDF2_HMAC_SHA512,
        other => return Err(scheme(format!("PBKDF2 with {other}"))),
    })
}

fn cipher_of(reader: &mut SliceReader<'_>) -> Result<(&'static Algorithm, usize), KeyError> {
    let oid: ObjectIdentifier = reader.decode().map_err(|_| KeyError::Malformed)?;
    Ok(match oid.to_string().as_str() {
        "2.16.840.1.101.3.4.1.2" => (&AES_128, 16),
        "2.16.840.1.101.3.4.1.22" => (&AES_192, 24),
        "2.16.840.1.101.3.4.1.42" => (&AES_256, 32),
        other => return Err(scheme(format!("the cipher {other}"))),
    })
}

fn scheme(scheme: String) -> KeyError {
    KeyError::Scheme { scheme }
}
