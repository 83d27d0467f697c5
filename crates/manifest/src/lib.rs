//! The manifest: policy hashes and reference values, strict on reading and byte-stable on writing.
//!
//! ```
//! use nacre_manifest::{Manifest, PolicyEntry, PolicyHash, Role};
//!
//! let mut manifest = Manifest::default();
//! let mut entry = PolicyEntry::default();
//! entry.role = Some(Role::Coordinator);
//! manifest.policies.insert(PolicyHash::of(b"package agent_policy"), entry);
//!
//! let bytes = manifest.to_bytes();
//! assert_eq!(Manifest::parse(&bytes)?, manifest);
//! # Ok::<(), nacre_manifest::Error>(())
//! ```
//!
//! What it does not do: it verifies no evidence and no signature, opens no file and knows no platform.
//! A manifest that reads well can still be incomplete; [`Manifest::validate`] says what is missing.

mod bytes;
mod carry;
mod der;
mod error;
mod identity;
mod manifest;
mod merge;
mod overrides;
mod owner;
mod pem;
mod policy;
mod read;
mod reference;
mod reference_io;
mod schema;
mod v08;
mod validate;

pub use bytes::{
    ChipId, HexError, KeyDigest, LaunchMeasurement, ManifestHash, PoliciesDigest, PolicyHash,
    RootDigest, SeedSharesHash, SignerDigest, TransitionHash,
};
pub use carry::{CarriedEdit, CarriedField};
pub use error::Error;
pub use identity::{Identity, IdentityError, TrustDomain, TrustDomainError};
pub use manifest::{API_VERSION, KIND, Manifest};
pub use merge::{MergeConflict, MergeSource, merge};
pub use overrides::ReferenceOverride;
pub use owner::{OwnerKeyError, SeedshareOwnerKey};
pub use policy::{PolicyEntry, Profile, Role};
pub use read::MAX_BYTES;
pub use reference::{
    Cpuid, GuestPolicy, HostDataBinding, ModelTcb, PlatformInfo, Product, ReferenceValues,
    ReportDataForm, SigningKey, SnpReference, Tcb, UnknownProduct,
};
pub use schema::schema;
pub use validate::{MAX_THRESHOLD, Problem, ProblemKind, Severity, Strictness, is_san};

pub mod danger;
