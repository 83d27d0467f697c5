//! Reading manifests that production programs refuse.

use crate::error::Error;
use crate::manifest::Manifest;
use crate::read;

/// Reads a manifest that may name a root of simulated evidence.
///
/// For simulation programs only: such a manifest protects nothing.
pub fn parse_simulated(bytes: &[u8]) -> Result<Manifest, Error> {
    read::manifest(read::json(bytes)?)
}
