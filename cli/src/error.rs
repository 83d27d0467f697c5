//! Why a command ended: its kind decides the exit code, its findings are what is shown.

use nacre_findings::{Code, Finding, codes};

/// Kinds of failure, one per exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Refused input, or refused by the peer.
    Refused,
    /// Wrong command line.
    Usage,
    /// Evidence did not hold.
    Verification,
    /// No answer of the Coordinator.
    Unreachable,
    /// `--check` found a difference.
    Difference,
    /// Stopped by a signal of this number.
    Interrupted(u8),
    /// A bug.
    Internal,
}

impl Kind {
    /// The exit codes of `nacre`: 0 ok, 1 refused, 2 command line, 3 verification failed,
    /// 4 Coordinator unreachable, 5 difference, 70 internal, and 128 + signal as shells do.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Verification => 3,
            Self::Unreachable => 4,
            Self::Difference => 5,
            Self::Internal => 70,
            Self::Interrupted(signal) => 128_u8.saturating_add(signal),
        }
    }

    /// The kind that a code stands for where nothing more is known.
    fn of(code: Code) -> Self {
        match code {
            codes::cli::USAGE => Self::Usage,
            codes::cli::WOULD_CHANGE => Self::Difference,
            codes::cli::INTERNAL => Self::Internal,
            _ => Self::Refused,
        }
    }
}

/// A failed command.
#[derive(Clone, Debug)]
pub(crate) struct CommandError {
    /// What decides the exit code.
    pub(crate) kind: Kind,
    /// What is shown, hints included.
    pub(crate) findings: Vec<Finding>,
}

impl CommandError {
    /// A failure of this kind.
    pub(crate) fn new(kind: Kind, findings: Vec<Finding>) -> Self {
        Self { kind, findings }
    }

    /// The same failure with advice where it has none.
    #[must_use]
    pub(crate) fn advised(mut self, advice: &str) -> Self {
        for finding in &mut self.findings {
            finding.help.get_or_insert_with(|| advice.to_owned());
        }
        self
    }

    /// A mistake on the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Finding::error(codes::cli::USAGE, message).into()
    }
}

impl From<Finding> for CommandError {
    fn from(finding: Finding) -> Self {
        Self {
            kind: Kind::of(finding.code),
            findings: vec![finding],
        }
    }
}

impl From<Vec<Finding>> for CommandError {
    fn from(findings: Vec<Finding>) -> Self {
        let kind = findings
            .iter()
            .find(|finding| finding.severity == nacre_findings::Severity::Error)
            .map_or(Kind::Refused, |finding| Kind::of(finding.code));
        Self { kind, findings }
    }
}
