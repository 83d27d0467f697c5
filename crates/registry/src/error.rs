//! What can go wrong on the way to an image.

use std::io;
use std::path::PathBuf;

use nacre_imagelock::Digest;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why an image could not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 401 or 403.
    #[error("{host} refuses access to {what}")]
    Unauthorised {
        /// The registry.
        host: String,
        /// Repository and reference.
        what: String,
        /// Which credentials were used, or where they were looked for.
        credentials: String,
    },
    /// 404.
    #[error("{host} has no {what}")]
    NotFound {
        /// The registry.
        host: String,
        /// Repository and reference.
        what: String,
    },
    /// 429, more often or for longer than we wait.
    #[error("{host} limits the rate of requests{}", wait(*.seconds))]
    RateLimited {
        /// The registry.
        host: String,
        /// What it asked to wait, in seconds.
        seconds: Option<u64>,
    },
    /// Any other status than success.
    #[error("{host} answers {status} to {what}")]
    Status {
        /// The registry.
        host: String,
        /// Repository and reference.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// No answer.
    #[error("{host} cannot be reached")]
    Network {
        /// The registry.
        host: String,
        /// What the transport says.
        #[source]
        source: Cause,
    },
    /// A body that takes longer than the slowest rate we accept.
    #[error("{host} sends {what} too slowly")]
    TooSlow {
        /// The registry.
        host: String,
        /// Repository and reference.
        what: String,
    },
    /// An answer outside the protocol.
    #[error("{host} answers outside the protocol: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Delivered content is not what was asked for.
    #[error("{what} is not what it should be")]
    Content {
        /// A blob or manifest.
        what: String,
        /// The mismatch.
        #[source]
        source: ContentError,
    },
    /// No manifest for the platform.
    #[error("{image} is not available for {platform}, only for {}", .available.join(", "))]
    NoPlatform {
        /// The image.
        image: String,
        /// The platform asked for.
        platform: String,
        /// The platforms there are.
        available: Vec<String>,
    },
    /// A manifest or configuration we do not take.
    #[error("{what}: {reason}")]
    Unsupported {
        /// A manifest or configuration.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A layer whose files cannot be read.
    #[error("layer {digest}: {reason}")]
    Layer {
        /// The layer's blob.
        digest: Digest,
        /// What is wrong.
        reason: String,
    },
    /// passwd or group of an image cannot be found out.
    #[error("{path} of {image}: {reason}")]
    ImageFile {
        /// The image.
        image: String,
        /// The path in the image.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// No network allowed, and no local source has the image.
    #[error("{image} cannot be resolved offline")]
    Offline {
        /// The image.
        image: String,
    },
    /// A docker-save archive of the old form names the image but not its manifest.
    #[error("archive {} has {image} without its manifest, so its digest is not known", .archive.display())]
    NoManifest {
        /// The image.
        image: String,
        /// The archive.
        archive: PathBuf,
    },
    /// The archive's image is another one than the registry's.
    #[error("{image} in archive {} is another image than in the registry", .archive.display())]
    ArchiveDiffers {
        /// The image.
        image: String,
        /// The archive.
        archive: PathBuf,
    },
    /// A layout or archive with mistakes.
    #[error("{}: {reason}", .path.display())]
    Store {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An authentication file or credential helper that cannot be used.
    #[error("credentials from {origin}: {reason}")]
    Credentials {
        /// File or helper.
        origin: String,
        /// What is wrong; never a secret.
        reason: String,
    },
    /// A local file.
    #[error("{}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

fn wait(seconds: Option<u64>) -> String {
    seconds
        .map(|s| format!(" (it asks to wait {s} s)"))
        .unwrap_or_default()
}

/// How content differs from its description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// Other bytes.
    #[error("it has the digest {found}, not {expected}")]
    Digest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// It ends early.
    #[error("it ends after {received} of {expected} bytes")]
    Truncated {
        /// The size described.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// It goes on too long.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The size described, or the most we take.
        limit: u64,
    },
}

impl Error {
    /// The number of the finding code.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Unauthorised { .. } => 310,
            Self::NotFound { .. } => 311,
            Self::RateLimited { .. }
            | Self::Status { .. }
            | Self::Network { .. }
            | Self::TooSlow { .. }
            | Self::Protocol { .. } => 312,
            Self::Content { .. } => 313,
            Self::NoPlatform { .. } => 314,
            Self::Unsupported { .. } => 315,
            Self::NoManifest { .. } | Self::ArchiveDiffers { .. } | Self::Store { .. } => 316,
            Self::Offline { .. } => 317,
            Self::Credentials { .. } => 318,
            Self::File { .. } => 319,
            Self::Layer { .. } | Self::ImageFile { .. } => 320,
        }
    }

    /// What else there is to say: where credentials were looked for, what to try.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unauthorised { credentials, .. } => Some(credentials.clone()),
            Self::NoManifest { .. } => Some(
                "write the archive with `docker save` of Docker 25 or later, `podman save \
                 --format oci-archive` or `skopeo copy`; or lock online, where the archive then \
                 serves the layers"
                    .to_owned(),
            ),
            Self::Offline { .. } => Some(
                "run without --offline, or give the image with --layout or --archive, as \
                 IMAGE=PATH where the store does not name it"
                    .to_owned(),
            ),
            Self::Network { .. } => Some(
                "plain HTTP needs --insecure-registry HOST, a private certificate authority \
                 --ca-file"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether another source of the same content may be asked. Wrong content is not passed
    /// over in silence.
    pub(crate) const fn may_try_elsewhere(&self) -> bool {
        !matches!(
            self,
            Self::Content { .. } | Self::File { .. } | Self::Credentials { .. }
        )
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
