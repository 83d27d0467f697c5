//! Roots other than AMD's, for simulations.
//!
//! Only `nacre-sim` may enable the feature behind this module. No program that is shipped depends on that
//! crate; a test over the dependency graph keeps it so.

use crate::product::Product;
use crate::roots::{Pinned, ProductRoots, Roots, sha256};
use crate::verify::Verifier;

/// The certificates of one simulated product, in DER.
#[derive(Clone, Copy, Debug)]
pub struct OtherRoot<'a> {
    /// The product it is for.
    pub product: Product,
    /// Root.
    pub ark: &'a [u8],
    /// Intermediate for VCEKs.
    pub ask: &'a [u8],
    /// Intermediate for VLEKs.
    pub asvk: &'a [u8],
    /// SHA-256 that root and intermediates are pinned to; `None` is their own.
    pub pins: Option<[[u8; 32]; 3]>,
}

/// A verifier that trusts these roots and not AMD's. The code that verifies is the same.
///
/// `None` when a certificate cannot be read.
pub fn verifier_for(roots: &[OtherRoot<'_>]) -> Option<Verifier> {
    let products = roots
        .iter()
        .map(|root| {
            let [ark, ask, asvk] = root
                .pins
                .unwrap_or_else(|| [root.ark, root.ask, root.asvk].map(sha256));
            let loaded = ProductRoots::load(
                Pinned {
                    der: root.ark,
                    sha256: ark,
                },
                Pinned {
                    der: root.ask,
                    sha256: ask,
                },
                Pinned {
                    der: root.asvk,
                    sha256: asvk,
                },
            )?;
            Some((root.product, loaded))
        })
        .collect::<Option<_>>()?;
    Some(Verifier::with_roots(Roots::of(products)))
}
