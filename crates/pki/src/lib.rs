//! From the Coordinator's seed to its keys, and from its keys to certificates.
//!
//! ```
//! use nacre_manifest::{Identity, PolicyEntry, PolicyHash, TrustDomain};
//! use nacre_pki::{Authority, CertificateRequest, LeafKey, LeafProfile, P384Key, Salt, Seed};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (seed, salt, now) = (Seed::generate()?, Salt::generate()?, 1_700_000_000);
//! let authority = Authority::new(&seed.root_ca_key(&salt)?, P384Key::generate()?, now)?;
//!
//! let key = LeafKey::generate()?;
//! let request = CertificateRequest::verify(&key.request()?)?;
//! let entry = PolicyEntry::new(Identity::new("shop", "Deployment", "web"), vec!["web".into()]);
//! let profile = LeafProfile::new(PolicyHash::of(b"policy"), &entry, &TrustDomain::default(), None)?;
//! let leaf = authority.issue(&request, &profile, now)?;
//! assert!(authority.chain_pem(&leaf).starts_with("-----BEGIN CERTIFICATE-----"));
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: decide who gets a certificate, keep anything, or read a clock. Times are Unix
//! seconds and come from the caller.

mod authority;
mod derive;
mod error;
mod key;
mod pem;
mod profile;
mod request;
mod secret;
mod shamir;
mod shares;

pub use authority::{Authority, CaCertificates, LEAF_LIFETIME};
pub use error::PkiError;
pub use key::{LeafKey, P384Key};
pub use pem::pem;
pub use profile::{LeafProfile, ProfileError};
pub use request::{CertificateRequest, RequestError};
pub use secret::{Salt, Seed, WorkloadSecret};
pub use shamir::Share;
pub use shares::{SeedShares, ShareEntry, SharesError};
