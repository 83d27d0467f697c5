//! Where the configuration, the lock and the other inputs beside the resources come from.
//!
//! The configuration is, first match wins: the orchestrator's `functionConfig`; the file of
//! `--config` or `NACRE_CONFIG`; the one `Confidential` object in the input; `nacre.yaml` in the
//! workspace; nothing. Over it are laid, in this order, `NACRE_*` variables and flags.
//!
//! The lock is everything of: the configuration's `imageLock`, the files of `--lock` or
//! `NACRE_LOCK`, the `ImageLock` objects in the input; where none of the latter two is given,
//! `nacre.lock.yaml` in the workspace. Beneath it lies the lock of the images of this release, which
//! release builds have compiled in: whatever the user's locks say of the same images counts instead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nacre_findings::{Code, Finding, Location, ResourceRef, codes};
use nacre_fnconfig::{Confidential, ConfigError, Reason};
use nacre_imagelock::ImageLock;
use nacre_krm::{Document, ObjectRef, Stream};
use nacre_manifest::Manifest;
use serde_json::Value;

use crate::environment::Environment;
use crate::input::{self, Text};

/// The configuration that `nacre init` writes and the programs that run in a workspace read.
pub const CONFIGURATION_FILE: &str = "nacre.yaml";

/// The image lock that `nacre lock` writes and the programs that run in a workspace read.
pub const LOCK_FILE: &str = "nacre.lock.yaml";

/// A Coordinator that is not rendered along with the workloads.
pub const COORDINATOR_FILE: &str = "coordinator.yml";

/// The lock of the images that this release injects, as JSON. Release builds set the variable.
const RELEASE_LOCK: Option<&str> = option_env!("NACRE_RELEASE_LOCK");

/// API group of our own objects.
const OUR_GROUP: &str = "nacre.dev/";

/// What the command line says about the settings.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--lock`, any number.
    pub locks: Vec<PathBuf>,
    /// `--previous`.
    pub previous: Option<PathBuf>,
    /// Flags that stand for fields of the configuration, by flat name.
    pub overrides: BTreeMap<String, String>,
    /// Where default files are looked for; `None` where the function must not read any.
    pub workspace: Option<PathBuf>,
}

/// A configuration that the caller was given by an orchestrator.
#[derive(Clone, Debug)]
pub struct Given {
    /// The object.
    pub value: Value,
    /// What messages call it.
    pub name: String,
}

/// One text of the input.
#[derive(Clone, Copy, Debug)]
pub struct Supplied<'a> {
    /// Its path, if it has one.
    pub file: Option<&'a str>,
    /// Its content.
    pub stream: &'a Stream,
}

/// Everything the transformation needs beside the resources.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration, overrides included.
    pub config: Confidential,
    /// All locks in one.
    pub lock: ImageLock,
    /// The manifest whose hand edits are carried over.
    pub previous: Option<Manifest>,
    /// The workspace's Coordinator.
    pub coordinator: Option<Stream>,
}

