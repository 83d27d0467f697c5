//! `nacre init`: configuration, owner keys and ignore rules for a new workspace.

use std::path::{Path, PathBuf};

use nacre_findings::{Finding, Location, codes};
use nacre_fnconfig::is_namespace;
use nacre_framing::replace::{Change, Expected, ReplaceError, Staged};
use nacre_framing::settings::CONFIGURATION_FILE;
use nacre_framing::signals::Stop;
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::{Context, Output};
use crate::error::CommandError;
use crate::files::write_error;
use crate::keys::{self, KEY_MODE, Owner, SEEDSHARE_OWNER_FILE, WORKLOAD_OWNER_FILE};
use crate::resources;
use crate::work_tree::{Tracked, tracked};

/// Name of git's file of ignore rules.
const GITIGNORE: &str = ".gitignore";
/// Name of kpt's file of ignore rules, and of the file that makes a folder a package.
const KRMIGNORE: &str = ".krmignore";
const KPTFILE: &str = "Kptfile";
/// What commands leave in the workspace that is JSON but no object: kpt would refuse the package.
const NOT_FOR_KPT: [&str; 3] = ["manifest.json", "seed-shares.json", "verify/"];

/// Create the configuration nacre.yaml and the owner keys
///
/// Keys are made once and never replaced. Keep them out of the repository with --keys; inside a git work
/// tree they get ignore rules, and a key that git would still take is refused. In a kpt package, files of
/// later commands that are no objects get a rule in .krmignore.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Platform the workloads run on
    #[arg(long, visible_alias = "reference-values", value_name = "PLATFORM")]
    platform: Option<String>,
    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Folder of the private keys, outside of the repository; it is created [default: the workspace]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Do not touch .gitignore; keys must then be covered by rules that exist
    #[arg(long)]
    no_gitignore: bool,
    /// Replace an existing nacre.yaml (keys are never replaced)
    #[arg(long)]
    force: bool,
}

/// A file that `init` writes.
struct NewFile {
    path: PathBuf,
    content: Zeroizing<Vec<u8>>,
    expected_before: Option<Vec<u8>>,
    mode: u32,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let platform = args
        .platform
        .as_deref()
        .map(resources::platform)
        .transpose()?;
    let platform = platform.map(|platform| platform.name.as_str());
    if let Some(name) = args.namespace.as_deref().filter(|name| !is_namespace(name)) {
        let message = format!("{name:?} is not a name for a namespace");
        return Err(Finding::error(codes::cli::USAGE, message)
            .help("lower-case letters, digits and hyphens, at most 63")
            .into());
    }
    let configuration = context.path_or_default(None, CONFIGURATION_FILE);
    if configuration.exists() && !args.force {
        return Err(Finding::error(
            codes::cli::FILE_UNWRITABLE,
            format!("{} exists already", configuration.display()),
        )
        .help("use --force to replace it; owner keys are kept in any case")
        .at(Location::file(configuration.display().to_string()))
        .into());
    }
    let mut files = Vec::new();
    let mut owners = Vec::new();
    let mut new_keys = Vec::new();
    for (owner, name) in [
        (Owner::Workload, WORKLOAD_OWNER_FILE),
        (Owner::Seedshare, SEEDSHARE_OWNER_FILE),
    ] {
        let given = args.keys.as_ref().map(|folder| folder.join(name));
        let path = context.path_or_default(given.as_deref(), name);
        let text = if path.exists() {
            keys::read(&path)?
        } else {
            let text = keys::generate(owner)?;
            files.push(NewFile {
                path: path.clone(),
                content: Zeroizing::new(text.as_bytes().to_vec()),
                expected_before: None,
                mode: KEY_MODE,
            });
            new_keys.push(path.clone());
            text
        };
        owners.push(keys::public_pem(owner, &path, &text, context)?);
    }
    let ignore = ignore_rules(context, &new_keys, args.no_gitignore)?;
    let text = configuration_text(platform, args.namespace.as_deref(), &owners);
    files.push(NewFile {
        expected_before: std::fs::read(&configuration).ok(),
        path: configuration.clone(),
        content: Zeroizing::new(text.into_bytes()),
        mode: 0o644,
    });
    files.extend(krm_rules(context)?);
    // The rules are in place before the first key is.
    files.splice(0..0, ignore);
    if let Some(folder) = args.keys.as_ref().filter(|_| !new_keys.is_empty()) {
        private_folder(&context.environment.path(folder))?;
    }
    write(&files)?;

