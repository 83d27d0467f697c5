//! Resolves images online (registries, OCI layouts, archives) into an image lock.
//!
//! ```no_run
//! use nacre_imagelock::{ImageLock, ImageReference};
//! use nacre_registry::{Options, Resolver, Silent};
//!
//! let resolver = Resolver::new(Options::default(), &Silent)?;
//! let mut lock = ImageLock::default();
//! lock.insert(resolver.resolve(&ImageReference::parse("nginx:1.27")?)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every byte is verified against a digest before it is used: manifest, configuration, and,
//! where a user or group must be looked up, layers. A tag is the exception by nature: the
//! registry, or the mirror, says what it means.
//!
//! What it does not do: check signatures, push, or unpack anything.

pub use credentials::AuthFiles;
pub use error::{ContentError, Error};
pub use http::Timing;
pub use options::{Mirror, MirrorError, Options};
pub use progress::{Event, Progress, Silent};
pub use resolve::Resolver;
pub use store::LocalStore;

mod cache;
mod challenge;
mod content;
mod credentials;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod layer;
mod lookup;
mod manifest;
mod options;
mod progress;
mod registry;
mod resolve;
mod store;
mod tar;
