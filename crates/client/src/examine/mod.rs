//! The one examination of an answer: for `verify`, before and after `set`, after `recover`, and for bundles.

pub mod replicas;

mod known;
mod notes;
mod steps;
mod weaknesses;

use std::collections::BTreeSet;

use nacre_attest::{Evidence, NewestLists, Timestamp};
use nacre_findings::{Code, codes::client as codes};
use nacre_history::{Expect, GenesisAuthority, History, ObjectKey, Rules, validate};
use nacre_manifest::{KeyDigest, Manifest, PolicyHash, TransitionHash};
use nacre_review::diff::Diff;

pub use self::steps::Step;
use crate::certificates;
use crate::genesis::{Genesis, MeasuredOwners, Source};
use crate::pin::{Found, Pin, known_lists};
use crate::snapshot::Snapshot;
use crate::trust::{Expectation, Trust};
use crate::verdict::{Outcome, Row, Rows};
use crate::workloads::{Policies, Workload};

/// A manifest as somebody gave it.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What they read as.
    pub manifest: &'a Manifest,
}

/// What is asked about an answer.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Roots and readers.
    pub trust: &'a Trust,
    /// The manifest the Coordinator is attested with.
    pub reference: &'a Manifest,
    /// The manifest that has to be in force; `None` = any that the owners have set.
    pub active: Option<Given<'a>>,
    /// What earlier runs saw.
    pub pin: Option<&'a Pin>,
    /// The time to verify at.
    pub now: Timestamp,
    /// Whether that is the time a bundle claims it was made at.
    pub claimed: bool,
    /// Whether the answer may be of before what earlier runs saw, as one in a bundle is.
    pub past: bool,
    /// Policies with unknown rules that are accepted.
    pub accept_policies: &'a AcceptPolicies,
    /// Who may have set the first manifest, where the Coordinator's policy is one that is accepted and not read;
    /// `None` = as the pin says.
    pub owners: Option<&'a MeasuredOwners>,
    /// Whether a manifest that does not list the chips of its Coordinators is refused.
    pub require_chips: bool,
    /// Whether entries of the history that nobody has accepted are accepted now.
    pub accept_history: bool,
}

/// Which policies with unknown rules are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AcceptPolicies {
    /// None.
    #[default]
    None,
    /// These.
    These(BTreeSet<PolicyHash>),
    /// Every one.
    All,
}