/// Finds and reads the settings; reports every mistake it can.
pub fn resolve(
    environment: &Environment,
    request: &Request,
    given: Option<&Given>,
    supplied: &[Supplied<'_>],
) -> Result<Settings, Vec<Finding>> {
    let limit = input::limit(environment).map_err(|finding| vec![finding])?;
    let resolver = Resolver {
        environment,
        request,
        limit,
    };
    let ours = our_objects(supplied);
    let mut findings = Vec::new();
    let config = keep(&mut findings, resolver.configuration(given, &ours));
    let lock = keep(&mut findings, resolver.lock(&ours));
    let previous = keep(&mut findings, resolver.previous());
    let coordinator = keep(&mut findings, resolver.coordinator());
    let (Some(config), Some(mut lock), Some(previous), Some(coordinator)) =
        (config, lock, previous, coordinator)
    else {
        return Err(findings);
    };
    if let Some(inline) = &config.image_lock {
        lock.merge(inline.clone()).map_err(|error| {
            vec![Finding::error(
                codes::lock::LOCK_CONFLICT,
                error.to_string(),
            )]
        })?;
    }
    let lock = over_release(RELEASE_LOCK, lock).map_err(|finding| vec![finding])?;
    Ok(Settings {
        config,
        lock,
        previous,
        coordinator,
    })
}

/// The lock of the images of this release; None in a program that was built without.
pub fn release_lock() -> Result<Option<ImageLock>, Finding> {
    RELEASE_LOCK.map(read_release).transpose()
}

fn read_release(text: &str) -> Result<ImageLock, Finding> {
    let damaged = |reason: &str| {
        let message = format!("the image lock of this release cannot be read: {reason}");
        Finding::error(codes::cli::INTERNAL, message)
    };
    let value: Value = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
    ImageLock::from_value(&value).map_err(|error| damaged(&error.to_string()))
}

/// The user's lock laid over that of the release.
fn over_release(release: Option<&str>, lock: ImageLock) -> Result<ImageLock, Finding> {
    let Some(text) = release else {
        return Ok(lock);
    };
    let mut all = read_release(text)?;
    all.name.clone_from(&lock.name);
    all.override_with(lock);
    Ok(all)
}

/// The configuration alone, for `nacre lock`: the lock it is about to replace may be damaged.
pub fn configuration(
    environment: &Environment,
    request: &Request,
    supplied: &[Supplied<'_>],
) -> Result<Confidential, Vec<Finding>> {
    let limit = input::limit(environment).map_err(|finding| vec![finding])?;
    let resolver = Resolver {
        environment,
        request,
        limit,
    };
    resolver.configuration(None, &our_objects(supplied))
}

/// The workspace's Coordinator alone, if there is one.
pub fn coordinator(
    environment: &Environment,
    request: &Request,
) -> Result<Option<Stream>, Vec<Finding>> {
    let limit = input::limit(environment).map_err(|finding| vec![finding])?;
    let resolver = Resolver {
        environment,
        request,
        limit,
    };
    resolver.coordinator()
}

fn keep<T>(findings: &mut Vec<Finding>, result: Result<T, Vec<Finding>>) -> Option<T> {
    result.map_err(|more| findings.extend(more)).ok()
}

/// An object of our own group in the input.
struct Ours<'a> {
    file: Option<&'a str>,
    document: &'a Document,
    at: ObjectRef,
    kind: String,
}

fn our_objects<'a>(supplied: &[Supplied<'a>]) -> Vec<Ours<'a>> {
    let mut out = Vec::new();
    for text in supplied {
        for at in text.stream.objects() {
            let Some(document) = text.stream.documents().get(at.document) else {
                continue;
            };
            let field = |key: &str| document.str_at(&at.base.key(key));
            if field("apiVersion").is_some_and(|version| version.starts_with(OUR_GROUP))
                && let Some(kind) = field("kind")
            {
                out.push(Ours {
                    file: text.file,
                    document,
                    kind: kind.into_owned(),
                    at,
                });
            }
        }
    }
    out
}

impl Ours<'_> {
    fn value(&self) -> Value {
        self.document.value(&self.at.base).unwrap_or(Value::Null)
    }

    fn locate(&self, path: &str) -> Location {
        locate(self.file, self.document, &self.at.base, path)
    }
}

fn locate(file: Option<&str>, document: &Document, base: &nacre_krm::Path, path: &str) -> Location {
    let within = path.parse().unwrap_or_else(|_| nacre_krm::Path::root());
    let position = document.position(&base.join(&within));
    Location {
        file: file.map(str::to_owned),
        ..Location::default()
    }
    .with_position(position.line, position.column)
}

struct Resolver<'a> {
    environment: &'a Environment,
    request: &'a Request,
    limit: u64,
}

