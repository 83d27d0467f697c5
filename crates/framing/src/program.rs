//! `nacre-krm-fn` and `nacre-post-renderer`, from arguments to exit code.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use nacre_findings::{Finding, codes, has_errors};

use crate::arguments::Arguments;
use crate::diagnostics::Diagnostics;
use crate::environment::Environment;
use crate::framing::{self, Answer};
use crate::mode::Program;
use crate::replace::{Change, Expected, Staged, finding};
use crate::{help, output, process};

/// Exit code of a wrong command line.
const USAGE: u8 = 2;
/// Exit code of everything that is refused.
const REFUSED: u8 = 1;

/// Runs a function program on the streams of this process.
pub fn main(program: Program) -> ExitCode {
    process::report_panics();
    let environment = Environment::of_process();
    let (mut stdin, mut stdout, mut stderr) = (
        std::io::stdin().lock(),
        std::io::stdout().lock(),
        std::io::stderr(),
    );
    if let Err(closed) = output::require_open() {
        Diagnostics::default().show(&[closed], &mut stderr);
        return ExitCode::from(REFUSED);
    }
    ExitCode::from(run(
        program,
        &environment,
        &mut stdin,
        &mut stdout,
        &mut stderr,
    ))
}

/// Runs a function program on any streams and gives its exit code.
///
/// Nothing is written to `stdout` before all of it is known. On an error a ResourceList comes out
/// as it went in, with `results`; of any other input nothing comes out.
pub fn run(
    program: Program,
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let arguments = match Arguments::parse_from(program, environment) {
        Ok(arguments) => arguments,
        Err(text) => {
            let text = format!("{text}\nSee `{} --help`.\n", program.name());
            // There is no further channel to say that standard error is gone.
            let _ = stderr.write_all(text.as_bytes());
            return USAGE;
        }
    };
    if arguments.help || arguments.version {
        let text = if arguments.help {
            help::markdown(program)
        } else {
            format!("{} {}\n", program.name(), env!("CARGO_PKG_VERSION"))
        };
        return match output::write(stdout, text.as_bytes()) {
            Ok(()) => 0,
            Err(finding) => {
                Diagnostics::default().show(&[finding], stderr);
                REFUSED
            }
        };
    }
    let diagnostics = match diagnostics(&arguments, environment) {
        Ok(diagnostics) => diagnostics,
        Err(finding) => {
            Diagnostics::default().show(&[finding], stderr);
            return USAGE;
        }
    };
    let answer = framing::answer(program, &arguments, environment, stdin);
    deliver(answer, &diagnostics, stdout, stderr)
}

fn diagnostics(arguments: &Arguments, environment: &Environment) -> Result<Diagnostics, Finding> {
    let mut diagnostics = Diagnostics::from_environment(environment)?;
    if let Some(format) = arguments.format {
        diagnostics.format = format;
    }
    if let Some(report) = &arguments.report {
        diagnostics.report = Some(environment.path(report));
    }
    Ok(diagnostics)
}

/// Files are prepared first, messages and report come next, then standard output, and files are put
/// into place last: whatever fails on the way, the exit code is not 0.
fn deliver(
    mut answer: Answer,
    diagnostics: &Diagnostics,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let staged = match stage(&answer.files) {
        Ok(staged) => Some(staged),
        Err(failure) => {
            answer.fail(vec![failure]);
            None
        }
    };
    let staged = staged.filter(|_| !has_errors(&answer.findings));
    if let Some(failure) = diagnostics.publish(&answer.findings, stderr) {
        answer.fail(vec![failure]);
    }
    let failed = has_errors(&answer.findings);
    if let Some(text) = answer.text()
        && let Err(failure) = output::write(stdout, text.as_bytes())
    {
        diagnostics.show(std::slice::from_ref(&failure), stderr);
        answer.findings.push(failure);
        diagnostics.rewrite_report(&answer.findings);
        return REFUSED;
    }
    if failed {
        return exit_code(&answer.findings);
    }
    if let Some(staged) = staged
        && let Err(error) = staged.commit(&|| None)
    {
        let failure = finding(&error);
        diagnostics.show(std::slice::from_ref(&failure), stderr);
        answer.findings.push(failure);
        diagnostics.rewrite_report(&answer.findings);
        return REFUSED;
    }
    0
}

fn stage(files: &[(PathBuf, Vec<u8>)]) -> Result<Staged, Finding> {
    let changes: Vec<Change<'_>> = files
        .iter()
        .map(|(path, content)| Change {
            path,
            expected: Expected::Anything,
            content,
        })
        .collect();
    Staged::stage(&changes, &|| None).map_err(|error| finding(&error))
}

fn exit_code(findings: &[Finding]) -> u8 {
    let errors = || {
        findings
            .iter()
            .filter(|f| f.severity == nacre_findings::Severity::Error)
    };
    if errors().any(|finding| finding.code == codes::cli::INTERNAL) {
        process::INTERNAL
    } else if errors().all(|finding| finding.code == codes::cli::USAGE) {
        USAGE
    } else {
        REFUSED
    }
}