impl AcceptPolicies {
    /// Whether this one is.
    pub fn accepts(&self, hash: &PolicyHash) -> bool {
        match self {
            Self::None => false,
            Self::These(hashes) => hashes.contains(hash),
            Self::All => true,
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Examination {
    /// The verdict. The rest is only what the Coordinator said unless it holds.
    pub rows: Rows,
    /// Every check on the evidence.
    pub attestation: Option<nacre_attest::Verdict>,
    /// Who may have set the first manifest, if that is known.
    pub genesis: Option<Genesis>,
    /// The history, if it holds.
    pub history: Option<History>,
    /// What changed from each manifest to the next.
    pub steps: Vec<Step>,
    /// The workloads of the manifest in force.
    pub workloads: Vec<Workload>,
    /// From the manifest given to the one in force, if they differ.
    pub difference: Option<Diff>,
    /// What to remember for later runs; only when the verdict holds.
    pub pin: Option<Pin>,
    /// Whether the answer is of before what earlier runs saw, and on the way there; of a past one only.
    pub behind: bool,
}

/// Examines an answer. Every row before the first that fails holds; what depends on it is not looked at.
pub fn examine(snapshot: &Snapshot, question: &Question<'_>) -> Examination {
    let mut out = Examination::default();
    let done = run(snapshot, question, &mut out);
    if done.is_none() || !out.rows.hold(false) {
        out.pin = None;
    }
    out
}

fn run(snapshot: &Snapshot, question: &Question<'_>, out: &mut Examination) -> Option<()> {
    if question.claimed {
        let text = format!(
            "at {}, the time the bundle claims; nobody vouches for it",
            question.now
        );
        out.rows.push(Row::pass("time", text));
    }
    let (coordinator, lists) = evidence(snapshot, question, out)?;
    let policies = Policies::read(
        snapshot
            .objects
            .iter()
            .filter_map(|(key, bytes)| match key {
                ObjectKey::Policy(hash) => Some((*hash, bytes.as_slice())),
                _ => None,
            }),
    );
    let history = history(snapshot, question, &policies, coordinator, out)?;
    state(snapshot, &history, out)?;
    let manifest = history.head().manifest.clone();
    known::active(question, &history, out);
    let unaccepted = known::pinned(question, &history, out);
    known::accepted(question, &history, unaccepted, out);
    out.steps = steps::steps(&history, &policies, unaccepted, question);
    out.workloads = policies.workloads(&manifest);
    weaknesses::policies_row(question, &history, &policies, out);
    weaknesses::weaknesses(&manifest, &history, out);
    out.pin = known::pin(snapshot, question, &history, &lists, out);
    out.history = Some(history);
    Some(())
}

/// The evidence of the head: HOST_DATA of the Coordinator and the revocation lists that are known now.
fn evidence(
    snapshot: &Snapshot,
    question: &Question<'_>,
    out: &mut Examination,
) -> Option<(PolicyHash, NewestLists)> {
    let fail = |code, text: String| Row::of(Outcome::Fail, "evidence", code, text);
    let mut lists = known_lists(question.pin);
    let expectation = match Expectation::of(question.reference, lists.clone()) {
        Ok(expectation) => expectation.require_chips(question.require_chips),
        Err(error) => {
            out.rows.push(fail(codes::NOT_CURRENT, error.to_string()));
            return None;
        }
    };
    let evidence = match Evidence::decode(&snapshot.head.evidence) {
        Ok(evidence) => evidence,
        Err(error) => {
            out.rows.push(fail(codes::NOT_ATTESTED, error.to_string()));
            return None;
        }
    };
    let report_data = snapshot.head.report_data(&snapshot.nonce);
    let examined = expectation.examine(question.trust, &evidence, report_data, question.now);
    let Some((_, verdict)) = examined else {
        let text = "no reference values count for this Coordinator's policy: its Platforms name none of \
                    ReferenceValues.snp";
        out.rows.push(fail(codes::NOT_ATTESTED, text.to_owned()));
        return None;
    };
    out.attestation = Some(verdict.clone());
    let claims = match verdict.into_result() {
        Ok(claims) => claims,
        Err(rejection) => {
            let check = rejection.reason().cloned();
            let code = check
                .as_ref()
                .map_or(codes::NOT_ATTESTED, |check| Code::new(check.id.code()));
            let code = match check.as_ref().map(|check| check.id) {
                // The report is genuine; what it is about is not what came with it.
                Some(nacre_attest::CheckId::ReportData) => codes::STATE_NOT_PROVEN,
                _ => code,
            };
            out.rows.push(fail(code, rejection.to_string()));
            return None;
        }
    };
    let coordinator = PolicyHash::from_bytes(claims.host_data);
    let entry = question.reference.policies.get(&coordinator);
    let name = entry.and_then(|entry| entry.identity.as_ref());
    let name = name.map_or_else(|| coordinator.to_string(), ToString::to_string);
    let short: String = hex::encode(claims.measurement).chars().take(16).collect();
    let text = format!(
        "SEV-SNP on {}, firmware {}, measurement {short}…, Coordinator {name}",
        claims.product, claims.reported_tcb
    );
    out.rows.push(Row::pass("evidence", text));
    if let Some(verdict) = &out.attestation {
        notes::rows(verdict, &mut out.rows);
    }
    lists.saw_evidence(&evidence, &claims);
    Some((coordinator, lists))
}

fn history(
    snapshot: &Snapshot,
    question: &Question<'_>,
    policies: &Policies,
    coordinator: PolicyHash,
    out: &mut Examination,
) -> Option<History> {
    let genesis = Genesis::of(
        &coordinator,
        policies,
        question.accept_policies,
        question.owners,
        question.pin,
    );
    let genesis = match genesis {
        Ok(genesis) => genesis,
        Err(error) => {
            let (code, text) = (codes::RULES_UNKNOWN, error.to_string());
            let row = Row::of(Outcome::Fail, "instance", code, text);
            out.rows.push(match error.help(&coordinator) {
                Some(help) => row.help(help),
                None => row,
            });
            return None;
        }
    };
    let rules = Rules {
        reader: question.trust.reader,
        genesis: genesis.owners.0.clone(),
    };
    let expect = Expect::complete().coordinator(coordinator);
    match validate(&snapshot.objects, &rules, &expect) {
        Ok(history) => {
            let count = history.entries().len();
            let s = if count == 1 { "" } else { "s" };
            let text = format!("{count} manifest{s}, each signed by the owners of the one before");
            out.rows.push(Row::pass("history", text));
            out.rows.push(instance(&genesis));
            out.genesis = Some(genesis);
            Some(history)
        }
        Err(error) => {
            let code = Code::new(error.code());
            out.rows
                .push(Row::of(Outcome::Fail, "history", code, chain(&error)));
            None
        }
    }
}

/// Who started the history, and why that is believed.
fn instance(genesis: &Genesis) -> Row {
    let GenesisAuthority::Owners(owners) = &genesis.owners.0 else {
        return Row::of(
            Outcome::Warn,
            "instance",
            codes::UNAUTHENTICATED,
            "Coordinator instance not authenticated: anybody could have set the first manifest",
        );
    };
    let (k, n) = (owners.threshold(), owners.keys().len());
    let by = match genesis.source {
        Source::Policy => {
            let text = format!("started by {k} of {n} owner(s) measured into the Coordinator");
            return Row::pass("instance", text);
        }
        Source::Named => "named by --owners",
        Source::Pin => "of earlier runs",
    };
    let text = format!(
        "started by {k} of {n} owner(s) {by}; the Coordinator's policy was accepted, not read"
    );
    Row::of(Outcome::Note, "instance", codes::RULES_UNKNOWN, text)
}

/// Whether the evidence is about this history, and the certificates about these keys.
fn state(snapshot: &Snapshot, history: &History, out: &mut Examination) -> Option<()> {
    let (head, entry) = (&snapshot.head, history.head());
    let differs = if head.transition != *entry.hash.as_bytes() {
        Some("another transition than the head of the history")
    } else if head.manifest != *entry.transition.manifest.as_bytes() {
        Some("another manifest than the one in force")
    } else {
        None
    };
    if let Some(what) = differs {
        let text = format!("the evidence is about {what}");
        out.rows.push(Row::of(
            Outcome::Fail,
            "state",
            codes::STATE_NOT_PROVEN,
            text,
        ));
        return None;
    }
    let confirmation = history.confirmation();
    if let Err(error) = history.check_keys(&head.root_spki, &confirmation.history_spki) {
        let code = Code::new(error.code());
        out.rows
            .push(Row::of(Outcome::Fail, "state", code, error.to_string()));
        return None;
    }
    if let Err(error) = certificates::check(head) {
        let row = Row::of(
            Outcome::Fail,
            "state",
            codes::CERTIFICATES,
            error.to_string(),
        );
        out.rows.push(row);
        return None;
    }
    let text = "the evidence covers transition, manifest, root CA and mesh CA, and this question";
    out.rows.push(Row::pass("state", text));
    Some(())
}

/// Hashes of every transition, oldest first.
pub(crate) fn chain_of(history: &History) -> Vec<TransitionHash> {
    history.entries().iter().map(|entry| entry.hash).collect()
}

/// What of a history is compared with a pin.
pub(crate) fn found<'a>(history: &History, chain: &'a [TransitionHash]) -> Found<'a> {
    let confirmation = history.confirmation();
    Found {
        root_key: KeyDigest::of_spki(&confirmation.root_spki),
        history_key: KeyDigest::of_spki(&confirmation.history_spki),
        salt: confirmation.salt,
        chain,
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
