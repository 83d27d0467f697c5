//! What owners and data owners do with a Coordinator, as functions that return values.
//!
//! ```
//! use nacre_client::keys::{KeyError, WorkloadKey};
//!
//! let error = WorkloadKey::from_pem("not a key", &mut || None).unwrap_err();
//! assert_eq!(error, KeyError::NotPem);
//! ```
//!
//! What it does not do: it prints nothing, asks nobody and opens no file. Trust roots and the reader of
//! manifests come in as values, so that simulation programs are built from the same code.

pub mod bundle;
pub mod certificates;
pub mod changes;
pub mod examine;
pub mod genesis;
pub mod keys;
pub mod pin;
pub mod recover;
pub mod session;
pub mod set;
pub mod sign;
pub mod snapshot;
pub mod verdict;
pub mod workloads;

mod error;
mod trust;

pub use error::{ClientError, Kind};
pub use trust::{Expectation, ExpectationError, Trust};
