//! The signed history of manifests: its formats, who may extend it, and whether one holds.
//!
//! A deployment's history is a chain of [`Transition`]s, each to one manifest, each signed by owners whom
//! the manifest before it lists; the first by owners who are measured into the Coordinator. [`validate`] is
//! the one place that decides whether a set of objects is such a history: for setting, verifying, both
//! kinds of recovery and evidence bundles.
//!
//! ```
//! use nacre_history::{OwnerKeyPair, Transition};
//! use nacre_manifest::Manifest;
//!
//! let manifest = Manifest::default();
//! let transition = Transition::genesis(&manifest, manifest.hash(), 1_700_000_000);
//! let owner = OwnerKeyPair::generate()?;
//! let signed = transition.signed(vec![owner.sign(&transition.message())?])?;
//! assert_eq!(nacre_history::SignedTransition::parse(&signed.encode())?, signed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: read or write a store, verify evidence, or know the seed. That the newest object of
//! a store is the newest there ever was, no function of the store alone can say: [`Expect::known`] carries
//! what somebody has seen before.

mod authority;
mod confirmation;
mod error;
mod frame;
mod history;
mod key;
mod latest;
mod owner;
mod signed;
mod transition;
mod validate;

pub use authority::{Authority, GenesisAuthority, OwnersError};
pub use confirmation::{Confirmation, SignedConfirmation};
pub use error::{FormatError, Invalid};
pub use frame::{Reader, frame};
pub use history::{Entry, History, ManifestReader, Proposed, Relation, Rules};
pub use key::{Kind, ObjectKey, ObjectKeyError};
pub use latest::Latest;
pub use owner::{Curve, OwnerKeyPair, OwnerSignature};
pub use signed::{Body, MAX_SIGNATURES, Signed};
pub use transition::{SignedTransition, Transition};
pub use validate::{Expect, Lookup, MAX_GENERATIONS, Objects, validate, validate_after};