impl Resolver<'_> {
    fn configuration(
        &self,
        given: Option<&Given>,
        ours: &[Ours<'_>],
    ) -> Result<Confidential, Vec<Finding>> {
        let file = self
            .request
            .config
            .clone()
            .or_else(|| self.variable_path("NACRE_CONFIG"));
        let base = if let Some(given) = given {
            let at = |_: &str| Location::file(&given.name);
            read_configuration(&given.value, &at)?
        } else if let Some(path) = file {
            self.configuration_file(&self.environment.path(path))?
        } else if let Some(config) = configuration_in_input(ours)? {
            config
        } else {
            match self.default_file(CONFIGURATION_FILE) {
                Some(path) => self.configuration_file(&path)?,
                None => Confidential::default(),
            }
        };
        let variables = self
            .environment
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let variables = Confidential::entries_from_env(variables.filter(|(_, v)| !v.is_empty()));
        let config = base
            .merge_overrides(&variables)
            .map_err(|errors| override_errors(&errors, "environment"))?;
        let mut config = config
            .merge_overrides(&self.request.overrides)
            .map_err(|errors| override_errors(&errors, "command line"))?;
        if config.namespace.is_none() {
            // Argo CD tells its plugins where an application goes.
            let variable = self.environment.variable("ARGOCD_APP_NAMESPACE");
            config.namespace = variable.filter(|name| !name.is_empty()).map(str::to_owned);
        }
        Ok(config)
    }

    fn configuration_file(&self, path: &Path) -> Result<Confidential, Vec<Finding>> {
        let (text, stream) = self.parse(path)?;
        let name = text.name();
        let objects = stream.objects();
        let mut found = None;
        for at in &objects {
            let Some(document) = stream.documents().get(at.document) else {
                continue;
            };
            if !is_configuration(document, &at.base) {
                continue;
            }
            let locate = |path: &str| locate(name.as_deref(), document, &at.base, path);
            if found.is_some() {
                return Err(vec![
                    Finding::error(
                        Code::new(Reason::Conflict.code()),
                        format!("{} holds two configurations", path.display()),
                    )
                    .at(locate("kind")),
                ]);
            }
            let value = document.value(&at.base).unwrap_or(Value::Null);
            found = Some(read_configuration(&value, &locate)?);
        }
        found.ok_or_else(|| {
            vec![
                Finding::error(
                    Code::new(Reason::WrongKind.code()),
                    format!("{} holds no configuration", path.display()),
                )
                .help(
                    "expected is an object of apiVersion nacre.dev/v1alpha1 and kind Confidential",
                )
                .at(Location::file(path.display().to_string())),
            ]
        })
    }

    fn lock(&self, ours: &[Ours<'_>]) -> Result<ImageLock, Vec<Finding>> {
        let mut paths: Vec<PathBuf> = self.request.locks.clone();
        if paths.is_empty() {
            paths.extend(self.variable_path("NACRE_LOCK"));
        }
        let mut paths: Vec<PathBuf> = paths
            .into_iter()
            .map(|path| self.environment.path(path))
            .collect();
        let items: Vec<&Ours<'_>> = ours
            .iter()
            .filter(|object| object.kind == nacre_imagelock::KIND)
            .collect();
        if paths.is_empty() && items.is_empty() {
            paths.extend(self.default_file(LOCK_FILE));
        }
        let mut lock = ImageLock::default();
        for path in &paths {
            let (text, stream) = self.parse(path)?;
            let name = text.name();
            let supplied = Supplied {
                file: name.as_deref(),
                stream: &stream,
            };
            let objects = our_objects(&[supplied]);
            let mut locks = objects
                .iter()
                .filter(|object| object.kind == nacre_imagelock::KIND)
                .peekable();
            if locks.peek().is_none() {
                return Err(vec![
                    Finding::error(
                        codes::lock::LOCK_INVALID,
                        format!("{} holds no image lock", path.display()),
                    )
                    .at(Location::file(path.display().to_string())),
                ]);
            }
            for object in locks {
                merge_lock(&mut lock, object)?;
            }
        }
        for object in items {
            merge_lock(&mut lock, object)?;
        }
        Ok(lock)
    }

    fn previous(&self) -> Result<Option<Manifest>, Vec<Finding>> {
        let path = self
            .request
            .previous
            .clone()
            .or_else(|| self.variable_path("NACRE_PREVIOUS"));
        let Some(path) = path.map(|path| self.environment.path(path)) else {
            return Ok(None);
        };
        let text = self.read(&path)?;
        Manifest::parse(text.content.as_bytes())
            .map(Some)
            .map_err(|error| {
                let mut finding = Finding::error(
                    Code::new(error.code()),
                    format!("{} cannot be carried over: {error}", path.display()),
                )
                .at(Location::file(path.display().to_string()));
                if let Some(help) = error.help() {
                    finding = finding.help(help);
                }
                vec![finding]
            })
    }

    fn coordinator(&self) -> Result<Option<Stream>, Vec<Finding>> {
        match self.default_file(COORDINATOR_FILE) {
            Some(path) => Ok(Some(self.parse(&path)?.1)),
            None => Ok(None),
        }
    }

    fn parse(&self, path: &Path) -> Result<(Text, Stream), Vec<Finding>> {
        let text = self.read(path)?;
        let stream = input::parse(&text, self.limit).map_err(|finding| vec![finding])?;
        Ok((text, stream))
    }

    fn read(&self, path: &Path) -> Result<Text, Vec<Finding>> {
        input::read_file(path, self.limit).map_err(|mut finding| {
            if !path.exists() {
                finding.code = codes::cli::NO_CONFIGURATION_FILE;
            }
            vec![finding]
        })
    }

    fn variable_path(&self, name: &str) -> Option<PathBuf> {
        self.environment.variable(name).map(PathBuf::from)
    }

    fn default_file(&self, name: &str) -> Option<PathBuf> {
        let path = self
            .environment
            .path(self.request.workspace.as_ref()?.join(name));
        path.is_file().then_some(path)
    }
}

/// The one `Confidential` object of the input. The same object twice is one; two different are a
/// mistake, because nothing says which of them counts.
fn configuration_in_input(ours: &[Ours<'_>]) -> Result<Option<Confidential>, Vec<Finding>> {
    let mut found: Option<(&Ours<'_>, Value)> = None;
    for object in ours
        .iter()
        .filter(|object| object.kind == nacre_fnconfig::KIND)
    {
        let value = object.value();
        match &found {
            Some((_, other)) if other.get("spec") != value.get("spec") => {
                return Err(vec![
                    Finding::error(
                        Code::new(Reason::Conflict.code()),
                        "the input holds two different Confidential objects",
                    )
                    .help("keep one of them, or name one with --config")
                    .at(object.locate("kind")),
                ]);
            }
            Some(_) => {}
            None => found = Some((object, value)),
        }
    }
    match found {
        Some((object, value)) => read_configuration(&value, &|path| object.locate(path)).map(Some),
        None => Ok(None),
    }
}

fn is_configuration(document: &Document, base: &nacre_krm::Path) -> bool {
    let kind = document.str_at(&base.key("kind"));
    kind.is_some_and(|kind| kind == nacre_fnconfig::KIND || kind == "ConfigMap")
}

fn read_configuration(
    value: &Value,
    locate: &dyn Fn(&str) -> Location,
) -> Result<Confidential, Vec<Finding>> {
    Confidential::from_value(value).map_err(|errors| {
        errors
            .iter()
            .map(|error| {
                let mut finding = config_finding(error).at(locate(&error.path));
                if let Some(resource) = reference_of(value) {
                    finding = finding.resource(resource);
                }
                finding
            })
            .collect()
    })
}

fn override_errors(errors: &[ConfigError], source: &str) -> Vec<Finding> {
    errors
        .iter()
        .map(|error| {
            let mut finding = config_finding(error);
            finding.message = format!("{source}: {}", finding.message);
            finding
        })
        .collect()
}

fn config_finding(error: &ConfigError) -> Finding {
    let finding = Finding::error(
        Code::new(error.code()),
        format!("{}: {}", error.path, error.message),
    )
    .field(&error.path);
    match (&error.suggestion, error.reason) {
        (Some(name), Reason::UnknownField) => finding.help(format!("did you mean `{name}`?")),
        (Some(advice), _) => finding.help(advice),
        (None, _) if error.known.is_empty() => finding,
        (None, _) => finding.help(format!("there are {}", error.known.join(", "))),
    }
}

fn merge_lock(lock: &mut ImageLock, object: &Ours<'_>) -> Result<(), Vec<Finding>> {
    let value = object.value();
    let read = ImageLock::from_value(&value).map_err(|invalid| {
        let code = Code::new(invalid.code());
        let findings = invalid.problems.iter().map(|problem| {
            let mut finding = Finding::error(code, format!("image lock: {problem}"))
                .field(&problem.path)
                .at(object.locate(&problem.path));
            if let Some(resource) = reference_of(&value) {
                finding = finding.resource(resource);
            }
            finding
        });
        findings.collect::<Vec<_>>()
    })?;
    lock.merge(read).map_err(|error| {
        vec![
            Finding::error(codes::lock::LOCK_CONFLICT, error.to_string()).at(object.locate("spec")),
        ]
    })
}

fn reference_of(value: &Value) -> Option<ResourceRef> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let metadata = value.get("metadata")?;
    Some(ResourceRef {
        api_version: text(value, "apiVersion")?,
        kind: text(value, "kind")?,
        namespace: text(metadata, "namespace"),
        name: text(metadata, "name")?,
    })
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
