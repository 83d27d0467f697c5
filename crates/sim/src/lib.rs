//! A simulated SEV-SNP platform: keys, certificates and reports in the real format, under a root of its own.
//!
//! The verifier that accepts them is the real one with other roots; it says so by its type, and no program
//! that is shipped can be built with it.
//!
//! ```
//! use nacre_attest::{Product, ReportSource as _};
//! use nacre_sim::{Machine, Pki, SimulatedGuest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pki = Pki::of_process(Product::Genoa)?;
//! let guest = SimulatedGuest::new(Machine::new(pki)?, pki.crl()?);
//! let evidence = guest.evidence(&[7; 64])?;
//! assert_eq!(evidence.report.len(), 1184);
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: imitate a guest's boot. A launch digest here is whatever it is set to.

pub mod der;

mod certificate;
mod crl;
mod folder;
mod machine;
mod pki;
pub mod program;
mod report;
mod source;

pub use certificate::{CertificateSpec, ExtensionSpec, amd_extension};
pub use crl::CrlSpec;
pub use folder::FolderError;
pub use machine::{Machine, MachineSpec};
pub use pki::{Authority, AuthoritySpec, Pki, RsaKey};
pub use report::ReportSpec;
pub use source::{Behaviour, SimulatedGuest};

/// Stands in the names of every simulated certificate, and in no program that is shipped.
pub const MARKER: &str = "NACRE SIMULATION, NOT AMD";

/// Why something could not be minted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A key could not be made or used.
    #[error("key operation failed")]
    Crypto,
    /// Something cannot be written as DER.
    #[error("not encodable")]
    Encoding,
    /// The verifier does not take the minted roots.
    #[error("minted roots are not readable")]
    Roots,
}

impl From<aws_lc_rs::error::Unspecified> for SimError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

impl From<::der::Error> for SimError {
    fn from(_: ::der::Error) -> Self {
        Self::Encoding
    }
}
