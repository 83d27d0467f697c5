//! The calling conventions: how each brings input in, and what it wants out.

use std::io::Read;
use std::path::{Path, PathBuf};

use nacre_findings::{Finding, codes, has_errors, render};
use nacre_fnconfig::{Confidential, ManifestOutput};
use nacre_generate::{Mode as GenerateMode, Outcome, Source};
use nacre_krm::{ResourceList, Stream};
use nacre_workload::names::MANIFEST_KEY;
use serde_json::Value;

use crate::arguments::Arguments;
use crate::environment::Environment;
use crate::input::{self, Text, yaml_finding};
use crate::mode::{self, LEGACY_PLUGIN_VARIABLE, Mode, Program};
use crate::settings::{self, Given, Settings};
use crate::transform;

/// Keys that kustomize reads from a legacy plugin's configuration, and we do not.
const LEGACY_KEYS: [&str; 2] = ["argsOneLiner", "argsFromFile"];

/// Set by Helm 4 on every object that it gives to a post-renderer.
const HELM_FOUR_ANNOTATION: &str = "postrenderer.helm.sh/postrender-filename";

/// What a program has to say and to write.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Everything found, in the order found.
    pub(crate) findings: Vec<Finding>,
    /// Files to be written besides standard output.
    pub(crate) files: Vec<(PathBuf, Vec<u8>)>,
    body: Body,
}

#[derive(Debug, Default)]
enum Body {
    /// Nothing for standard output.
    #[default]
    Nothing,
    /// A stream, only given out without errors.
    Stream(String),
    /// A ResourceList: edits when there are no errors, `results` always.
    List {
        input: Box<Stream>,
        edits: Vec<(nacre_krm::Path, Value)>,
        added: Vec<Value>,
    },
}

impl Answer {
    /// An answer that is nothing but errors.
    fn failed(findings: Vec<Finding>) -> Self {
        Self {
            findings,
            ..Self::default()
        }
    }

    /// Adds errors: no file is written, and no edit is made.
    pub(crate) fn fail(&mut self, findings: Vec<Finding>) {
        self.findings.extend(findings);
        self.files.clear();
    }

    /// The text for standard output; `None` where nothing may be printed.
    pub(crate) fn text(&mut self) -> Option<String> {
        let failed = has_errors(&self.findings);
        match &self.body {
            Body::Nothing => None,
            Body::Stream(text) => (!failed).then(|| text.clone()),
            Body::List {
                input,
                edits,
                added,
            } => {
                let list = ResourceList::detect(input)?.ok()?;
                let results = || Some(render::krm_results(&self.findings));
                let rendered = if failed {
                    list.render(&[], &[], results())
                } else {
                    list.render(edits, added, results())
                };
                match rendered {
                    Ok(text) => Some(text),
                    Err(error) if !failed => {
                        self.findings.push(yaml_finding(&error, None));
                        self.files.clear();
                        self.text()
                    }
                    Err(_) => None,
                }
            }
        }
    }
}

/// Detects the calling convention and computes everything that is to be written.
pub(crate) fn answer(
    program: Program,
    arguments: &Arguments,
    environment: &Environment,
    stdin: &mut dyn Read,
) -> Answer {
    let call = Call {
        program,
        arguments,
        environment,
    };
    call.answer(stdin).unwrap_or_else(Answer::failed)
}

struct Call<'a> {
    program: Program,
    arguments: &'a Arguments,
    environment: &'a Environment,
}

