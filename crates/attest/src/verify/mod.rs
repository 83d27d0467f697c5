//! The verifier: every check of [`CheckId`], in order, on bytes as received.

mod cache;
mod chain;
mod firmware;
mod genuine;
mod guest;
mod report;
mod revocation;

use std::fmt::Display;

use nacre_findings::printable;

use crate::check::CheckId;
use crate::evidence::Evidence;
use crate::policy::{Expected, Policy};
use crate::product::{CpuId, Product, TcbBytes};
use crate::report::Report;
use crate::roots::Roots;
use crate::time::Timestamp;
use crate::verdict::{Check, Claims, Note, Outcome, Rejection, Topic, Verdict};

pub use genuine::CrlDates;

/// Verifies evidence against AMD's roots. Pure: no clock, no network, no state.
///
/// ```
/// use nacre_attest::{CheckId, Evidence, Expected, HostData, Policy, Product, ReportData, Timestamp};
///
/// let policy = Policy::new(Product::Genoa, [[0; 48]]);
/// let expected = Expected {
///     report_data: ReportData::Exact([0; 64]),
///     host_data: HostData::OneOf([[0; 32]].into()),
///     newest_crl: None,
/// };
/// let rejection =
///     nacre_attest::verify(&Evidence::default(), &policy, &expected, Timestamp::now()).unwrap_err();
/// assert_eq!(rejection.reason().unwrap().id, CheckId::ReportLength);
/// ```
pub fn verify(
    evidence: &Evidence,
    policy: &Policy,
    expected: &Expected,
    now: Timestamp,
) -> Result<Claims, Rejection> {
    let case = Case {
        roots: Roots::amd(),
        cache: None,
        evidence,
        policy,
        expected,
        now,
    };
    case.verify()
}

/// What [`verify`] decides on, with every check.
pub fn examine(
    evidence: &Evidence,
    policy: &Policy,
    expected: &Expected,
    now: Timestamp,
) -> Verdict {
    examine_with(Roots::amd(), None, evidence, policy, expected, now)
}

/// A verifier that remembers certificates it has verified, for programs that see many reports.
///
/// The answer is that of [`verify`]; only the work is less. The memory is bounded.
#[derive(Debug)]
pub struct Verifier {
    roots: RootsOf,
    cache: Option<cache::Cache>,
}

#[derive(Debug)]
enum RootsOf {
    Amd,
    #[cfg(feature = "danger-other-roots")]
    Other(Roots),
}

impl Verifier {
    /// A verifier that trusts AMD's roots.
    pub fn amd() -> Self {
        Self {
            roots: RootsOf::Amd,
            cache: Some(cache::Cache::default()),
        }
    }

    #[cfg(feature = "danger-other-roots")]
    pub(crate) fn with_roots(roots: Roots) -> Self {
        Self {
            roots: RootsOf::Other(roots),
            cache: Some(cache::Cache::default()),
        }
    }

