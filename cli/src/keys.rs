//! Owner keys: made when missing, read as public keys.

use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_findings::{Finding, Location, codes};
use zeroize::Zeroizing;

/// Mode of a private key file: its owner only.
pub(crate) const KEY_MODE: u32 = 0o600;

/// Private key of the workload owner.
pub(crate) const WORKLOAD_OWNER_FILE: &str = "workload-owner.pem";

/// Private key of the seed-share owner.
pub(crate) const SEEDSHARE_OWNER_FILE: &str = "seedshare-owner.pem";

/// Smallest RSA modulus of a seed-share owner, in bits.
const MIN_RSA_BITS: usize = 2048;

/// What an owner key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// May set and update the manifest: ECDSA on P-384.
    Workload,
    /// Can decrypt a share of the seed: RSA, 4096 bits when made here.
    Seedshare,
}

impl Owner {
    const fn needs(self) -> &'static str {
        match self {
            Self::Workload => "an ECDSA P-384 key in PEM form (PKCS#8, SEC1 or a public key)",
            Self::Seedshare => {
                "an RSA key of at least 2048 bits in PEM form (PKCS#8, PKCS#1 or a public key)"
            }
        }
    }
}

/// The text of a key file.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Finding> {
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| {
            let name = path.display().to_string();
            Finding::error(
                codes::cli::FILE_UNREADABLE,
                format!("cannot read {name}: {error}"),
            )
            .at(Location::file(name))
        })
}

/// A new private key as PKCS#8 PEM.
pub(crate) fn generate(owner: Owner) -> Result<Zeroizing<String>, Finding> {
    let failed = |_| Finding::error(codes::cli::INTERNAL, "key generation failed");
    let der = match owner {
        Owner::Workload => {
            let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(failed)?;
            let der = key.to_pkcs8v1().map_err(failed)?;
            Zeroizing::new(der.as_ref().to_vec())
        }
        Owner::Seedshare => {
            let key = rsa::KeyPair::generate(rsa::KeySize::Rsa4096).map_err(failed)?;
            let der: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
            Zeroizing::new(der.as_ref().to_vec())
        }
    };
    Ok(Zeroizing::new(pem("PRIVATE KEY", &der)))
}

/// The public key, as `PUBLIC KEY` PEM, of a private or public key in PEM form.
pub(crate) fn public_pem(owner: Owner, path: &Path, text: &str) -> Result<String, Finding> {
    let unusable = |why: &str| {
        let name = path.display().to_string();
        Finding::error(
            codes::cli::KEY_UNUSABLE,
            format!("{name} cannot be used: {why}"),
        )
        .help(format!("needed is {}", owner.needs()))
        .at(Location::file(name))
    };
    let (label, der) = block(text).ok_or_else(|| unusable("it is not PEM"))?;
    let public = match (owner, label.as_str()) {
        (_, "PUBLIC KEY") => der.to_vec(),
        (Owner::Workload, "PRIVATE KEY" | "EC PRIVATE KEY") => {
            let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_ASN1_SIGNING, &der)
                .map_err(|_| unusable("it is not a P-384 private key"))?;
            let public: PublicKeyX509Der<'_> = key
                .public_key()
                .as_der()
                .map_err(|_| unusable("it has no public key"))?;
            public.as_ref().to_vec()
        }
        (Owner::Seedshare, "PRIVATE KEY" | "RSA PRIVATE KEY") => {
            let key = if label == "PRIVATE KEY" {
                rsa::KeyPair::from_pkcs8(&der)
            } else {
                rsa::KeyPair::from_der(&der)
            }
            .map_err(|_| unusable("it is not an RSA private key"))?;
            if key.public_modulus_len() * 8 < MIN_RSA_BITS {
                return Err(unusable("it is too short"));
            }
            let public: PublicKeyX509Der<'_> = key
                .public_key()
                .as_der()
                .map_err(|_| unusable("it has no public key"))?;
            public.as_ref().to_vec()
        }
        (Owner::Seedshare, "RSA PUBLIC KEY") => return Ok(pem("RSA PUBLIC KEY", &der)),
        (_, label) => return Err(unusable(&format!("it is a {label}"))),
    };
    Ok(pem("PUBLIC KEY", &public))
}

/// Label and content of the first PEM block.
fn block(text: &str) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(
        body.chars()
            .filter(|ch| !ch.is_ascii_whitespace())
            .collect(),
    );
    Some((
        label.to_owned(),
        Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?),
    ))
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while let Some((line, after)) = rest.split_at_checked(64) {
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    if !rest.is_empty() {
        out.push_str(rest);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
