//! The `nacre` command as a library, so that a simulation program can be the same with other roots.
//!
//! ```no_run
//! use nacre_client::Trust;
//! use nacre_framing::environment::Environment;
//!
//! let code = nacre_cli::run(Environment::of_process(), Trust::amd());
//! # let _ = code;
//! ```
//!
//! What it does not do: decide anything that a library below could decide. It reads arguments and files, asks,
//! and shows.

mod app;
mod check;
mod cluster;
mod collateral;
mod completions;
mod context;
mod coordinator;
mod coordinator_resources;
mod diff;
mod doctor;
mod error;
mod explain;
mod files;
mod generate;
mod init;
mod install;
mod keys;
mod lock;
mod man;
mod manifest;
mod passphrase;
mod policies;
mod policy;
mod reference_values;
mod relay;
mod report;
mod resources;
mod runtime;
mod schema;
mod simulate;
mod verify_report;
mod version;
mod work_tree;

pub use app::run;
