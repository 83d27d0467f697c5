//! Rendered resources that a command reads and does not write.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_fnconfig::Confidential;
use nacre_framing::arguments::Flags;
use nacre_framing::input::{self, Text};
use nacre_framing::settings::{self, Settings};
use nacre_framing::transform;
use nacre_generate::{Mode, Options, Source};
use nacre_manifest::{KeyDigest, OwnerKeyError, SeedshareOwnerKey};
use nacre_platform::Platform;

use crate::context::Context;
use crate::error::CommandError;
use crate::keys::{self, Owner, SEEDSHARE_OWNER_FILE, WORKLOAD_OWNER_FILE};

/// Texts from files, directories or, for `-`, standard input.
pub(crate) fn texts(paths: &[PathBuf], context: &Context) -> Result<Vec<Text>, CommandError> {
    let limit = input::limit(&context.environment)?;
    if paths.iter().any(|path| path == Path::new("-")) {
        if paths.len() > 1 {
            return Err(CommandError::usage("`-` cannot go with other paths"));
        }
        if context.environment.stdin_is_terminal {
            return Err(CommandError::usage("nothing is piped in"));
        }
        return Ok(vec![input::read_stdin(
            &mut std::io::stdin().lock(),
            limit,
        )?]);
    }
    let paths: Vec<PathBuf> = paths
        .iter()
        .map(|path| context.environment.path(path))
        .collect();
    let files = input::collect(&paths)?;
    let texts = files.iter().map(|path| input::read_file(path, limit));
    Ok(texts.collect::<Result<Vec<_>, _>>()?)
}

/// The same, parsed; nothing at all is an error.
pub(crate) fn sources(paths: &[PathBuf], context: &Context) -> Result<Vec<Source>, CommandError> {
    let texts = texts(paths, context)?;
    let sources = transform::parse(&texts, input::limit(&context.environment)?)?;
    transform::require_content(&sources)?;
    Ok(sources)
}

/// Configuration, lock and the rest, as `nacre generate` finds them.
pub(crate) fn settings(
    flags: &Flags,
    sources: &[Source],
    context: &Context,
) -> Result<Settings, CommandError> {
    let request = flags.request(Some(context.workspace()));
    let supplied = transform::supplied(sources);
    Ok(settings::resolve(
        &context.environment,
        &request,
        None,
        &supplied,
    )?)
}

/// The platform that a flag names.
pub(crate) fn platform(name: &str) -> Result<&'static Platform, CommandError> {
    nacre_platform::find(name).map_err(|error| {
        let finding = Finding::error(codes::cli::USAGE, error.to_string());
        match error.suggestion {
            Some(name) => finding.help(format!("did you mean {name}?")),
            None => finding,
        }
        .into()
    })
}

/// Options of the transformation, for reading: no policy is tried, nothing is added.
pub(crate) fn options<'a>(settings: &'a Settings, paths: &[PathBuf]) -> Options<'a> {
    let from_stdin = paths.iter().any(|path| path == Path::new("-"));
    Options {
        previous: settings.previous.as_ref(),
        mode: if from_stdin {
            Mode::Stream
        } else {
            Mode::Files
        },
        workspace_coordinator: settings.coordinator.as_ref(),
        self_check: false,
        ..Options::new(&settings.config, &settings.lock)
    }
}

/// Adds the owners whose keys lie in the workspace, where the configuration names none, as
/// `nacre generate` does. Makes no keys.
pub(crate) fn owners(config: &mut Confidential, context: &Context) -> Result<(), CommandError> {
    let workload = context.path_or_default(None, WORKLOAD_OWNER_FILE);
    if config.workload_owners.is_empty() && !config.disable_updates && workload.exists() {
        let public =
            keys::public_pem(Owner::Workload, &workload, &keys::read(&workload)?, context)?;
        let digest = KeyDigest::from_pem(&public).map_err(|error| unusable(&workload, &error))?;
        config.workload_owners.push(digest);
    }
    let seedshare = context.path_or_default(None, SEEDSHARE_OWNER_FILE);
    if config.seedshare_owners.is_empty() && seedshare.exists() {
        let public = keys::public_pem(
            Owner::Seedshare,
            &seedshare,
            &keys::read(&seedshare)?,
            context,
        )?;
        let key =
            SeedshareOwnerKey::from_pem(&public).map_err(|error| unusable(&seedshare, &error))?;
        config.seedshare_owners.push(key);
    }
    Ok(())
}

fn unusable(path: &Path, error: &OwnerKeyError) -> CommandError {
    let name = path.display().to_string();
    let message = format!("{name} cannot be used: {error}");
    Finding::error(codes::cli::KEY_UNUSABLE, message)
        .at(Location::file(name))
        .into()
}