    context.publish()?;
    let written: Vec<String> = files
        .iter()
        .map(|file| file.path.display().to_string())
        .collect();
    if context.output == Output::Json {
        return context.print_json(json!({ "written": written }));
    }
    let mut out: String = written
        .iter()
        .map(|path| format!("wrote {path}\n"))
        .collect();
    if platform.is_none() {
        out.push_str(&format!(
            "next: name the platform in {}, then `nacre lock` and `nacre generate`\n",
            configuration.display()
        ));
    } else {
        out.push_str("next: `nacre coordinator-resources -o coordinator.yml`, `nacre lock` it with your resources, then `nacre generate` all\n");
    }
    context.print(&out)
}

/// The `.gitignore` with rules for the new keys, where they are needed.
fn ignore_rules(
    context: &Context,
    keys: &[PathBuf],
    keep_gitignore: bool,
) -> Result<Option<NewFile>, CommandError> {
    let exposed: Vec<&PathBuf> = keys
        .iter()
        .filter(|key| matches!(tracked(key), Tracked::Exposed { .. }))
        .collect();
    let Some(first) = exposed.first() else {
        return Ok(None);
    };
    let refused = |reason: &str| {
        let name = first.display().to_string();
        CommandError::from(
            Finding::error(
                codes::cli::KEY_EXPOSED,
                format!("{name} would be inside a git work tree without an ignore rule"),
            )
            .help(reason.to_owned())
            .at(Location::file(name)),
        )
    };
    if keep_gitignore {
        return Err(refused("add a rule, or leave out --no-gitignore"));
    }
    let path = context.path_or_default(None, GITIGNORE);
    let before = match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(refused(&format!(
                "{} cannot be read: {error}",
                path.display()
            )));
        }
    };
    let mut content = before.clone().unwrap_or_default();
    if !content.is_empty() && !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    content.extend_from_slice(b"# private keys and seed shares of Nacre\n");
    for name in [
        WORKLOAD_OWNER_FILE,
        SEEDSHARE_OWNER_FILE,
        "seed-shares.json",
    ] {
        content.extend_from_slice(format!("/{name}\n").as_bytes());
    }
    Ok(Some(NewFile {
        path,
        content: Zeroizing::new(content),
        expected_before: before,
        mode: 0o644,
    }))
}

/// The `.krmignore` with rules for what kpt cannot read, where the workspace is a kpt package.
fn krm_rules(context: &Context) -> Result<Option<NewFile>, CommandError> {
    if !context.path_or_default(None, KPTFILE).exists() {
        return Ok(None);
    }
    let path = context.path_or_default(None, KRMIGNORE);
    let before = match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let name = path.display().to_string();
            let message = format!("{name} cannot be read: {error}");
            return Err(Finding::error(codes::cli::FILE_UNREADABLE, message)
                .at(Location::file(name))
                .into());
        }
    };
    let text = String::from_utf8_lossy(before.as_deref().unwrap_or_default()).into_owned();
    let missing: Vec<&str> = NOT_FOR_KPT
        .into_iter()
        .filter(|rule| !text.lines().any(|line| line.trim() == *rule))
        .collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut content = before.clone().unwrap_or_default();
    if !content.is_empty() && !content.ends_with(b"\n") {
        content.push(b'\n');
    }
    for rule in missing {
        content.extend_from_slice(format!("{rule}\n").as_bytes());
    }
    Ok(Some(NewFile {
        path,
        content: Zeroizing::new(content),
        expected_before: before,
        mode: 0o644,
    }))
}

