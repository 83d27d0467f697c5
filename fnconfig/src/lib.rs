//! The configuration of every program of the left half: the `Confidential` object, its schema and
//! samples.
//!
//! ```
//! use nacre_fnconfig::Confidential;
//! use serde_json::json;
//!
//! let config = Confidential::from_value(&json!({
//!     "apiVersion": "nacre.dev/v1alpha1",
//!     "kind": "Confidential",
//!     "spec": { "platform": "metal-qemu-snp", "disableUpdates": true },
//! }))?;
//! assert_eq!(config.platform.as_deref(), Some("metal-qemu-snp"));
//!
//! let wrong = Confidential::from_value(&json!({
//!     "apiVersion": "nacre.dev/v1alpha1",
//!     "kind": "Confidential",
//!     "spec": { "platfrom": "metal-qemu-snp", "strict": "perhaps" },
//! }))
//! .unwrap_err();
//! assert_eq!(wrong.len(), 2);
//! assert_eq!(wrong[0].suggestion.as_deref(), Some("platform"));
//! # Ok::<(), Vec<nacre_fnconfig::ConfigError>>(())
//! ```
//!
//! Each field is declared once, in `config.rs`; struct, reader, JSON Schema, flat names and
//! `docs/configuration.md` all come from that declaration.
//!
//! What it does not do: it reads no file and no environment, and knows no platform and no workload.

#[macro_use]
mod object;
mod check;
mod config;
mod docs;
mod error;
mod flat;
mod references;
mod selector;
mod values;

pub use check::is_namespace;
pub use config::{
    API_VERSION, Confidential, Coordinator, CustomResource, Images, KIND, ManifestOutput,
    ManifestSettings, PolicySettings,
};
pub use docs::{generated_files, markdown};
pub use error::{ConfigError, Reason};
pub use flat::{closest, flat_names};
pub use references::{References, TcbValues};
pub use selector::{NamePattern, Selector};
