//! The command line: global options, and one line per command.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use nacre_client::Trust;
use nacre_findings::{Finding, codes};
use nacre_framing::diagnostics::{Diagnostics, Format};
use nacre_framing::environment::Environment;

use crate::context::{Color, Context, Output};
use crate::coordinator::seed_shares::SeedSharesCommand;
use crate::coordinator::{recover, seed_shares, set, sign, verify};
use crate::error::{CommandError, Kind};
use crate::{
    check, collateral, completions, coordinator_resources, diff, doctor, explain, generate, init,
    install, lock, man, manifest, policy, reference_values, relay, report, runtime, schema,
    simulate, verify_report,
};

/// Makes Kubernetes deployments confidential at build time: policies, annotations, manifest.
#[derive(Debug, Parser)]
#[command(
    name = "nacre",
    version,
    long_version = crate::version::long(),
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct App {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Form of the result on standard output
    #[arg(long, global = true, value_name = "FORM", default_value = "text")]
    pub(crate) output: Output,
    /// Form of findings: text, json, sarif or github [default: text]
    #[arg(long, global = true, value_name = "FORM")]
    pub(crate) format: Option<Format>,
    /// Write findings to this file too [env: NACRE_REPORT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Colour on standard error
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Directory of manifest.json, keys and configuration, where no other path is given for them
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) workspace_dir: Option<PathBuf>,
    /// File whose first line opens encrypted owner keys; without it a terminal is asked
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "NACRE_PASSPHRASE_FILE",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Generate(Box<generate::Args>),
    Check(Box<check::Args>),
    Diff(Box<diff::Args>),
    #[command(subcommand)]
    Manifest(Box<manifest::Manifest>),
    Explain(Box<explain::Args>),
    Simulate(Box<simulate::Args>),
    Report(Box<report::Args>),
    #[command(subcommand)]
    Policy(Box<policy::Policy>),
    Lock(Box<lock::Args>),
    Init(init::Args),
    Set(Box<set::Args>),
    Verify(Box<verify::Args>),
    Recover(Box<recover::Args>),
    Sign(Box<sign::Args>),
    #[command(subcommand)]
    SeedShares(Box<SeedSharesCommand>),
    CoordinatorResources(Box<coordinator_resources::Args>),
    Runtime(runtime::Args),
    Relay(relay::Args),
    Doctor(Box<doctor::Args>),
    #[command(subcommand)]
    Install(install::Install),
    Completions(completions::Args),
    Man(man::Args),
    Schema(schema::Args),
    VerifyReport(Box<verify_report::Args>),
    #[command(subcommand)]
    Collateral(collateral::Collateral),
    #[command(subcommand)]
    ReferenceValues(Box<reference_values::ReferenceValues>),
}

impl Command {
    fn run(&self, context: &mut Context) -> Result<(), CommandError> {
        match self {
            Self::Generate(args) => generate::run(args, context),
            Self::Check(args) => check::run(args, context),
            Self::Diff(args) => diff::run(args, context),
            Self::Manifest(command) => manifest::run(command, context),
            Self::Explain(args) => explain::run(args, context),
            Self::Simulate(args) => simulate::run(args, context),
            Self::Report(args) => report::run(args, context),
            Self::Policy(command) => policy::run(command, context),
            Self::Lock(args) => lock::run(args, context),
            Self::Init(args) => init::run(args, context),
            Self::Set(args) => set::run(args, context),
            Self::Verify(args) => verify::run(args, context),
            Self::Recover(args) => recover::run(args, context),
            Self::Sign(args) => sign::run(args, context),
            Self::SeedShares(command) => seed_shares::run(command, context),
            Self::CoordinatorResources(args) => coordinator_resources::run(args, context),
            Self::Runtime(args) => runtime::run(args, context),
            Self::Doctor(args) => doctor::run(args, context),
            Self::Relay(args) => relay::run(args, context),
            Self::Install(what) => install::run(what, context),
            Self::Completions(args) => completions::run(args, context),
            Self::Man(args) => man::run(args, context),
            Self::Schema(args) => schema::run(args, context),
            Self::VerifyReport(args) => verify_report::run(args, context),
            Self::Collateral(what) => collateral::run(what, context),
            Self::ReferenceValues(what) => reference_values::run(what, context),
        }
    }
}

/// Parses, runs, reports.
///
/// `trust` is [`Trust::amd`] in every program that is shipped.
pub fn run(environment: Environment, trust: Trust) -> ExitCode {
    let arguments = std::iter::once("nacre".into()).chain(environment.args.iter().cloned());
    let app = match App::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| App::from_arg_matches(&matches))
    {
        Ok(app) => app,
        Err(error) => {
            return refuse(&error, &environment);
        }
    };
    match Context::new(environment, &app.global, trust) {
        Ok(mut context) => {
            let outcome = app.command.run(&mut context);
            context.finish(outcome)
        }
        Err(error) => {
            Context::show_without_settings(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}

/// Shows help or the version on standard output, a mistake as a finding on standard error.
fn refuse(error: &clap::Error, environment: &Environment) -> ExitCode {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(Kind::Usage.exit_code());
    }
    if !error.use_stderr() {
        let code = match error.print() {
            Ok(()) => 0,
            Err(_) => Kind::Refused.exit_code(),
        };
        return ExitCode::from(code);
    }
    let finding = mistake(&error.render().to_string());
    // The options were not understood, so the form and the file that they ask for are looked for by themselves.
    let mut diagnostics = Diagnostics::from_environment(environment).unwrap_or_default();
    let format = asked(&environment.args, "--format", |value| value.parse().ok());
    diagnostics.format = format.unwrap_or(diagnostics.format);
    let report = asked(&environment.args, "--report", |value| {
        Some(value.to_owned())
    })
    .or_else(|| environment.variable("NACRE_REPORT").map(str::to_owned));
    diagnostics.report = report.map(|path| environment.path(path));
    // The exit code says already that something is wrong.
    let _ = diagnostics.publish(&[finding], &mut std::io::stderr());
    ExitCode::from(Kind::Usage.exit_code())
}

/// What clap says, `error: <message>` and paragraphs of advice, as a finding.
fn mistake(text: &str) -> Finding {
    let text = text.strip_prefix("error: ").unwrap_or(text).trim_end();
    let (message, advice) = text.split_once("\n\n").unwrap_or((text, ""));
    let finding = Finding::error(codes::cli::USAGE, message);
    let lines = advice
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    match lines.collect::<Vec<_>>().join("\n") {
        advice if advice.is_empty() => finding,
        advice => finding.help(advice),
    }
}

/// The first value of an option that can be read, on a command line that is wrong elsewhere.
fn asked<T>(args: &[OsString], option: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let mut words = args.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let value = match word {
            "--" => return None,
            word if word == option => words.next(),
            word => word
                .strip_prefix(option)
                .and_then(|rest| rest.strip_prefix('=')),
        };
        if let Some(value) = value.and_then(&read) {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_a_message_and_advice() {
        let error = App::command()
            .try_get_matches_from(["nacre", "check", "--strickt"])
            .unwrap_err();
        let finding = mistake(&error.render().to_string());
        assert_eq!(finding.message, "unexpected argument '--strickt' found");
        let help = finding.help.unwrap();
        assert!(
            help.starts_with("tip: a similar argument exists: '--strict'\nUsage: nacre check"),
            "{help}"
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        App::command().debug_assert();
    }
}
