//! PEM blocks of keys, and the one DER wrapper that is written here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::KeyError;

/// A decoded PEM block.
pub struct Block {
    /// What stands behind BEGIN.
    pub label: String,
    /// The bytes. Cleared when it is dropped.
    pub der: Zeroizing<Vec<u8>>,
}

/// The first private key of a text. `openssl ecparam -genkey` writes parameters before it, and people write
/// comments.
pub fn private_block(text: &str) -> Result<Block, KeyError> {
    let mut rest = text;
    let mut other = None;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyError::NotPem)?;
        let end = format!("-----END {label}-----");
        let (body, after) = after.split_once(end.as_str()).ok_or(KeyError::NotPem)?;
        rest = after;
        if !label.ends_with("PRIVATE KEY") {
            if label != "EC PARAMETERS" {
                other.get_or_insert(label);
            }
            continue;
        }
        if body.contains("Proc-Type:") {
            return Err(KeyError::Traditional);
        }
        if !matches!(
            label,
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY"
        ) {
            return Err(KeyError::Label {
                label: label.to_owned(),
            });
        }
        let body: Zeroizing<String> =
            Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let der = STANDARD
            .decode(body.as_bytes())
            .map_err(|_| KeyError::Malformed)?;
        return Ok(Block {
            label: label.to_owned(),
            der: Zeroizing::new(der),
        });
    }
    match other {
        Some(label) if label.ends_with("PUBLIC KEY") => Err(KeyError::Public),
        Some(label) => Err(KeyError::Label {
            label: label.to_owned(),
        }),
        None => Err(KeyError::NotPem),
    }
}

/// A PEM block of 64 characters a line.
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut out = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 80));
    out.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Puts a PKCS#1 private key into the PKCS#8 wrapper: `SEQUENCE { 0, { rsaEncryption, NULL }, OCTET STRING }`.
pub(super) fn pkcs8_of_pkcs1(pkcs1: &[u8]) -> Zeroizing<Vec<u8>> {
    const VERSION_AND_ALGORITHM: &[u8] = &[
        0x02, 0x01, 0x00, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01,
        0x01, 0x05, 0x00,
    ];
    let key = tlv(0x04, &[pkcs1]);
    tlv(0x30, &[VERSION_AND_ALGORITHM, &key])
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(length + 6));
    out.push(tag);
    let bytes = length.to_be_bytes();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    match (significant.as_slice(), u8::try_from(significant.len())) {
        ([], _) => out.push(0),
        ([one], _) if *one < 0x80 => out.push(*one),
        (many, Ok(count)) => {
            out.push(0x80 | count);
            out.extend_from_slice(many);
        }
        // A usize has at most eight bytes.
        (_, Err(_)) => {}
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}
