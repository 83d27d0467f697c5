//! The transformation: resources and configuration in, confidential resources, manifest and findings
//! out.
//!
//! ```
//! use nacre_fnconfig::Confidential;
//! use nacre_generate::{Options, Source, generate};
//! use nacre_imagelock::ImageLock;
//! use nacre_krm::Stream;
//!
//! let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {runtimeClassName: contrast-cc}\n";
//! let sources = [Source { file: None, stream: Stream::parse(text)? }];
//! let (config, lock) = (Confidential::default(), ImageLock::default());
//! let outcome = generate(&sources, &Options::new(&config, &lock));
//! // The pod has no containers and no platform is given, so there are findings and nothing else.
//! assert!(nacre_findings::has_errors(&outcome.findings));
//! assert!(outcome.edits.is_empty() && outcome.manifest.is_none());
//! # Ok::<(), nacre_krm::Error>(())
//! ```
//!
//! Pure: it opens no file and no socket, reads no clock and no randomness, and gives the same result
//! whatever the order of the documents. What it returns are values; `nacre-krm` writes them into the
//! text. A Secret's values are never read, only the names of its keys.

mod budget;
mod catalogue;
mod coordinator;
mod forgotten;
mod images;
mod manifest;
mod options;
mod parallel;
mod place;
mod policy;
mod resolve;
mod run;
mod services;
mod stage;
mod unclaimed;
mod workload;

pub use images::{ImageUse, images};
pub use manifest::shortcomings;
pub use options::{GeneratedPolicy, Mode, Options, Outcome, Source};
pub use run::generate;