    /// The same verifier, which verifies everything anew each time: to measure what remembering saves.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self {
            cache: None,
            ..self
        }
    }

    /// The roots it trusts.
    pub fn roots(&self) -> &Roots {
        match &self.roots {
            RootsOf::Amd => Roots::amd(),
            #[cfg(feature = "danger-other-roots")]
            RootsOf::Other(roots) => roots,
        }
    }

    /// As [`verify`].
    pub fn verify(
        &self,
        evidence: &Evidence,
        policy: &Policy,
        expected: &Expected,
        now: Timestamp,
    ) -> Result<Claims, Rejection> {
        let (roots, cache) = (self.roots(), self.cache.as_ref());
        Case {
            roots,
            cache,
            evidence,
            policy,
            expected,
            now,
        }
        .verify()
    }

    /// As [`examine`].
    pub fn examine(
        &self,
        evidence: &Evidence,
        policy: &Policy,
        expected: &Expected,
        now: Timestamp,
    ) -> Verdict {
        examine_with(
            self.roots(),
            self.cache.as_ref(),
            evidence,
            policy,
            expected,
            now,
        )
    }

    /// Verifies against several reference values, of which one has to accept the evidence.
    ///
    /// The rejection is that of the value that comes closest: same product and launch digest first.
    /// `None` when there are no values: nothing is accepted then.
    pub fn verify_any(
        &self,
        evidence: &Evidence,
        policies: &[Policy],
        expected: &Expected,
        now: Timestamp,
    ) -> Option<Result<(usize, Claims), Rejection>> {
        let mut nearest = None;
        for (index, policy) in closest_first(evidence, policies) {
            match self.verify(evidence, policy, expected, now) {
                Ok(claims) => return Some(Ok((index, claims))),
                Err(rejection) => nearest.get_or_insert(rejection),
            };
        }
        nearest.map(Err)
    }

    /// What [`Verifier::verify_any`] decides on: the first verdict that holds, else the closest.
    pub fn examine_any(
        &self,
        evidence: &Evidence,
        policies: &[Policy],
        expected: &Expected,
        now: Timestamp,
    ) -> Option<(usize, Verdict)> {
        let mut nearest = None;
        for (index, policy) in closest_first(evidence, policies) {
            let verdict = self.examine(evidence, policy, expected, now);
            if verdict.holds() {
                return Some((index, verdict));
            }
            nearest.get_or_insert((index, verdict));
        }
        nearest
    }
}

/// The policies with their index, those of the same product and launch digest first.
fn closest_first<'p>(evidence: &Evidence, policies: &'p [Policy]) -> Vec<(usize, &'p Policy)> {
    let mut order: Vec<_> = policies.iter().enumerate().collect();
    if order.len() < 2 {
        return order;
    }
    let report = Report::parse(&evidence.report).ok();
    order.sort_by_cached_key(|(_, policy)| {
        std::cmp::Reverse(report.as_ref().map_or(0, |report| {
            let product = report.cpu.and_then(Product::from_cpu) == Some(policy.product);
            let digests = policy.measurements.as_ref();
            let digest = digests.is_none_or(|digests| digests.contains(&report.measurement));
            u8::from(product) + 2 * u8::from(digest)
        }))
    });
    order
}

/// Everything the steps need.
struct Case<'a> {
    roots: &'a Roots,
    cache: Option<&'a cache::Cache>,
    evidence: &'a Evidence,
    policy: &'a Policy,
    expected: &'a Expected,
    now: Timestamp,
}

fn examine_with(
    roots: &Roots,
    cache: Option<&cache::Cache>,
    evidence: &Evidence,
    policy: &Policy,
    expected: &Expected,
    now: Timestamp,
) -> Verdict {
    let case = Case {
        roots,
        cache,
        evidence,
        policy,
        expected,
        now,
    };
    case.verdict()
}

/// How much is written down about checks that hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// What was expected and found.
    Everything,
    /// Whether they hold.
    Outcomes,
}

impl Case<'_> {
    /// Most evidence is good, and then nobody reads the values of the checks: they are written down in a
    /// second run, when it is not.
    fn verify(&self) -> Result<Claims, Rejection> {
        let mut book = Book::new(Detail::Outcomes);
        match self.run(&mut book) {
            Some(claims) if book.sound() => Ok(claims),
            _ => self.verdict().into_result(),
        }
    }

    fn verdict(&self) -> Verdict {
        let mut book = Book::new(Detail::Everything);
        let claims = self.run(&mut book);
        book.into_verdict(claims)
    }

    fn run(&self, book: &mut Book) -> Option<Claims> {
        let report = self.report_bytes(book)?;
        let product = self.processor(book, &report)?;
        let subject = Subject {
            report: &report,
            product,
        };
        if let Some(vek) = self.chain(book, subject) {
            chain::report_signature(book, &report, &vek);
        }
        self.firmware(book, subject);
        self.guest(book, subject);
        let crl = self.revocation(book, subject);
        Some(subject.claims(crl))
    }
}

