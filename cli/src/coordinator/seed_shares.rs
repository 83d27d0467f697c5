//! `nacre seed-shares`.

use std::path::{Path, PathBuf};

use nacre_client::keys::SeedshareKey;
use nacre_client::pin::Pin;
use nacre_client::recover::OpenedShare;
use nacre_findings::{Finding, codes::client as codes};
use nacre_manifest::KeyDigest;
use nacre_pki::SeedShares;
use serde_json::json;

use super::owners::SeedshareOwners;
use super::recover::{shares_path, unusable};
use super::{Target, show};
use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files;

/// Longest document that is read, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;

/// Shares of the seed
#[derive(Debug, clap::Subcommand)]
pub(crate) enum SeedSharesCommand {
    Check(Check),
}

/// Prove that a share can be used, without recovering anything
///
/// Decrypts the share with the owner's key and compares it with its commitment; when one share is the whole
/// seed, also that it gives the root CA that earlier runs saw. Asks no Coordinator.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    #[command(flatten)]
    owners: SeedshareOwners,
    /// The encrypted shares [default: seed-shares.json in the workspace]
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

pub(crate) fn run(command: &SeedSharesCommand, context: &mut Context) -> Result<(), CommandError> {
    match command {
        SeedSharesCommand::Check(args) => check(args, context),
    }
}

fn check(args: &Check, context: &mut Context) -> Result<(), CommandError> {
    let document = read(args.seed.as_deref(), context)?;
    let pin = args.target.pin(context)?;
    if let Some(pin) = &pin
        && document.genesis() != pin.genesis.as_bytes()
    {
        let path = shares_path(args.seed.as_deref(), context);
        let message = format!("{} belongs to another deployment", path.display());
        return Err(Finding::error(codes::SHARE_UNUSABLE, message)
            .help("use the document of this deployment: `nacre set` with the manifest in force writes it again")
            .into());
    }
    let keys = args.owners.keys(context)?;
    let opened = open_all(&document, &keys)?;
    let mut proven = Vec::new();
    for ((share, _), (path, _)) in opened.iter().zip(&keys) {
        proven.push(match &pin {
            Some(pin) => gives_root(share, pin, path)?,
            None => false,
        });
    }
    context.publish()?;
    let (needed, of) = (document.threshold(), document.entries().len());
    if context.output == Output::Json {
        let shares = opened.iter().zip(&keys).zip(&proven);
        let shares: Vec<_> = shares
            .map(|(((share, _), (path, _)), root)| {
                json!({"key": path.display().to_string(), "index": share.index(), "fits": true, "givesRootCA": root})
            })
            .collect();
        return context.print_json(json!({"shares": shares, "needed": needed, "of": of}));
    }
    let mut out = String::new();
    for (((share, _), (path, _)), root) in opened.iter().zip(&keys).zip(&proven) {
        let root = match (root, share.threshold()) {
            (true, _) => ", and its seed gives the root CA that was seen",
            (false, 1) => "; nothing is pinned here, so its root CA was not compared",
            (false, _) => "",
        };
        out.push_str(&format!(
            "{}: share {} fits{root}\n",
            path.display(),
            share.index()
        ));
    }
    out.push_str(&format!("{needed} of {of} shares recover\n"));
    context.print(&out)
}

/// Whether the whole seed gives the pinned root CA; a seed that gives another one is an error.
fn gives_root(share: &OpenedShare, pin: &Pin, path: &Path) -> Result<bool, CommandError> {
    match share.root_spki(&pin.salt) {
        None => Ok(false),
        Some(Err(error)) => Err(unusable(path, &error).into()),
        Some(Ok(spki)) if KeyDigest::of_spki(&spki) == pin.root_key => Ok(true),
        Some(Ok(spki)) => {
            let found = show::short(KeyDigest::of_spki(&spki));
            let message = format!(
                "the seed gives root CA key {found}, earlier runs saw {}",
                show::short(pin.root_key)
            );
            Err(Finding::error(codes::SHARE_UNUSABLE, message).into())
        }
    }
}

/// Reads the document.
pub(super) fn read(given: Option<&Path>, context: &Context) -> Result<SeedShares, CommandError> {
    let path = shares_path(given, context);
    let bytes = files::read(&path, MAX_DOCUMENT).map_err(|error| {
        error.advised(
            "the first `nacre set` writes the shares, and each one after it writes them again; --seed names another file than seed-shares.json",
        )
    })?;
    SeedShares::parse(&bytes).map_err(|error| unusable(&path, &error).into())
}

/// Decrypts the share of each key; every one that does not fit is named.
pub(super) fn open_all<'a>(
    document: &SeedShares,
    keys: &'a [(PathBuf, SeedshareKey)],
) -> Result<Vec<(OpenedShare, &'a SeedshareKey)>, CommandError> {
    let mut opened = Vec::new();
    let mut findings = Vec::new();
    for (path, key) in keys {
        match OpenedShare::open(document, key) {
            Ok(share) => opened.push((share, key)),
            Err(error) => findings.push(unusable(path, &error)),
        }
    }
    match findings.is_empty() {
        true => Ok(opened),
        false => Err(findings.into()),
    }
}
