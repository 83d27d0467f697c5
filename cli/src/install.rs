//! `nacre install`: places the function where kustomize and Helm look for plugins.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_framing::environment::Environment;
use nacre_framing::replace::replace_one;
use serde_json::json;

use crate::context::{Context, Output};
use crate::error::CommandError;

/// Group, version and kind of our configuration, as kustomize spells them in its plugin folders.
const KUSTOMIZE_PLUGIN: &str = "nacre.dev/v1alpha1/confidential/Confidential";

/// The Helm plugin has the name of the program, so that `--post-renderer nacre-post-renderer` is the
/// same line for Helm 3 (a program in PATH) and Helm 4 (a plugin).
const HELM_PLUGIN: &str = "nacre-post-renderer";

/// Install the function as a plugin of another tool
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Install {
    /// Place nacre-krm-fn as a kustomize exec plugin, for `kubectl kustomize --enable-alpha-plugins`
    ///
    /// kubectl has no other way to run a program without a container.
    KustomizePlugin(KustomizeArgs),
    /// Place nacre-post-renderer as a Helm 4 post-renderer plugin
    ///
    /// Helm 3 needs no plugin, and warns about plugins made for Helm 4: keep the two apart with
    /// HELM_PLUGINS when both are in use.
    HelmPlugin(HelmArgs),
}

/// Options of `nacre install kustomize-plugin`.
#[derive(Debug, clap::Args)]
pub(crate) struct KustomizeArgs {
    /// Plugin root [default: $KUSTOMIZE_PLUGIN_HOME, else $XDG_CONFIG_HOME/kustomize/plugin]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Options of `nacre install helm-plugin`.
#[derive(Debug, clap::Args)]
pub(crate) struct HelmArgs {
    /// Plugin root [default: $HELM_PLUGINS, else $HELM_DATA_HOME/plugins, else the data directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// What is placed, and how.
#[derive(Debug, clap::Args)]
struct Place {
    /// The program to place [default: the one beside nacre, else the one in PATH]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Copy the program instead of linking to it
    #[arg(long)]
    copy: bool,
}

pub(crate) fn run(what: &Install, context: &mut Context) -> Result<(), CommandError> {
    let (tool, placed) = match what {
        Install::KustomizePlugin(args) => ("kustomize", kustomize(args, &context.environment)?),
        Install::HelmPlugin(args) => ("helm", helm(args, &context.environment)?),
    };
    context.publish()?;
    if context.output == Output::Json {
        return context.print_json(json!({ "tool": tool, "path": placed.display().to_string() }));
    }
    context.print(&format!("installed {}\n", placed.display()))
}

fn kustomize(args: &KustomizeArgs, environment: &Environment) -> Result<PathBuf, CommandError> {
    let root = match (&args.dir, environment.variable("KUSTOMIZE_PLUGIN_HOME")) {
        (Some(dir), _) => environment.path(dir),
        (None, Some(dir)) => environment.path(dir),
        (None, None) => base(environment, "XDG_CONFIG_HOME", ".config")?.join("kustomize/plugin"),
    };
    let program = args.place.program("nacre-krm-fn", environment)?;
    let target = root.join(KUSTOMIZE_PLUGIN);
    args.place.put(&program, &target)?;
    Ok(target)
}

fn helm(args: &HelmArgs, environment: &Environment) -> Result<PathBuf, CommandError> {
    let root = match (&args.dir, environment.variable("HELM_PLUGINS")) {
        (Some(dir), _) => environment.path(dir),
        (None, Some(dir)) => environment.path(dir),
        (None, None) => match environment.variable("HELM_DATA_HOME") {
            Some(home) => environment.path(home).join("plugins"),
            None => base(environment, "XDG_DATA_HOME", ".local/share")?.join("helm/plugins"),
        },
    };
    let program = args.place.program(HELM_PLUGIN, environment)?;
    let directory = root.join(HELM_PLUGIN);
    args.place.put(&program, &directory.join(HELM_PLUGIN))?;
    let description = directory.join("plugin.yaml");
    replace_one(&description, plugin_yaml().as_bytes())
        .map_err(|error| unwritable(&description, &error))?;
    Ok(directory)
}

/// `plugin.yaml` of Helm 4, which refuses fields it does not know.
fn plugin_yaml() -> String {
    format!(
        "apiVersion: v1\n\
         type: postrenderer/v1\n\
         name: {HELM_PLUGIN}\n\
         version: {}\n\
         runtime: subprocess\n\
         runtimeConfig:\n  \
           platformCommand:\n    \
             - command: ${{HELM_PLUGIN_DIR}}/{HELM_PLUGIN}\n",
        env!("CARGO_PKG_VERSION")
    )
}

impl Place {
    fn program(&self, name: &str, environment: &Environment) -> Result<PathBuf, CommandError> {
        let found = match &self.binary {
            Some(path) => Some(environment.path(path)),
            None => beside_us(name).or_else(|| in_path(name, environment)),
        };
        found
            .filter(|path| is_executable(path))
            .and_then(|path| path.canonicalize().ok())
            .ok_or_else(|| {
                let name = self
                    .binary
                    .as_ref()
                    .map_or(name.to_owned(), |b| b.display().to_string());
                Finding::error(
                    codes::cli::FILE_UNREADABLE,
                    format!("{name} is not an executable file"),
                )
                .help(format!(
                    "install {name} beside nacre or into PATH, or name it with --binary"
                ))
                .into()
            })
    }

    fn put(&self, program: &Path, target: &Path) -> Result<(), CommandError> {
        let put = || -> io::Result<()> {
            if let Some(directory) = target.parent() {
                fs::create_dir_all(directory)?;
            }
            let fresh = target.with_extension(format!("nacre-{}", std::process::id()));
            if self.copy {
                fs::copy(program, &fresh)?;
                fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
            } else {
                symlink(program, &fresh)?;
            }
            fs::rename(&fresh, target).inspect_err(|_| {
                let _ = fs::remove_file(&fresh);
            })
        };
        put().map_err(|error| unwritable(target, &error))
    }
}

fn unwritable(path: &Path, error: &dyn std::error::Error) -> CommandError {
    Finding::error(
        codes::cli::FILE_UNWRITABLE,
        format!("cannot install {}: {error}", path.display()),
    )
    .at(Location::file(path.display().to_string()))
    .into()
}

/// `$variable`, or the usual place in the home directory.
fn base(environment: &Environment, variable: &str, usual: &str) -> Result<PathBuf, CommandError> {
    if let Some(dir) = environment.variable(variable) {
        return Ok(environment.path(dir));
    }
    match environment.variable("HOME") {
        Some(home) => Ok(Path::new(home).join(usual)),
        None => Err(CommandError::usage(format!(
            "neither {variable} nor HOME is set; use --dir"
        ))),
    }
}

fn beside_us(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(name);
    is_executable(&path).then_some(path)
}

fn in_path(name: &str, environment: &Environment) -> Option<PathBuf> {
    let path = environment.variable("PATH")?;
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
