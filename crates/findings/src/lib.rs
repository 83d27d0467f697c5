//! What Nacre has to say about a resource: one finding type, stable codes, and its text, JSON, KRM,
//! SARIF and GitHub forms.
//!
//! ```
//! use nacre_findings::{Finding, Location, codes, render};
//!
//! let finding = Finding::error(codes::cli::FILE_UNREADABLE, "cannot read web.yml")
//!     .at(Location::file("web.yml").with_line(3))
//!     .help("check the path");
//! let text = render::text(&[finding], false);
//! assert!(text.starts_with("error[NCR0901]: cannot read web.yml\n  --> web.yml:3\n"));
//! ```
//!
//! It does not decide whether something is a finding, does no I/O, and knows no YAML. Callers keep
//! the values of Secrets out of every field of a [`Finding`]; nothing here can tell them apart.

pub mod codes;
mod finding;
pub mod render;
mod terminal;

pub use codes::{Code, CodeInfo};
pub use finding::{Finding, Location, ResourceRef, Severity, has_errors};
pub use terminal::{printable, steers};
