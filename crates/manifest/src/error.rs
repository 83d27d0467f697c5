//! Why bytes are not a manifest.

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More bytes than a manifest may have.
    #[error("{bytes} bytes are more than the {limit} that a manifest may have")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Most bytes.
        limit: usize,
    },
    /// Not JSON.
    #[error("not JSON at line {line}, column {column}: {reason}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A key stands twice in one object; readers disagree which one counts.
    #[error("duplicate key {key:?} in {path} at line {line}")]
    DuplicateKey {
        /// The object.
        path: String,
        /// The key.
        key: String,
        /// Line of the second one, from 1.
        line: usize,
    },
    /// JSON, but no object.
    #[error("a manifest is a JSON object")]
    NotAnObject,
    /// No `apiVersion`.
    #[error("apiVersion is missing")]
    ApiVersionMissing,
    /// Policies are lists of names and there is no `apiVersion`: the form of Contrast v0.8.
    #[error("this is a manifest in the list form of Contrast v0.8")]
    ListForm,
    /// An `apiVersion` that this version does not know.
    #[error("unknown apiVersion {found}")]
    ApiVersionUnknown {
        /// As written.
        found: String,
    },
    /// A `kind` other than [`crate::KIND`].
    #[error("unexpected kind {found}")]
    KindUnknown {
        /// As written.
        found: String,
    },
    /// A field that does not exist.
    #[error("{path}: unknown field")]
    FieldUnknown {
        /// Where, with its name.
        path: String,
        /// The fields that there are.
        known: Vec<String>,
    },
    /// A field that is missing or has a wrong value.
    #[error("{path}: {reason}")]
    Field {
        /// Where.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The manifest names a root of simulated evidence.
    #[error("TestRoot: this manifest is for simulated evidence and protects nothing")]
    TestRoot,
}

impl Error {
    /// The number of the code that documents the error (`NCR####`).
    pub const fn code(&self) -> u16 {
        match self {
            Self::TooLarge { .. } | Self::Syntax { .. } | Self::NotAnObject => 601,
            Self::DuplicateKey { .. } => 602,
            Self::ApiVersionMissing | Self::ApiVersionUnknown { .. } | Self::KindUnknown { .. } => {
                603
            }
            Self::ListForm => 604,
            Self::Field { .. } | Self::FieldUnknown { .. } => 605,
            Self::TestRoot => 606,
        }
    }

    /// What to do about it, where there is something to say.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::ListForm => Some("give it with --previous: it is read in its old form there"),
            Self::ApiVersionUnknown { .. } => Some(
                "this program reads nacre.dev/v1alpha1: use one as new as who wrote the manifest",
            ),
            Self::KindUnknown { .. } => Some("write \"kind\": \"Manifest\", or leave it out"),
            Self::ApiVersionMissing => Some("write \"apiVersion\": \"nacre.dev/v1alpha1\""),
            Self::DuplicateKey { .. } => Some("keep one of the two"),
            Self::TestRoot => Some("simulated manifests are read by the simulation programs only"),
            _ => None,
        }
    }
}
