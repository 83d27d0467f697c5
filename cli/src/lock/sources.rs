//! Where images come from.

use std::ffi::OsString;
use std::path::PathBuf;

use nacre_imagelock::Platform;
use nacre_registry::{AuthFiles, LocalStore, Mirror, Options};

use crate::context::Context;

/// Options about sources.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sources")]
pub(crate) struct Sources {
    /// Use no network: only the present lock, layouts, archives and the cache
    #[arg(long)]
    pub(crate) offline: bool,
    /// OCI layout folder; with IMAGE= where it does not name its image; may be repeated
    #[arg(long, value_name = "[IMAGE=]DIR")]
    layout: Vec<LocalStore>,
    /// OCI or docker-save archive; with IMAGE= where it does not name its image; may be repeated
    #[arg(long, value_name = "[IMAGE=]FILE")]
    archive: Vec<LocalStore>,
    /// Mirror to be asked before a registry; may be repeated
    #[arg(long, value_name = "REGISTRY=HOST[/PREFIX]")]
    mirror: Vec<Mirror>,
    /// Registry to be reached over plain HTTP; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<String>,
    /// Certificate authority in addition to the system's (PEM); may be repeated
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
    /// Credentials of docker or podman [default: where these programs keep them]
    #[arg(long, value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// Folder for what was resolved before [default: nacre in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Leave out the passwd and group files of images whose user is numeric. Their pods then need
    /// runAsUser, runAsGroup and supplementalGroupsPolicy: Strict
    #[arg(long)]
    skip_users: bool,
}

impl Sources {
    pub(crate) fn options(&self, context: &Context, platform: Platform) -> Options {
        let environment = &context.environment;
        let store = |store: &LocalStore| LocalStore {
            path: environment.path(&store.path),
            image: store.image.clone(),
        };
        let auth_files = match &self.auth_file {
            Some(file) => AuthFiles::only(environment.path(file)),
            None => {
                AuthFiles::from_environment(|name| environment.variable(name).map(OsString::from))
            }
        };
        let cache = match (
            environment.variable("XDG_CACHE_HOME"),
            environment.variable("HOME"),
        ) {
            (Some(cache), _) => Some(PathBuf::from(cache).join("nacre")),
            (None, Some(home)) => Some(PathBuf::from(home).join(".cache/nacre")),
            (None, None) => None,
        };
        Options {
            platform,
            always_read_users: !self.skip_users,
            offline: self.offline,
            layouts: self.layout.iter().map(store).collect(),
            archives: self.archive.iter().map(store).collect(),
            mirrors: self.mirror.clone(),
            insecure_registries: self.insecure_registry.iter().cloned().collect(),
            ca_files: self
                .ca_file
                .iter()
                .map(|file| environment.path(file))
                .collect(),
            auth_files,
            cache_dir: self
                .cache_dir
                .as_ref()
                .map(|dir| environment.path(dir))
                .or(cache),
            ..Options::default()
        }
    }
}
