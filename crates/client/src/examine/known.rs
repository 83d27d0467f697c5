//! The answer beside what is known already: the manifest given and what earlier runs saw.

use nacre_attest::NewestLists;
use nacre_findings::codes::client as codes;
use nacre_history::{History, ObjectKey};
use nacre_manifest::ManifestHash;
use nacre_review::diff;

use super::{Examination, Question, chain_of, found};
use crate::pin::{Contradiction, Pin, Seen};
use crate::snapshot::Snapshot;
use crate::verdict::{Outcome, Row};

/// Whether the manifest given is the one in force.
pub(super) fn active(question: &Question<'_>, history: &History, out: &mut Examination) {
    let head = history.head();
    let Some(given) = question.active else {
        return;
    };
    if ManifestHash::of(given.bytes) == head.transition.manifest {
        let text = format!(
            "generation {}, byte for byte the one given",
            head.transition.generation
        );
        out.rows.push(Row::pass("manifest", text));
        return;
    }
    let difference = diff::manifests(given.manifest, &head.manifest);
    let text = match difference.is_empty() {
        true => "another text with the same meaning is in force",
        false => "another manifest is in force",
    };
    let row = Row::of(Outcome::Fail, "manifest", codes::MANIFEST_DIFFERS, text);
    let given_hash = ManifestHash::of(given.bytes);
    let earlier = history
        .entries()
        .iter()
        .find(|entry| entry.transition.manifest == given_hash);
    let row = match earlier {
        Some(entry) => row.help(format!(
            "the one given was in force as generation {}: it is out of date",
            entry.transition.generation
        )),
        None => row.help("the one given was never in force at this Coordinator"),
    };
    out.rows.push(row);
    out.difference = Some(difference);
}

/// Whether the history is the one that earlier runs saw; gives how many of its newest entries nobody has
/// accepted.
pub(super) fn pinned(question: &Question<'_>, history: &History, out: &mut Examination) -> usize {
    let chain = chain_of(history);
    let found = found(history, &chain);
    let Some(pin) = question.pin else {
        let text = format!("first run: root CA key {} is remembered", found.root_key);
        out.rows.push(Row::pass("pin", text));
        return chain.len();
    };
    match pin.compare(&found) {
        Ok(progress) => {
            let text = match progress.newer {
                0 => "the deployment and the history of earlier runs".to_owned(),
                1 => "the deployment of earlier runs, one manifest further".to_owned(),
                n => format!("the deployment of earlier runs, {n} manifests further"),
            };
            out.rows.push(Row::pass("pin", text));
            progress.unaccepted
        }
        Err(Contradiction::Rollback { seen, found }) if question.past => {
            let text = format!(
                "the deployment of earlier runs as it was at generation {found}; they saw generation {seen}"
            );
            let row = Row::of(Outcome::Note, "pin", codes::ROLLED_BACK, text);
            out.rows.push(row);
            out.behind = true;
            pin.unaccepted(&chain)
        }
        Err(error) => {
            let code = match &error {
                Contradiction::Rollback { .. } | Contradiction::Undecided { .. } => {
                    codes::ROLLED_BACK
                }
                Contradiction::Fork { .. } => codes::FORKED,
                _ => codes::ROOT_CHANGED,
            };
            let row = Row::of(Outcome::Fail, "pin", code, error.to_string());
            out.rows.push(match &error {
                Contradiction::Undecided { .. } => {
                    row.help("verify the Coordinator once, then this again: the pin then says it")
                }
                _ => row,
            });
            chain.len()
        }
    }
}

/// Entries that nobody has seen the content of: not accepted before, and not the manifest given.
pub(super) fn accepted(
    question: &Question<'_>,
    history: &History,
    unaccepted: usize,
    out: &mut Examination,
) {
    let open = unread(question, history, unaccepted);
    out.rows.push(match (open, question.accept_history) {
        (0, _) => Row::pass("entries", "every manifest of the history is accepted"),
        (n, true) => Row::pass(
            "entries",
            format!("{n} manifest(s) of the history accepted now"),
        ),
        (n, false) => Row::of(
            Outcome::Warn,
            "entries",
            codes::HISTORY_NOT_ACCEPTED,
            format!("{n} manifest(s) of the history were not accepted before"),
        )
        .help("read what changed, then run again with --accept-history"),
    });
}

fn unread(question: &Question<'_>, history: &History, unaccepted: usize) -> usize {
    let given = question.active.map(|given| ManifestHash::of(given.bytes));
    let entries = history.entries();
    let known = entries.len().saturating_sub(unaccepted);
    let new = entries.iter().skip(known);
    new.filter(|entry| Some(entry.transition.manifest) != given)
        .count()
}

/// What to remember.
pub(super) fn pin(
    snapshot: &Snapshot,
    question: &Question<'_>,
    history: &History,
    lists: &NewestLists,
    out: &Examination,
) -> Option<Pin> {
    let entry = history.head();
    let head = Seen::of(&entry.transition);
    let bytes = snapshot
        .objects
        .get(&ObjectKey::Manifest(head.transition().manifest))?;
    let manifest = String::from_utf8(bytes.clone()).ok()?;
    let chain = chain_of(history);
    let found = found(history, &chain);
    let mut pin = match question.pin {
        Some(pin) => pin.advanced(&found, head, manifest),
        None => {
            let genesis = history.genesis_entry().hash;
            Pin::new(genesis, &found, head, manifest)
        }
    };
    pin = pin.with_lists(lists);
    pin.owners = out.genesis.as_ref().map(|genesis| genesis.owners.clone());
    let read = out
        .rows
        .get("entries")
        .is_some_and(|row| row.outcome == Outcome::Pass);
    if read {
        pin.accepted = Some(head.hash());
    }
    Some(pin)
}