/// A report and the product it is read as.
#[derive(Clone, Copy)]
struct Subject<'a> {
    report: &'a Report,
    product: Product,
}

impl Subject<'_> {
    fn tcb(self, bytes: TcbBytes) -> crate::product::Tcb {
        bytes.decode(self.product)
    }

    fn cpu(self) -> Option<CpuId> {
        self.report.cpu
    }

    fn claims(self, crl_this_update: Option<Timestamp>) -> Claims {
        let report = self.report;
        Claims {
            product: self.product,
            cpu: report.cpu,
            report_version: report.version,
            measurement: report.measurement,
            host_data: report.host_data,
            report_data: report.report_data,
            chip_id: report.chip_id,
            report_id: report.report_id,
            vmpl: report.vmpl,
            guest_policy: report.policy,
            platform_info: report.platform_info,
            guest_svn: report.guest_svn,
            reported_tcb: self.tcb(report.reported_tcb),
            launch_tcb: self.tcb(report.launch_tcb),
            committed_tcb: self.tcb(report.committed_tcb),
            current_tcb: self.tcb(report.current_tcb),
            crl_this_update,
        }
    }
}

/// Where checks are written down. One that nobody writes down counts as failed.
struct Book {
    detail: Detail,
    /// Checks that were made, by their place in [`CheckId::ALL`].
    made: u128,
    /// Whether one of them failed or was left open.
    unsound: bool,
    checks: Vec<Check>,
    notes: Vec<Note>,
}

impl Book {
    fn new(detail: Detail) -> Self {
        Self {
            detail,
            made: 0,
            unsound: false,
            checks: match detail {
                Detail::Everything => Vec::with_capacity(CheckId::ALL.len()),
                Detail::Outcomes => Vec::new(),
            },
            notes: Vec::new(),
        }
    }

    /// Whether every check was made and holds.
    fn sound(&self) -> bool {
        const { assert!(CheckId::ALL.len() < 128) }
        let all = (1u128 << CheckId::ALL.len()) - 1;
        !self.unsound && self.made == all
    }

    /// Writes down a check and says whether it holds.
    fn check(
        &mut self,
        id: CheckId,
        holds: bool,
        expected: impl Display,
        actual: impl Display,
    ) -> bool {
        let outcome = if holds { Outcome::Pass } else { Outcome::Fail };
        self.write(id, outcome, expected, actual);
        holds
    }

    /// Writes down a check that the policy does not ask for.
    fn not_required(&mut self, id: CheckId, actual: impl Display) {
        self.write(id, Outcome::NotRequired, "anything", actual);
    }

    fn write(
        &mut self,
        id: CheckId,
        outcome: Outcome,
        expected: impl Display,
        actual: impl Display,
    ) {
        self.made |= 1 << (id as u8);
        self.unsound |= !matches!(outcome, Outcome::Pass | Outcome::NotRequired);
        if self.detail == Detail::Everything {
            self.checks.push(Check {
                id,
                outcome,
                expected: clean(&expected.to_string()),
                actual: clean(&actual.to_string()),
                advice: None,
            });
        }
    }

    /// Adds to the check written down last.
    fn advise(&mut self, advice: String) {
        if let Some(check) = self.checks.last_mut() {
            check.advice = Some(clean(&advice));
        }
    }

    fn outcomes_only(&self) -> bool {
        self.detail == Detail::Outcomes
    }

    fn note(&mut self, topic: Topic, note: impl FnOnce() -> String) {
        if self.detail == Detail::Everything {
            let text = clean(&note());
            self.notes.push(Note { topic, text });
        }
    }

