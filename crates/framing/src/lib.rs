//! The framings of the function: ResourceList, stream, legacy plugin, standalone and files.
//!
//! ```
//! use nacre_framing::environment::Environment;
//! use nacre_framing::mode::Program;
//!
//! let (mut out, mut err) = (Vec::new(), Vec::new());
//! let environment = Environment::default();
//! let code = nacre_framing::run(
//!     Program::KrmFunction,
//!     &environment,
//!     &mut "not: [yaml".as_bytes(),
//!     &mut out,
//!     &mut err,
//! );
//! assert_eq!(code, 1);
//! assert!(out.is_empty());
//! assert!(String::from_utf8(err)?.starts_with("error[NCR01"));
//! # Ok::<(), std::string::FromUtf8Error>(())
//! ```
//!
//! Everything that reads or writes is here; what is decided about a resource is decided in
//! `nacre-generate`. It opens no socket and reads no file that is not named by the user, save the
//! defaults in the working directory that `settings` lists.

pub mod arguments;
pub mod diagnostics;
pub mod environment;
mod framing;
mod help;
pub mod input;
pub mod mode;
pub mod output;
pub mod process;
mod program;
pub mod replace;
pub mod settings;
pub mod signals;
pub mod transform;

pub use program::{main, run};
