//! Owner keys: made when missing, read as public keys.

use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_client::keys::{
    self as client, AskPassphrase, KeyError, OwnerSigner as _, SeedshareKey, WorkloadKey,
};
use nacre_findings::{Finding, Location, codes};
use nacre_manifest::KeyDigest;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::CommandError;

/// Mode of a private key file: its owner only.
pub(crate) const KEY_MODE: u32 = 0o600;

/// Longest file of a key that is read, in bytes.
const MAX_KEY_FILE: usize = 1 << 20;

/// Private key of the workload owner.
pub(crate) const WORKLOAD_OWNER_FILE: &str = "workload-owner.pem";

/// Private key of the seed-share owner.
pub(crate) const SEEDSHARE_OWNER_FILE: &str = "seedshare-owner.pem";

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
            Self::Workload => {
                "an ECDSA key on P-256, P-384 or P-521 in PEM form (PKCS#8, SEC1 or a public key)"
            }
            Self::Seedshare => {
                "an RSA key of at least 2048 bits in PEM form (PKCS#8, PKCS#1 or a public key)"
            }
        }
    }
}

/// The text of a key file.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Finding> {
    let failed = |why: &str| {
        let name = path.display().to_string();
        let message = format!("cannot read {name}: {why}");
        Finding::error(codes::cli::FILE_UNREADABLE, message).at(Location::file(name))
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE + 1));
    let most = u64::try_from(MAX_KEY_FILE + 1).unwrap_or(u64::MAX);
    std::fs::File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| failed(&error.to_string()))?;
    if bytes.len() > MAX_KEY_FILE {
        return Err(failed("it is too large for a key"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(failed("it is not text").help(
            "a key in PEM form is needed; `openssl pkey -inform DER -in FILE -out key.pem` makes one of DER",
        )),
    }
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
    Ok(client::encode("PRIVATE KEY", &der))
}

/// The public key, as `PUBLIC KEY` PEM, of a private or public key in PEM form. An encrypted key is opened.
pub(crate) fn public_pem(
    owner: Owner,
    path: &Path,
    text: &str,
    context: &Context,
) -> Result<String, CommandError> {
    if text.contains("-----BEGIN RSA PUBLIC KEY-----") && owner == Owner::Seedshare {
        let der = public_block(text, "RSA PUBLIC KEY");
        let der = der.ok_or_else(|| unfit(owner, path, "it is damaged"))?;
        return Ok(client::encode("RSA PUBLIC KEY", &der).to_string());
    }
    let spki = match public_block(text, "PUBLIC KEY") {
        Some(der) if !text.contains("PRIVATE KEY-----") => der,
        _ => match owner {
            Owner::Workload => open(path, text, context, WorkloadKey::from_pem)?
                .spki()
                .to_vec(),
            Owner::Seedshare => open(path, text, context, SeedshareKey::from_pem)?
                .spki()
                .to_vec(),
        },
    };
    Ok(client::encode("PUBLIC KEY", &spki).to_string())
}

/// DER of a workload owner's public key, from its PEM.
pub(crate) fn workload_spki(path: &Path, text: &str) -> Result<Vec<u8>, Finding> {
    let owner = Owner::Workload;
    let der = public_block(text, "PUBLIC KEY")
        .ok_or_else(|| unfit(owner, path, "it holds no PUBLIC KEY"))?;
    KeyDigest::from_spki(&der).map_err(|error| unfit(owner, path, &error.to_string()))?;
    Ok(der)
}

/// Opens a private key, asking for its passphrase when it has one.
pub(crate) fn open<K>(
    path: &Path,
    text: &str,
    context: &Context,
    read: fn(&str, AskPassphrase<'_>) -> Result<K, KeyError>,
) -> Result<K, CommandError> {
    let mut failed = None;
    let key = read(text, &mut || match context.passphrase(path) {
        Ok(passphrase) => passphrase,
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    match (failed, key) {
        (Some(error), _) => Err(error),
        (None, Ok(key)) => Ok(key),
        (None, Err(error)) => Err(unusable(path, &error).into()),
    }
}

/// A key file that is of no use.
fn unusable(path: &Path, error: &KeyError) -> Finding {
    let owner = match error {
        KeyError::NotRsa | KeyError::Unfit(_) => Owner::Seedshare,
        _ => Owner::Workload,
    };
    let finding = unfit(owner, path, &error.to_string());
    match error.help() {
        Some(help) => finding.help(help),
        None => finding,
    }
}

fn unfit(owner: Owner, path: &Path, why: &str) -> Finding {
    let name = path.display().to_string();
    Finding::error(
        codes::cli::KEY_UNUSABLE,
        format!("{name} cannot be used: {why}"),
    )
    .help(format!("needed is {}", owner.needs()))
    .at(Location::file(name))
}

/// The content of the only block with this label.
fn public_block(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    STANDARD.decode(body).ok()
}