impl Call<'_> {
    fn answer(&self, stdin: &mut dyn Read) -> Result<Answer, Vec<Finding>> {
        let limit = input::limit(self.environment).map_err(one)?;
        let files = &self.arguments.files;
        let known = match mode::explicit(self.arguments.mode, self.environment).map_err(one)? {
            Some(mode) => Some(mode),
            None => mode::before_input(self.program, files.len(), self.environment),
        };
        if known == Some(Mode::Standalone) {
            return self.standalone(stdin, limit);
        }
        if self.environment.stdin_is_terminal {
            return Err(self.usage("nothing is piped in"));
        }
        let text = input::read_stdin(stdin, limit).map_err(one)?;
        let stream = input::parse(&text, limit).map_err(one)?;
        let list = ResourceList::detect(&stream)
            .transpose()
            .map_err(|error| vec![yaml_finding(&error, None)])?;
        let mode = known.unwrap_or_else(|| mode::after_input(list.is_some(), self.environment));
        if mode != Mode::Legacy && !files.is_empty() {
            return Err(self.usage("this mode takes no files"));
        }
        match (mode, list.map(|list| list.function_config())) {
            (Mode::Krm, Some(config)) => Ok(self.resource_list(stream, config)),
            (Mode::Krm, None) => Err(vec![
                Finding::error(
                    codes::cli::EMPTY_INPUT,
                    "standard input holds no ResourceList",
                )
                .help("this mode is for kustomize and kpt; for a stream leave out --mode krm"),
            ]),
            (Mode::Legacy, _) => self.legacy(stream),
            (Mode::Helm, _) => self.helm(stream),
            (Mode::Standalone | Mode::Stream, _) => self.stream(stream),
        }
    }

    /// kustomize and kpt.
    fn resource_list(&self, stream: Stream, config: Option<Value>) -> Answer {
        let given = config.map(|value| Given {
            value,
            name: "functionConfig".to_owned(),
        });
        let source = [Source { file: None, stream }];
        let done = self
            .settings(&source, given.as_ref(), None)
            .and_then(|mut settings| {
                let file = manifest_path(Mode::Krm, &mut settings.config);
                let outcome = transform::transform(&source, &settings, GenerateMode::Krm, true)?;
                Ok((file, outcome))
            });
        let [Source { stream, .. }] = source;
        let mut answer = Answer::default();
        let mut edits = Vec::new();
        let mut added = Vec::new();
        match done {
            Err(findings) => answer.findings = findings,
            Ok((file, outcome)) => {
                answer.files = self.manifest_file(file, &outcome);
                answer.findings = outcome.findings;
                edits = outcome
                    .edits
                    .into_iter()
                    .map(|(_, at, value)| (at.base, value))
                    .collect();
                added = outcome.added;
            }
        }
        answer.body = Body::List {
            input: Box::new(stream),
            edits,
            added,
        };
        answer
    }

    /// A kustomize legacy exec plugin.
    fn legacy(&self, stream: Stream) -> Result<Answer, Vec<Finding>> {
        let given = self.legacy_configuration()?;
        self.streamed(
            vec![Source { file: None, stream }],
            Some(&given),
            Mode::Legacy,
        )
    }

    fn legacy_configuration(&self) -> Result<Given, Vec<Finding>> {
        let (name, content) = match self.arguments.files.as_slice() {
            [file] => {
                let text = input::read_file(&self.environment.path(file), input::MAX_INPUT)
                    .map_err(one)?;
                (file.display().to_string(), text.content)
            }
            [] => match self.environment.variables.get(LEGACY_PLUGIN_VARIABLE) {
                Some(text) => (LEGACY_PLUGIN_VARIABLE.to_owned(), text.clone()),
                None => return Err(self.usage("the configuration file is missing")),
            },
            [_, ..] => return Err(self.usage("one configuration file is expected")),
        };
        let text = Text {
            path: Some(PathBuf::from(&name)),
            content,
        };
        let stream = input::parse(&text, input::MAX_INPUT).map_err(one)?;
        let root = nacre_krm::Path::root();
        let value = stream
            .documents()
            .iter()
            .find(|document| !document.is_empty())
            .and_then(|document| document.value(&root));
        let Some(mut value) = value else {
            return Err(self.usage("the configuration file is empty"));
        };
        if let Some(object) = value.as_object_mut() {
            object.retain(|key, _| !LEGACY_KEYS.contains(&key.as_str()));
        }
        Ok(Given { value, name })
    }

    /// A Helm post-renderer.
    fn helm(&self, stream: Stream) -> Result<Answer, Vec<Finding>> {
        let helm_four = stream.text().contains(HELM_FOUR_ANNOTATION);
        let mut answer = self.streamed(vec![Source { file: None, stream }], None, Mode::Helm)?;
        if !helm_four {
            answer.findings.push(
                Finding::warning(
                    codes::cli::HELM_HOOKS_HIDDEN,
                    "Helm 3 may hide hooks and tests from a post-renderer; a confidential one \
                     would be deployed without a policy",
                )
                .help(
                    "use Helm 4, or render with `helm template ... | nacre generate -`; \
                     `nacre check` on the final YAML finds what was missed",
                ),
            );
        }
        Ok(answer)
    }

    fn stream(&self, stream: Stream) -> Result<Answer, Vec<Finding>> {
        self.streamed(vec![Source { file: None, stream }], None, Mode::Stream)
    }

    /// `program config.yaml files... -`, as kyaml's command framework has it.
    fn standalone(&self, stdin: &mut dyn Read, limit: u64) -> Result<Answer, Vec<Finding>> {
        let [_, inputs @ ..] = self.arguments.files.as_slice() else {
            return Err(self.usage("the configuration and the files are missing"));
        };
        if inputs.is_empty() {
            return Err(self.usage("no input is named; `-` is standard input"));
        }
        let mut texts = Vec::new();
        for input in inputs {
            if input.as_path() == Path::new("-") {
                texts.push(input::read_stdin(stdin, limit).map_err(one)?);
                continue;
            }
            for path in input::collect(&[self.environment.path(input)]).map_err(one)? {
                texts.push(input::read_file(&path, limit).map_err(one)?);
            }
        }
        self.streamed(transform::parse(&texts, limit)?, None, Mode::Standalone)
    }

    /// Everything whose output is a stream.
    fn streamed(
        &self,
        sources: Vec<Source>,
        given: Option<&Given>,
        mode: Mode,
    ) -> Result<Answer, Vec<Finding>> {
        transform::require_content(&sources)?;
        let workspace = (mode != Mode::Legacy).then(PathBuf::new);
        let mut settings = self.settings(&sources, given, workspace)?;
        if mode == Mode::Helm && settings.config.namespace.is_none() {
            // Only a default: Helm does not pass on the namespace of its own `-n` flag.
            settings.config.namespace = self
                .environment
                .variable("HELM_NAMESPACE")
                .map(str::to_owned);
        }
        let generate_mode = match mode {
            Mode::Helm => GenerateMode::Helm,
            Mode::Standalone => GenerateMode::Files,
            _ => GenerateMode::Stream,
        };
        let file = manifest_path(mode, &mut settings.config);
        let in_stream = settings.config.manifest.emit_config_map;
        let mut outcome = transform::transform(&sources, &settings, generate_mode, in_stream)?;
        let edits = std::mem::take(&mut outcome.edits);
        let rewritten = transform::rewrite(&sources, edits)?;
        let texts = transform::render(&sources, &rewritten, &outcome.added);
        Ok(Answer {
            files: self.manifest_file(file, &outcome),
            findings: outcome.findings,
            body: Body::Stream(transform::join(texts)),
        })
    }

    fn settings(
        &self,
        sources: &[Source],
        given: Option<&Given>,
        workspace: Option<PathBuf>,
    ) -> Result<Settings, Vec<Finding>> {
        let mut request = self.arguments.request(workspace);
        if self.standalone_configuration().is_some() {
            request.config = self.standalone_configuration();
        }
        let supplied = transform::supplied(sources);
        settings::resolve(self.environment, &request, given, &supplied)
    }

    fn standalone_configuration(&self) -> Option<PathBuf> {
        let legacy = self
            .environment
            .variables
            .contains_key(LEGACY_PLUGIN_VARIABLE);
        (!legacy)
            .then(|| self.arguments.files.first().cloned())
            .flatten()
    }

    fn manifest_file(&self, path: Option<PathBuf>, outcome: &Outcome) -> Vec<(PathBuf, Vec<u8>)> {
        path.zip(outcome.manifest.as_ref())
            .map(|(path, manifest)| (self.environment.path(path), manifest.to_bytes()))
            .into_iter()
            .collect()
    }

    fn usage(&self, message: &str) -> Vec<Finding> {
        vec![
            Finding::error(codes::cli::USAGE, message)
                .help(format!("see `{} --help`", self.program.name())),
        ]
    }
}

/// Where the manifest is written as a file: where a path is named, and for Helm, which has no other
/// way. In a package a relative path is that of the object, and stays in the configuration.
fn manifest_path(mode: Mode, config: &mut Confidential) -> Option<PathBuf> {
    let manifest = &mut config.manifest;
    let stays = |path: &str| mode == Mode::Krm && !path.starts_with('/');
    if manifest.path.as_deref().is_some_and(stays) {
        return None;
    }
    let named = manifest.path.take().map(PathBuf::from);
    match mode {
        Mode::Helm if manifest.output != ManifestOutput::None => {
            named.or_else(|| Some(MANIFEST_KEY.into()))
        }
        _ => named,
    }
}

fn one(finding: Finding) -> Vec<Finding> {
    vec![finding]
}
