//! Owner keys for `nacre generate`: read, or made when missing.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_fnconfig::Confidential;
use nacre_manifest::{KeyDigest, OwnerKeyError, SeedshareOwnerKey};

use super::{FileChange, new_key};
use crate::context::Context;
use crate::error::CommandError;
use crate::keys::{self, Owner, SEEDSHARE_OWNER_FILE, WORKLOAD_OWNER_FILE};
use crate::work_tree::{Tracked, tracked};

/// Who may update the manifest and recover the Coordinator.
#[derive(Debug, clap::Args)]
pub(crate) struct Owners {
    /// Key of a workload owner, private or public; may be repeated, made when missing
    /// [default: those of the configuration, else workload-owner.pem]
    #[arg(short = 'w', long = "add-workload-owner-key", value_name = "FILE")]
    workload: Vec<PathBuf>,
    /// Key of a seed-share owner, private or public; may be repeated, made when missing
    /// [default: those of the configuration, else seedshare-owner.pem]
    #[arg(long = "add-seedshare-owner-key", value_name = "FILE")]
    seedshare: Vec<PathBuf>,
    /// Let nobody replace the manifest
    #[arg(short, long, conflicts_with = "workload")]
    pub(crate) disable_updates: bool,
}

/// Adds the owners to the configuration and gives the keys that are to be written.
pub(crate) fn apply(
    args: &Owners,
    may_make: bool,
    config: &mut Confidential,
    context: &mut Context,
) -> Result<Vec<FileChange>, CommandError> {
    let mut made = Vec::new();
    let workload = paths(
        &args.workload,
        !config.workload_owners.is_empty() || config.disable_updates,
        WORKLOAD_OWNER_FILE,
        context,
    );
    for path in &workload {
        let public = public_key(Owner::Workload, path, may_make, &mut made, context)?;
        let digest = KeyDigest::from_pem(&public).map_err(|error| unusable(path, &error))?;
        if !config.workload_owners.contains(&digest) {
            config.workload_owners.push(digest);
        }
    }
    let seedshare = paths(
        &args.seedshare,
        !config.seedshare_owners.is_empty(),
        SEEDSHARE_OWNER_FILE,
        context,
    );
    for path in &seedshare {
        let public = public_key(Owner::Seedshare, path, may_make, &mut made, context)?;
        let key = SeedshareOwnerKey::from_pem(&public).map_err(|error| unusable(path, &error))?;
        if !config.seedshare_owners.contains(&key) {
            config.seedshare_owners.push(key);
        }
    }
    Ok(made)
}

fn paths(given: &[PathBuf], configured: bool, default: &str, context: &Context) -> Vec<PathBuf> {
    if !given.is_empty() {
        given
            .iter()
            .map(|path| context.environment.path(path))
            .collect()
    } else if configured {
        Vec::new()
    } else {
        vec![context.path_or_default(None, default)]
    }
}

fn public_key(
    owner: Owner,
    path: &Path,
    may_make: bool,
    made: &mut Vec<FileChange>,
    context: &mut Context,
) -> Result<String, CommandError> {
    if path.exists() {
        return keys::public_pem(owner, path, &keys::read(path)?, context);
    }
    let name = path.display().to_string();
    if !may_make {
        return Err(Finding::error(
            codes::cli::KEY_UNUSABLE,
            format!("{name} does not exist, and --check makes no keys"),
        )
        .help("run `nacre init`, or name public keys in the configuration")
        .at(Location::file(name))
        .into());
    }
    if let Tracked::Exposed { .. } = tracked(path) {
        return Err(Finding::error(
            codes::cli::KEY_EXPOSED,
            format!("{name} would be a private key in a git work tree, and no ignore rule covers it"),
        )
        .help(format!(
            "add it to .gitignore first (echo {name} >> .gitignore), or run `nacre init`, which does"
        ))
        .at(Location::file(name))
        .into());
    }
    let text = keys::generate(owner)?;
    let public = keys::public_pem(owner, path, &text, context)?;
    made.push(new_key(path.to_path_buf(), text));
    Ok(public)
}

fn unusable(path: &Path, error: &OwnerKeyError) -> CommandError {
    let name = path.display().to_string();
    Finding::error(
        codes::cli::KEY_UNUSABLE,
        format!("{name} cannot be used: {error}"),
    )
    .at(Location::file(name))
    .into()
}