/// Makes the folder of the keys, for its owner only.
fn private_folder(folder: &Path) -> Result<(), CommandError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(|error| {
        let name = folder.display().to_string();
        let message = format!("{name} cannot be made: {error}");
        Finding::error(codes::cli::FILE_UNWRITABLE, message)
            .at(Location::file(name))
            .into()
    })
}

fn write(files: &[NewFile]) -> Result<(), CommandError> {
    let changes: Vec<Change<'_>> = files
        .iter()
        .map(|file| Change {
            path: &file.path,
            expected: match &file.expected_before {
                Some(bytes) => Expected::Exactly(bytes),
                None => Expected::Absent(file.mode),
            },
            content: &file.content,
        })
        .collect();
    let stop = Stop::watch().map_err(|source| ReplaceError::Unwritable {
        path: Path::new("signal handlers").to_path_buf(),
        source,
    });
    let stop = stop.map_err(|error| write_error(&error))?;
    let signal = || stop.signal();
    Staged::stage(&changes, &signal)
        .and_then(|staged| staged.commit(&signal))
        .map_err(|error| write_error(&error))
}

/// The commented configuration.
fn configuration_text(
    platform: Option<&str>,
    namespace: Option<&str>,
    owners: &[String],
) -> String {
    let names: Vec<&str> = nacre_platform::platforms()
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    let targets: Vec<&str> = nacre_policy::target::TARGETS
        .iter()
        .map(|target| target.name)
        .collect();
    let platform_line = match platform {
        Some(name) => format!("  platform: {name}\n"),
        None => "  # platform: metal-qemu-snp\n".to_owned(),
    };
    let namespace_line = match namespace {
        Some(name) => format!("  namespace: {name}\n"),
        None => "  # namespace: default\n".to_owned(),
    };
    let pem = |text: &str| -> String {
        text.lines()
            .map(|line| format!("        {line}\n"))
            .collect()
    };
    let mut owners = owners.iter();
    let workload = owners.next().map(|text| pem(text)).unwrap_or_default();
    let seedshare = owners.next().map(|text| pem(text)).unwrap_or_default();
    format!(
        "# Configuration of Nacre. `nacre schema` describes every field; unknown ones are errors.\n\
         apiVersion: nacre.dev/v1alpha1\n\
         kind: Confidential\n\
         metadata:\n  \
           name: nacre\n  \
           annotations:\n    \
             # orchestrators keep this object out of the cluster\n    \
             config.kubernetes.io/local-config: \"true\"\n\
         spec:\n  \
           # where the workloads run: {names}\n\
         {platform_line}  \
           # namespace of objects that name none; Helm needs it here or as --namespace\n\
         {namespace_line}  \
           # versions of Kata on the nodes; `nacre doctor` proposes it: {targets}\n  \
           # policy:\n  \
           #   target: {target}\n  \
           # open points (missing reference values, absent namespaces) are errors\n  \
           # strict: true\n  \
           # least firmware and the measurement of your guest, as `nacre reference-values` gives them\n  \
           # referenceValues: []\n  \
           # workloads in addition to those with `runtimeClassName: contrast-cc`\n  \
           # selectors:\n  \
           #   - kind: Deployment\n  \
           #     name: web-*\n  \
           # who may update the manifest: public keys of {WORKLOAD_OWNER_FILE}\n  \
           workloadOwners:\n    \
             - pem: |\n{workload}  \
           # who can recover the Coordinator: public keys of {SEEDSHARE_OWNER_FILE}\n  \
           seedshareOwners:\n    \
             - pem: |\n{seedshare}",
        names = names.join(", "),
        targets = targets.join(", "),
        target = targets.first().copied().unwrap_or_default(),
    )
}
