//! The newest revocation lists that were verified.

use std::collections::BTreeMap;

use crate::check::CheckId;
use crate::crl::Crl;
use crate::evidence::Evidence;
use crate::policy::{Expected, HostData, Policy, ReportData};
use crate::product::Product;
use crate::report::Report;
use crate::time::Timestamp;
use crate::vek::VekFacts;
use crate::verdict::{Claims, Rejection, Verdict};
use crate::verify::Verifier;

/// The newest verified revocation list of each product, in DER.
///
/// Products have roots of their own, so their lists have nothing to do with each other: a new list of one says
/// nothing about the others. Guests get their lists at different times; what is held against evidence with an
/// older one than is known is the one that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewestLists(BTreeMap<&'static str, (Timestamp, Vec<u8>)>);

impl NewestLists {
    /// Start and DER of the newest list of a product.
    pub fn of(&self, product: Product) -> Option<(Timestamp, &[u8])> {
        let (start, der) = self.0.get(product.name())?;
        Some((*start, der))
    }

    /// Every list, with its product's name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Timestamp, &[u8])> {
        self.0
            .iter()
            .map(|(product, (start, der))| (*product, *start, der.as_slice()))
    }

    /// The latest start: this moment has passed.
    pub fn latest(&self) -> Timestamp {
        let starts = self.0.values().map(|(start, _)| *start);
        starts.max().unwrap_or_default()
    }

    /// Keeps a verified list, if it is the newest of its product.
    pub fn saw(&mut self, product: Product, start: Timestamp, der: &[u8]) {
        if self.of(product).is_none_or(|(newest, _)| start > newest) {
            self.0.insert(product.name(), (start, der.to_vec()));
        }
    }

    /// Keeps the list that came with accepted evidence.
    pub fn saw_evidence(&mut self, evidence: &Evidence, claims: &Claims) {
        if let (Some(start), Some(der)) = (claims.crl_this_update, &evidence.crl) {
            self.saw(claims.product, start, der);
        }
    }

    /// The newest of both.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        for (product, (start, der)) in &other.0 {
            if self.0.get(product).is_none_or(|(newest, _)| start > newest) {
                self.0.insert(product, (*start, der.clone()));
            }
        }
        self
    }

    fn for_evidence(&self, evidence: &Evidence) -> Option<(Timestamp, &[u8])> {
        let cpu = Report::parse(&evidence.report).ok().and_then(|r| r.cpu);
        // A report that does not say its processor has a certificate that does.
        let product = match cpu {
            Some(cpu) => Product::from_cpu(cpu),
            None => VekFacts::read(&evidence.vek)?.product(),
        };
        self.of(product?)
    }
}

impl Verifier {
    /// As [`Verifier::verify_any`], by the newest of the lists and the one in the evidence.
    pub fn verify_any_by(
        &self,
        lists: &NewestLists,
        evidence: &Evidence,
        policies: &[Policy],
        (report_data, host_data): (ReportData, HostData),
        now: Timestamp,
    ) -> Option<Result<(usize, Claims), Rejection>> {
        let (expected, newest) = expected(lists, evidence, report_data, host_data);
        let verified = self.verify_any(evidence, policies, &expected, now)?;
        let rejection = verified.as_ref().err();
        match rejection.and_then(|r| mended(evidence, newest, r.verdict())) {
            Some(evidence) => self.verify_any(&evidence, policies, &expected, now),
            None => Some(verified),
        }
    }

    /// As [`Verifier::examine_any`], by the newest of the lists and the one in the evidence.
    pub fn examine_any_by(
        &self,
        lists: &NewestLists,
        evidence: &Evidence,
        policies: &[Policy],
        (report_data, host_data): (ReportData, HostData),
        now: Timestamp,
    ) -> Option<(usize, Verdict)> {
        let (expected, newest) = expected(lists, evidence, report_data, host_data);
        let examined = self.examine_any(evidence, policies, &expected, now)?;
        match mended(evidence, newest, &examined.1) {
            Some(evidence) => self.examine_any(&evidence, policies, &expected, now),
            None => Some(examined),
        }
    }
}

/// The newest known list, and since when.
type Newest<'l> = Option<(Timestamp, &'l [u8])>;

/// What is expected, and the newest known list of the product.
fn expected<'l>(
    lists: &'l NewestLists,
    evidence: &Evidence,
    report_data: ReportData,
    host_data: HostData,
) -> (Expected, Newest<'l>) {
    let newest = lists.for_evidence(evidence);
    let expected = Expected {
        report_data,
        host_data,
        newest_crl: newest.map(|(start, _)| start),
    };
    (expected, newest)
}

/// The evidence with the known list, where the one that it brings is what is wrong and the known one is newer.
fn mended(evidence: &Evidence, newest: Newest<'_>, verdict: &Verdict) -> Option<Evidence> {
    let (start, der) = newest.filter(|_| is_about_the_list(verdict))?;
    let given = Crl::parse(evidence.crl.as_deref()?).ok()?;
    (start > given.this_update).then(|| Evidence {
        crl: Some(der.to_vec()),
        ..evidence.clone()
    })
}

/// Whether the first thing wrong is a revocation list that is due or older than one already seen: a newer one
/// mends either.
fn is_about_the_list(verdict: &Verdict) -> bool {
    let about = [CheckId::CrlCurrent, CheckId::CrlNotRolledBack];
    let first = verdict.first_failure();
    first.is_some_and(|check| about.contains(&check.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_product_has_its_own_newest() {
        let mut lists = NewestLists::default();
        assert_eq!(lists.latest(), Timestamp(0));
        lists.saw(Product::Milan, Timestamp(20), b"new");
        lists.saw(Product::Milan, Timestamp(15), b"old");
        lists.saw(Product::Genoa, Timestamp(10), b"other");
        assert_eq!(lists.of(Product::Milan), Some((Timestamp(20), &b"new"[..])));
        assert_eq!(
            lists.of(Product::Genoa),
            Some((Timestamp(10), &b"other"[..]))
        );
        assert_eq!(lists.of(Product::Turin), None);
        assert_eq!(lists.latest(), Timestamp(20));
        let mut later = NewestLists::default();
        later.saw(Product::Genoa, Timestamp(30), b"latest");
        later.saw(Product::Milan, Timestamp(1), b"first");
        let merged = lists.merged(&later);
        let all: Vec<_> = merged
            .iter()
            .map(|(name, start, _)| (name, start.0))
            .collect();
        assert_eq!(all, [("Genoa", 30), ("Milan", 20)]);
    }
}
