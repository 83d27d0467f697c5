//! What attestation needs from HTTP services: AMD's key server, Azure's THIM, CoCo's attestation agent.
//!
//! The verifier has no network. The attester looks up the certificate of its key and the revocation list, here,
//! and sends them with its report; an operator fetches them once for a place without network.
//!
//! ```no_run
//! use nacre_attest::{CollateralDirectory, Product, Verifier};
//! use nacre_collateral::{Cached, Kds, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let kds = Kds::amd(&Options::default())?;
//! let directory = CollateralDirectory::new("/var/lib/nacre/collateral");
//! let source = Cached::new(directory, Box::new(kds), Verifier::amd().into());
//! let list = nacre_attest::CollateralSource::crl(&source, Product::Genoa)?;
//! # Ok(()) }
//! ```
//!
//! Nothing that comes from here is trusted, and nothing is kept that the pinned keys did not sign. It does not
//! retry for ever: a server that asks to wait longer than the caller's patience is an error that says how long.

mod agent;
mod cached;
mod guest;
mod http;
mod kds;
mod kept;
mod thim;

pub use agent::{AGENT_URL, HttpAgent};
pub use cached::Cached;
pub use guest::{CACHE, COLLATERAL, EVIDENCE, Guest, GuestError};
pub use http::Options;
pub use kds::{KDS_URL, Kds};
pub use kept::Kept;
pub use thim::{THIM_URL, Thim};
