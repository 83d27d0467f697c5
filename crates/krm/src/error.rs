//! What can be wrong with a text, and where.

use std::fmt;

use crate::Path;

/// A place in a text: both numbers start at 1, columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line in the whole text.
    pub line: u32,
    /// Character in the line.
    pub column: u32,
}

impl Position {
    /// The place of a byte offset; offsets beyond the end name the end.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = text.get(..offset).unwrap_or_default();
        let bytes = before.as_bytes();
        let mut line = 1u32;
        let mut start = 0;
        for (i, b) in bytes.iter().enumerate() {
            let breaks = match b {
                b'\n' => true,
                b'\r' => text.as_bytes().get(i + 1) != Some(&b'\n'),
                _ => false,
            };
            if breaks {
                line = line.saturating_add(1);
                start = i + 1;
            }
        }
        let column = before.get(start..).map_or(0, |rest| {
            rest.trim_start_matches('\u{feff}').chars().count()
        });
        Self {
            line,
            column: u32::try_from(column).unwrap_or(u32::MAX - 1) + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a text was refused or an edit could not be made.
///
/// Every variant has a stable [code](Error::code); those about input name the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not UTF-8 text.
    #[error("{at}: not UTF-8 text ({encoding})")]
    Encoding {
        /// First byte that does not fit.
        at: Position,
        /// What the bytes look like.
        encoding: &'static str,
    },
    /// The text is not YAML.
    #[error("{at}: not YAML: {reason}")]
    Syntax {
        /// Where the parser stopped.
        at: Position,
        /// What the parser expected.
        reason: String,
    },
    /// The text holds template actions that nothing has rendered.
    #[error(
        "{at}: unrendered template `{{{{`: this is a template (of a Helm chart?), not YAML; render it first, e.g. with `helm template`"
    )]
    Template {
        /// The line with the template action.
        at: Position,
    },
    /// A mapping says the same key twice.
    #[error("{at}: key \"{key}\" is already set at {first}")]
    DuplicateKey {
        /// The second occurrence.
        at: Position,
        /// The key as Kubernetes reads it.
        key: String,
        /// The first occurrence.
        first: Position,
    },
    /// A mapping key that JSON cannot have.
    #[error("{at}: a mapping key must be a string, not {found}")]
    Key {
        /// The key.
        at: Position,
        /// What stands there.
        found: &'static str,
    },
    /// A number that JSON cannot have.
    #[error("{at}: {text} is not a number that JSON has; quote it if it is meant as text")]
    Number {
        /// The scalar.
        at: Position,
        /// The scalar as written.
        text: String,
    },
    /// A scalar that does not fit its tag.
    #[error("{at}: cannot read this as {tag}")]
    Tag {
        /// The scalar.
        at: Position,
        /// The tag.
        tag: &'static str,
    },
    /// A merge key whose value is not a mapping or a list of mappings.
    #[error("{at}: `<<` needs a mapping or a list of mappings")]
    Merge {
        /// The merged value.
        at: Position,
    },
    /// A merge that follows a key it also sets: kubectl takes the merged value, kustomize the other.
    #[error(
        "{at}: `<<` also sets \"{key}\", which stands before it at {first}; kubectl and kustomize read this differently: put `<<` first"
    )]
    MergeOrder {
        /// The merge key.
        at: Position,
        /// The key set twice.
        key: String,
        /// The explicit key.
        first: Position,
    },
    /// An anchor used inside its own node.
    #[error("{at}: alias refers to the node it stands in")]
    Recursive {
        /// The alias.
        at: Position,
    },
    /// Aliases that expand to more than the limit.
    #[error("{at}: aliases expand to more than {limit} values")]
    Expansion {
        /// The alias that went over the limit.
        at: Position,
        /// [`Limits::expansion`](crate::Limits::expansion).
        limit: usize,
    },
    /// Collections nested too deep.
    #[error("{at}: nested deeper than {limit} levels")]
    Depth {
        /// The collection that went over the limit.
        at: Position,
        /// [`Limits::depth`](crate::Limits::depth).
        limit: usize,
    },
    /// More text than the limit.
    #[error("{size} bytes of text are more than the limit of {limit}")]
    Size {
        /// Bytes given.
        size: usize,
        /// [`Limits::bytes`](crate::Limits::bytes).
        limit: usize,
    },
    /// More documents than the limit.
    #[error("{at}: more than {limit} documents")]
    Documents {
        /// First document over the limit.
        at: Position,
        /// [`Limits::documents`](crate::Limits::documents).
        limit: usize,
    },
    /// A character that YAML does not allow, such as NUL, or that only some readers take for the
    /// end of a line: what is a comment to one would be a field to the other.
    #[error(
        "{at}: character U+{character:04X} is not allowed: tools read it differently, or not at all"
    )]
    Character {
        /// The character.
        at: Position,
        /// Its code point.
        character: u32,
    },
    /// A line that starts like a document marker and is none: kubectl cuts the text there, YAML
    /// does not.
    #[error(
        "{at}: a line that starts with `---` must be a document marker; kubectl takes it for one, other tools do not"
    )]
    Separator {
        /// The line.
        at: Position,
    },
    /// A ResourceList of a version nobody defined.
    #[error(
        "{at}: ResourceList of unknown version \"{version}\"; known are config.kubernetes.io/v1, v1beta1 and v1alpha1"
    )]
    ListVersion {
        /// The `apiVersion`.
        at: Position,
        /// As written.
        version: String,
    },
    /// A ResourceList whose `items` is not a list of mappings.
    #[error("{at}: {path} of a ResourceList must be {expected}")]
    ListShape {
        /// The node.
        at: Position,
        /// Field of the ResourceList.
        path: Path,
        /// What the specification asks for.
        expected: &'static str,
    },
    /// An edit of something that is not there and cannot be made.
    #[error("{at}: cannot set {path}: {reason}")]
    Target {
        /// Nearest node that exists.
        at: Position,
        /// The node asked for.
        path: Path,
        /// Why it cannot be made.
        reason: &'static str,
    },
    /// The edited text does not read as wanted. Always our mistake; nothing may be written.
    #[error("{at}: the edited text would not read as wanted ({reason}); nothing was changed")]
    Verification {
        /// The document.
        at: Position,
        /// The first difference.
        reason: String,
    },
}

