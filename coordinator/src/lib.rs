//! The Coordinator: keeps the signed history, issues certificates to attested workloads.
//!
//! ```
//! use nacre_coordinator::Config;
//!
//! let environment = |name: &str| (name == "NACRE_HISTORY").then(|| "directory:/var/lib/nacre".into());
//! let config = Config::read(&environment).map_err(|mistakes| format!("{mistakes:?}"))?;
//! assert_eq!(config.addresses.user.port(), 1313);
//! # Ok::<(), String>(())
//! ```
//!
//! Three parts, and handlers that only translate:
//! the *guard* says who may do what, the *authority* moves from one state to the next, the *issuer* makes
//! what a state is good for. The state is one immutable value that is swapped whole.
//!
//! What it does not do: believe its store, its clock, its network or its callers. It has no roots of
//! evidence of its own either: those, the source of reports and the store come in as values ([`Deps`]).

mod audit;
mod authority;
mod capacity;
mod clock;
pub mod config;
mod denied;
mod dialog;
mod files;
mod follow;
mod genesis;
mod guard;
mod health;
mod http;
mod issuer;
mod mesh;
mod metrics;
mod peers;
mod pending;
mod plain;
mod recovery;
mod report;
mod run;
mod state;
mod status;
mod storage;
mod unary;
mod user;

pub use capacity::Capacity;
pub use clock::{Clock, system_clock};
pub use config::{Addresses, Backend, Config, Mistake};
pub use run::{Coordinator, Deps, Log, RunError, run};
