//! Where findings go: standard error and the report file, the same text in both.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nacre_findings::{Finding, codes, render};

use crate::environment::Environment;
use crate::replace::{finding, replace_one};

/// Forms of findings for people and machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// GitHub workflow commands.
    Github,
}

impl Format {
    /// Every form, in the spelling of `--format`.
    pub const ALL: [(&'static str, Self); 4] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("sarif", Self::Sarif),
        ("github", Self::Github),
    ];

    /// The findings in this form.
    pub fn render(self, findings: &[Finding], color: bool) -> String {
        match self {
            Self::Text => render::text(findings, color),
            Self::Json => render::json(findings),
            Self::Sarif => render::sarif(findings),
            Self::Github => render::github(findings),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, format)| *format)
            .ok_or_else(|| format!("unknown format `{text}` (one of: text, json, sarif, github)"))
    }
}

/// How findings are shown, and where else.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    /// Their form.
    pub format: Format,
    /// Colour in the text form on standard error.
    pub color: bool,
    /// `--report FILE` or `NACRE_REPORT`: Helm 4 shows nothing of a plugin's standard error.
    pub report: Option<PathBuf>,
}

impl Diagnostics {
    /// What the environment says; flags are put over it by the caller.
    pub fn from_environment(environment: &Environment) -> Result<Self, Finding> {
        let format = match environment.variable("NACRE_FORMAT") {
            None => Format::default(),
            Some(text) => text.parse().map_err(|error: String| {
                Finding::error(codes::cli::USAGE, format!("NACRE_FORMAT: {error}"))
            })?,
        };
        Ok(Self {
            format,
            color: environment.stderr_is_terminal && environment.variable("NO_COLOR").is_none(),
            report: environment
                .variable("NACRE_REPORT")
                .map(|path| environment.path(path)),
        })
    }

    /// Writes the findings to standard error and to the report file. The report is written even when
    /// there is nothing to say, so that an old one is never taken for a new one.
    ///
    /// Returns a further error when the report cannot be written.
    #[must_use]
    pub fn publish(&self, findings: &[Finding], stderr: &mut dyn Write) -> Option<Finding> {
        self.show(findings, stderr);
        let failure = self
            .report
            .as_deref()
            .and_then(|path| self.write_report(path, findings));
        if let Some(failure) = &failure {
            self.show(std::slice::from_ref(failure), stderr);
        }
        failure
    }

    /// Writes findings to standard error only.
    pub fn show(&self, findings: &[Finding], stderr: &mut dyn Write) {
        if findings.is_empty() && self.format == Format::Text {
            return;
        }
        let text = unfiltered(self.format.render(findings, self.color));
        // There is no further channel to say that standard error is gone.
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }

    /// Puts other findings into the report file after [`publish`](Self::publish), when something
    /// failed at the very end. Standard error has it already; this is the best that can be done.
    pub fn rewrite_report(&self, findings: &[Finding]) {
        if let Some(path) = self.report.as_deref() {
            let _ = self.write_report(path, findings);
        }
    }

    fn write_report(&self, path: &Path, findings: &[Finding]) -> Option<Finding> {
        let text = self.format.render(findings, false);
        replace_one(path, unfiltered(text).as_bytes())
            .err()
            .map(|error| finding(&error))
    }
}

/// kpt takes lines of a container's standard error that hold one of these for progress of `docker
/// run` and drops them. Each is broken in the least visible way.
const FILTERED: [(&str, &str); 11] = [
    ("Digest: sha256", "digest sha256"),
    ("Pulling from", "pulling from"),
    ("Pulling fs layer", "pulling fs layer"),
    ("Verifying Checksum", "verifying checksum"),
    ("Download complete", "download complete"),
    ("Pull complete", "pull complete"),
    ("Already exists", "already exists"),
    (": Waiting", ": waiting"),
    (
        "Status: Downloaded newer image",
        "status: downloaded newer image",
    ),
    ("Status: Image is up to date", "status: image is up to date"),
    ("Unable to find image", "unable to find image"),
];

fn unfiltered(text: String) -> String {
    FILTERED.iter().fold(text, |text, (from, to)| {
        if text.contains(from) {
            text.replace(from, to)
        } else {
            text
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn finding() -> Finding {
        Finding::error(codes::cli::INTERNAL, "Digest: sha256:00 Pulling from x")
    }

    #[test]
    fn standard_error_and_report_hold_the_same_text() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report.txt");
        for (_, format) in Format::ALL {
            let diagnostics = Diagnostics {
                format,
                color: false,
                report: Some(report.clone()),
            };
            let mut stderr = Vec::new();
            assert_eq!(diagnostics.publish(&[finding()], &mut stderr), None);
            let shown = String::from_utf8(stderr).unwrap();
            assert!(shown.contains("NCR0970"), "{shown}");
            assert_eq!(fs::read_to_string(&report).unwrap(), shown);
        }
    }

    #[test]
    fn an_old_report_does_not_survive_a_run_without_findings() {
        let dir = tempfile::tempdir().unwrap();
        let report = dir.path().join("report.txt");
        fs::write(&report, "old").unwrap();
        let diagnostics = Diagnostics {
            report: Some(report.clone()),
            ..Diagnostics::default()
        };
        let mut stderr = Vec::new();
        assert_eq!(diagnostics.publish(&[], &mut stderr), None);
        assert!(stderr.is_empty());
        assert_eq!(fs::read_to_string(&report).unwrap(), "");
    }

    #[test]
    fn a_report_that_cannot_be_written_is_an_error_of_its_own() {
        let diagnostics = Diagnostics {
            report: Some("/nowhere/at/all".into()),
            ..Diagnostics::default()
        };
        let mut stderr = Vec::new();
        let failure = diagnostics.publish(&[], &mut stderr).unwrap();
        assert_eq!(failure.code, codes::cli::FILE_UNWRITABLE);
        assert!(
            String::from_utf8(stderr)
                .unwrap()
                .contains("/nowhere/at/all")
        );
    }

    #[test]
    fn nothing_kpt_filters_reaches_standard_error() {
        let mut stderr = Vec::new();
        Diagnostics::default().show(&[finding()], &mut stderr);
        let shown = String::from_utf8(stderr).unwrap();
        for (filtered, _) in FILTERED {
            assert!(!shown.contains(filtered), "{shown}");
        }
        for (from, to) in FILTERED {
            assert!(
                !FILTERED.iter().any(|(other, _)| to.contains(other)),
                "{from}"
            );
        }
    }

    #[test]
    fn format_and_report_come_from_the_environment() {
        let mut environment = Environment {
            stderr_is_terminal: true,
            ..Environment::default()
        };
        environment
            .variables
            .insert("NACRE_FORMAT".into(), "sarif".into());
        environment
            .variables
            .insert("NACRE_REPORT".into(), "r.sarif".into());
        let diagnostics = Diagnostics::from_environment(&environment).unwrap();
        assert_eq!(diagnostics.format, Format::Sarif);
        assert_eq!(diagnostics.report.as_deref(), Some(Path::new("r.sarif")));
        assert!(diagnostics.color);
        environment.variables.insert("NO_COLOR".into(), "1".into());
        assert!(!Diagnostics::from_environment(&environment).unwrap().color);
        environment
            .variables
            .insert("NACRE_FORMAT".into(), "xml".into());
        let error = Diagnostics::from_environment(&environment).unwrap_err();
        assert_eq!(error.code, codes::cli::USAGE);
    }
}
