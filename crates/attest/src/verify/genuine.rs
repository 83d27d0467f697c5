//! Whether collateral is what it says it is, before it is kept. Evidence is verified anew all the same.

use super::Verifier;
use crate::collateral::VekRequest;
use crate::crl::Crl;
use crate::product::Product;
use crate::time::Timestamp;
use crate::vek::{Vek, VekFacts};

/// When a revocation list was made, and when the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlDates {
    /// Made.
    pub this_update: Timestamp,
    /// Due; a list without this date is never accepted as evidence.
    pub next_update: Option<Timestamp>,
}

impl Verifier {
    /// The dates of a revocation list that the pinned root of the product has signed. It may be out of date.
    pub fn genuine_crl(&self, product: Product, der: &[u8]) -> Option<CrlDates> {
        let ark = &self.roots().product(product)?.ark;
        let crl = Crl::parse(der).ok()?;
        let genuine = crl.pss_sha384
            && crl.issuer == ark.subject
            && ark.pinned
            && ark.verifies(&crl.signed, &crl.signature);
        genuine.then_some(CrlDates {
            this_update: crl.this_update,
            next_update: crl.next_update,
        })
    }

    /// Whether this is the certificate that was asked for, signed by the pinned intermediate key.
    pub fn is_vek_of(&self, request: &VekRequest, der: &[u8]) -> bool {
        let Some(roots) = self.roots().product(request.product) else {
            return false;
        };
        let signed = Vek::parse(der).is_ok_and(|vek| {
            vek.pss_sha384
                && vek.issuer == roots.ask.subject
                && roots.ask.pinned
                && roots.ask.signed_by_ark
                && roots.ask.verifies(&vek.signed, &vek.signature)
        });
        signed && VekFacts::read(der).is_some_and(|facts| facts.is_of(request))
    }
}
