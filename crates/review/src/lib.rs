//! Reads what was rendered: check, diff, manifest build, extract and merge.
//!
//! ```
//! use nacre_manifest::Manifest;
//!
//! let old = Manifest::default();
//! let new = Manifest { peer_recovery: true, ..Manifest::default() };
//! let diff = nacre_review::diff::manifests(&old, &new);
//! assert_eq!(diff.text(), "~ deployment\n  ! PeerRecovery: false → true\n");
//! # assert!(nacre_review::diff::manifests(&old, &old).is_empty());
//! ```
//!
//! What it does not do: it changes no resource and opens no file. It trusts that YAML is what will be
//! applied; what runs in a cluster is for attestation to say.

pub mod check;
pub mod diff;
pub mod manifest;
pub mod policies;
pub mod set;

#[cfg(test)]
mod fixture;