    fn into_verdict(mut self, claims: Option<Claims>) -> Verdict {
        // A check written down twice keeps both entries' failures: the worst one goes first and stays.
        self.checks
            .sort_by_key(|check| (check.id, check.outcome != Outcome::Fail));
        self.checks.dedup_by_key(|check| check.id);
        let mut written = self.checks.into_iter().peekable();
        let checks = CheckId::ALL
            .iter()
            .map(|&id| {
                written
                    .next_if(|check| check.id == id)
                    .unwrap_or_else(|| Check {
                        id,
                        outcome: Outcome::NotRun,
                        expected: String::from("a result"),
                        actual: String::from("not reached"),
                        advice: None,
                    })
            })
            .collect();
        Verdict {
            checks,
            notes: self.notes,
            claims,
        }
    }
}

/// A text that is made when somebody reads it.
fn lazily(text: impl Fn() -> String) -> impl Display {
    struct Lazy<F>(F);
    impl<F: Fn() -> String> Display for Lazy<F> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&(self.0)())
        }
    }
    Lazy(text)
}

/// Bytes as hex, when somebody reads them.
fn lazy_hex<const N: usize>(bytes: [u8; N]) -> impl Display {
    lazily(move || hex::encode(bytes))
}

/// Names in certificates are foreign: nothing in them may steer a terminal.
fn clean(text: &str) -> String {
    printable(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_nobody_makes_is_no_success() {
        let mut book = Book::new(Detail::Everything);
        for &id in CheckId::ALL.iter().filter(|&&id| id != CheckId::Vmpl) {
            book.check(id, true, "", "");
        }
        let verdict = book.into_verdict(None);
        assert_eq!(verdict.checks.len(), CheckId::ALL.len());
        assert_eq!(verdict.first_failure().unwrap().id, CheckId::Vmpl);
        assert!(verdict.into_result().is_err());
    }

    #[test]
    fn the_short_run_needs_every_check_and_all_of_them_sound() {
        let run = |skip: Option<CheckId>, outcome: Outcome| {
            let mut book = Book::new(Detail::Outcomes);
            for &id in CheckId::ALL.iter().filter(|&&id| Some(id) != skip) {
                let this = if id == CheckId::Vmpl {
                    outcome
                } else {
                    Outcome::Pass
                };
                book.write(id, this, "", "");
            }
            book.sound()
        };
        assert!(run(None, Outcome::Pass) && run(None, Outcome::NotRequired));
        for outcome in [Outcome::Fail, Outcome::Open, Outcome::NotRun] {
            assert!(!run(None, outcome), "{outcome:?}");
        }
        for &id in CheckId::ALL {
            assert!(!run(Some(id), Outcome::Pass), "{id}");
        }
        // A failure is not made good by the same check holding elsewhere.
        let mut book = Book::new(Detail::Outcomes);
        book.check(CheckId::Vmpl, false, "", "");
        CheckId::ALL.iter().for_each(|&id| {
            book.check(id, true, "", "");
        });
        assert!(!book.sound());
    }

    #[test]
    fn nothing_that_is_written_down_steers_a_terminal() {
        let foreign = "a\u{1b}[2J\u{202e}b";
        let mut book = Book::new(Detail::Everything);
        book.check(CheckId::Vmpl, false, foreign, foreign);
        book.advise(foreign.into());
        book.note(Topic::Chips, || foreign.into());
        let verdict = book.into_verdict(None);
        let check = verdict.check(CheckId::Vmpl).unwrap();
        let texts = [
            Some(&check.expected),
            Some(&check.actual),
            check.advice.as_ref(),
            verdict.note(Topic::Chips).map(|note| &note.text),
        ];
        assert_eq!(texts, [Some(&r"a\u{1b}[2J\u{202e}b".to_owned()); 4]);
    }

    #[test]
    fn a_failure_is_not_overwritten() {
        for order in [[true, false], [false, true]] {
            let mut book = Book::new(Detail::Everything);
            for holds in order {
                book.check(CheckId::Vmpl, holds, "", "");
            }
            let verdict = book.into_verdict(None);
            assert_eq!(verdict.check(CheckId::Vmpl).unwrap().outcome, Outcome::Fail);
        }
    }
}
