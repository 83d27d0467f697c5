//! What every command is given: settings, default paths, and the three streams.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nacre_client::Trust;
use nacre_client::keys::Passphrase;
use nacre_findings::{Finding, render};
use nacre_framing::diagnostics::{Diagnostics, Format};
use nacre_framing::environment::Environment;
use nacre_framing::output;
use serde_json::{Value, json};

use crate::app::Global;
use crate::error::CommandError;
use crate::passphrase;

/// Form of results on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The surroundings of a command.
#[derive(Debug)]
pub(crate) struct Context {
    /// Variables, working directory, terminals.
    pub(crate) environment: Environment,
    /// Form of results.
    pub(crate) output: Output,
    /// Roots of evidence and the reader of manifests.
    pub(crate) trust: Trust,
    passphrase_file: Option<PathBuf>,
    diagnostics: Diagnostics,
    workspace: Option<PathBuf>,
    findings: Vec<Finding>,
    published: bool,
}

impl Context {
    /// From the environment and the global options.
    pub(crate) fn new(
        environment: Environment,
        global: &Global,
        trust: Trust,
    ) -> Result<Self, CommandError> {
        let mut diagnostics = Diagnostics::from_environment(&environment)?;
        if let Some(format) = global.format {
            diagnostics.format = format;
        }
        if let Some(report) = &global.report {
            diagnostics.report = Some(environment.path(report));
        }
        match global.color {
            Color::Auto => {}
            Color::Always => diagnostics.color = true,
            Color::Never => diagnostics.color = false,
        }
        Ok(Self {
            environment,
            output: global.output,
            trust,
            passphrase_file: global.passphrase_file.clone(),
            diagnostics,
            workspace: global.workspace_dir.clone(),
            findings: Vec::new(),
            published: false,
        })
    }

    /// What opens the encrypted key in this file: the first line of `--passphrase-file`, or what is typed
    /// on the terminal. `None` when there is nobody to ask.
    pub(crate) fn passphrase(&self, key: &Path) -> Result<Option<Passphrase>, CommandError> {
        match &self.passphrase_file {
            Some(path) => passphrase::from_file(&self.environment.path(path)).map(Some),
            None => Ok(passphrase::ask(key)),
        }
    }

    /// A path given by the user, or the default name inside the workspace directory.
    pub(crate) fn path_or_default(&self, given: Option<&Path>, default: &str) -> PathBuf {
        match (given, &self.workspace) {
            (Some(path), _) => self.environment.path(path),
            (None, Some(workspace)) => self.environment.path(workspace.join(default)),
            (None, None) => self.environment.path(default),
        }
    }

    /// The directory of default files: `--workspace-dir`, else the working directory.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.workspace.clone().unwrap_or_default()
    }

    /// Remembers findings of a command that goes on; they are shown at its end, or by `publish`.
    pub(crate) fn report(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// A line for people on standard error; silent for machines.
    pub(crate) fn note(&self, line: &str) {
        if self.output == Output::Text && self.diagnostics.format == Format::Text {
            let text = format!("{line}\n");
            // There is no further channel to say that standard error is gone.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Writes the whole result to standard output.
    pub(crate) fn print(&self, text: &str) -> Result<(), CommandError> {
        output::require_open()?;
        output::write(&mut io::stdout().lock(), text.as_bytes())?;
        Ok(())
    }

    /// Writes the result as one JSON document; the findings so far are its field `findings`.
    pub(crate) fn print_json(&self, mut result: Value) -> Result<(), CommandError> {
        if let Some(object) = result.as_object_mut() {
            object.insert("findings".into(), render::json_value(&self.findings));
        }
        self.print(&format!("{result:#}\n"))
    }

    /// Shows the findings so far. Commands that print a result call it first, so that a report that
    /// cannot be written stops them before anything is put in place.
    pub(crate) fn publish(&mut self) -> Result<(), CommandError> {
        self.published = true;
        let findings = std::mem::take(&mut self.findings);
        let failure = self.diagnostics.publish(&findings, &mut io::stderr());
        self.findings = findings;
        match failure {
            // Already on standard error; the exit code is all that is left to say.
            Some(failure) => Err(CommandError {
                findings: Vec::new(),
                ..CommandError::from(failure)
            }),
            None => Ok(()),
        }
    }

    /// Reports the outcome of the command and gives the exit code.
    pub(crate) fn finish(mut self, outcome: Result<(), CommandError>) -> ExitCode {
        let mut code = 0;
        let mut failed_now = Vec::new();
        if let Err(error) = outcome {
            code = error.kind.exit_code();
            failed_now = error.findings;
        }
        if self.published {
            if !failed_now.is_empty() {
                let mut all = std::mem::take(&mut self.findings);
                self.diagnostics.show(&failed_now, &mut io::stderr());
                all.extend(failed_now);
                self.diagnostics.rewrite_report(&all);
            }
            return ExitCode::from(code);
        }
        self.findings.extend(failed_now);
        if code != 0 && self.output == Output::Json {
            // A reader of JSON gets a document for a failure too; the exit code stays.
            let document = json!({ "findings": render::json_value(&self.findings) });
            let text = format!("{document:#}\n");
            let _ = output::write(&mut io::stdout().lock(), text.as_bytes());
        }
        if self.publish().is_err() && code == 0 {
            code = crate::error::Kind::Refused.exit_code();
        }
        ExitCode::from(code)
    }

    /// Shows an error that came before the settings were known.
    pub(crate) fn show_without_settings(error: &CommandError) {
        Diagnostics::default().show(&error.findings, &mut io::stderr());
    }
}