impl Error {
    /// The number behind `NCR` of the page that explains this error.
    pub fn code(&self) -> u16 {
        match self {
            Self::Encoding { .. } => 101,
            Self::Syntax { .. } => 102,
            Self::Template { .. } => 103,
            Self::DuplicateKey { .. } => 104,
            Self::Key { .. } => 105,
            Self::Number { .. } => 106,
            Self::Tag { .. } => 107,
            Self::Merge { .. } => 108,
            Self::MergeOrder { .. } => 109,
            Self::Recursive { .. } => 110,
            Self::Expansion { .. } => 111,
            Self::Depth { .. } => 112,
            Self::Size { .. } => 113,
            Self::Documents { .. } => 114,
            Self::Character { .. } => 115,
            Self::Separator { .. } => 116,
            Self::ListVersion { .. } => 120,
            Self::ListShape { .. } => 121,
            Self::Target { .. } => 130,
            Self::Verification { .. } => 131,
        }
    }

    /// Where in the text; the start of the text when it is about the whole.
    pub fn position(&self) -> Position {
        match self {
            Self::Encoding { at, .. }
            | Self::Syntax { at, .. }
            | Self::Template { at }
            | Self::DuplicateKey { at, .. }
            | Self::Key { at, .. }
            | Self::Number { at, .. }
            | Self::Tag { at, .. }
            | Self::Merge { at }
            | Self::MergeOrder { at, .. }
            | Self::Recursive { at }
            | Self::Expansion { at, .. }
            | Self::Depth { at, .. }
            | Self::Documents { at, .. }
            | Self::Character { at, .. }
            | Self::Separator { at }
            | Self::ListVersion { at, .. }
            | Self::ListShape { at, .. }
            | Self::Target { at, .. }
            | Self::Verification { at, .. } => *at,
            Self::Size { .. } => Position { line: 1, column: 1 },
        }
    }
}
