//! What the Coordinator is asked and answers over gRPC, and how large it may be.
//!
//! ```
//! use nacre_api::{method, v1};
//!
//! let request = v1::ConfirmRequest { nonce: vec![7; 32] };
//! assert_eq!(request.nonce.len(), 32);
//! assert_eq!(method::SET_MANIFEST, "nacre.v1.User/SetManifest");
//! ```
//!
//! The messages are generated from `proto/nacre/v1/coordinator.proto`, where each is described, and checked
//! in; a test compares. What they carry is not checked here: whoever receives a message parses it.

pub mod limits;
pub mod method;
mod policies;
mod redact;
mod request;

/// Package `nacre.v1`: messages, clients and servers.
#[allow(
    missing_docs,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::pedantic,
    unreachable_pub,
    reason = "generated from the .proto, which documents it"
)]
#[rustfmt::skip]
pub mod v1;

pub use policies::BadPolicies;
pub use request::recover_digest;
