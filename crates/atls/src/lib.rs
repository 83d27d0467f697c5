//! TLS 1.3 whose ends prove by SEV-SNP evidence what they are.
//!
//! A TLS session with a fresh key on each side, then an exchange of evidence on the stream, before the first
//! byte of the application. Reports are bound to the keys, to both nonces, to the exporter of this very
//! session and to the role of who made them, so that evidence of one connection is worth nothing on another.
//!
//! ```
//! use nacre_atls::binding::owner_request;
//!
//! let message = owner_request(&[0; 32], "SetManifest", &[1; 32]);
//! assert_ne!(message, owner_request(&[0; 32], "Recover", &[1; 32]));
//! ```
//!
//! What it does not do: help when the end that signs is itself in an attacker's hands, or tell one machine
//! with the right measurement from another. That is for identities beyond the measurement.

pub mod binding;
pub mod tonic;
pub mod wire;

mod admission;
mod appraise;
mod error;
mod exchange;
mod key;
mod places;
mod queue;
mod steps;
mod stream;
mod tls;
mod workers;

#[cfg(test)]
mod tests;

pub use admission::Admission;
pub use appraise::{AppraisalError, Appraise, References};
pub use error::AtlsError;
pub use exchange::{Acceptor, Connector, Timeouts, dial, without_delay};
pub use places::{Busy, Place, Places, WhenFull, Work};
pub use queue::ReportQueue;
pub use stream::{Accepted, Attested, AttestedPeer, Unattested};
pub use wire::{ClientKind, Refusal};
