//! Names of the methods whose requests owners sign, as they enter the signature.

/// `SetManifest` of the user API; the digest is SHA-256 of the transition's canonical bytes.
pub const SET_MANIFEST: &str = "nacre.v1.User/SetManifest";
/// `Recover` of the user API; the digest is [`crate::recover_digest`].
pub const RECOVER: &str = "nacre.v1.User/Recover";
