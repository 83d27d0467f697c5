//! Mistakes in a configuration.

use std::fmt;

/// One mistake in a configuration; a reader returns all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// Where, for example `spec.coordinator.host`, or the key of a flat form.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What was probably meant, or what to do.
    pub suggestion: Option<String>,
    /// The fields that there are, where one does not exist.
    pub known: Vec<&'static str>,
    /// Kind of mistake.
    pub reason: Reason,
}

/// Kinds of mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// A field that does not exist.
    UnknownField,
    /// A value of another type.
    WrongType,
    /// A value of the right type that is not allowed.
    WrongValue,
    /// A field without which the rest has no meaning.
    Missing,
    /// Two fields that contradict each other.
    Conflict,
    /// Not a configuration: other kind or version.
    WrongKind,
}

impl Reason {
    /// The number of the code that documents it (`NCR####`).
    pub const fn code(self) -> u16 {
        match self {
            Self::UnknownField => 201,
            Self::WrongType => 202,
            Self::WrongValue => 203,
            Self::Missing => 204,
            Self::Conflict => 205,
            Self::WrongKind => 206,
        }
    }
}

impl ConfigError {
    /// The number of the code that documents the mistake (`NCR####`).
    pub const fn code(&self) -> u16 {
        self.reason.code()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        match (&self.suggestion, self.reason) {
            (Some(name), Reason::UnknownField) => write!(f, " (did you mean {name}?)"),
            (Some(advice), _) => write!(f, " ({advice})"),
            (None, _) if self.known.is_empty() => Ok(()),
            (None, _) => write!(f, " (there are {})", self.known.join(", ")),
        }
    }
}

impl std::error::Error for ConfigError {}
