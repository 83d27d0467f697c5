//! What several Coordinators of one deployment show, side by side.
//!
//! Two of them that went apart show histories that both hold. Only somebody who asks both can tell.

use nacre_findings::codes::client as codes;
use nacre_history::{History, Relation};

use super::Examination;
use crate::verdict::{Outcome, Row};

/// The row about another Coordinator, whose answer was examined with the same question.
pub fn compare(history: &History, address: &str, other: &Examination) -> Row {
    const NAME: &str = "replica";
    let Some(theirs) = &other.history else {
        let failed = other.rows.iter().find(|row| row.outcome == Outcome::Fail);
        let text = match failed {
            Some(row) => format!("{address}: {}: {}", row.name, row.text),
            None => format!("{address}: no history"),
        };
        let code = failed.and_then(|row| row.code).unwrap_or(codes::PROTOCOL);
        return Row::of(Outcome::Fail, NAME, code, text);
    };
    match history.relation(theirs) {
        Relation::Same => Row::pass(NAME, format!("{address} shows the same history")),
        Relation::Ahead { by } => behind(NAME, format!("{address} is {by} manifest(s) further")),
        Relation::Behind { by } => behind(NAME, format!("{address} is {by} manifest(s) behind")),
        Relation::Fork { common } => {
            let text = format!("{address} shows another history after generation {common}");
            Row::of(Outcome::Fail, NAME, codes::FORKED, text)
        }
    }
}

/// The row about another Coordinator that gave no answer.
pub fn silent(address: &str, why: &str) -> Row {
    behind("replica", format!("{address} gave no answer: {why}"))
}

fn behind(name: &'static str, text: String) -> Row {
    Row::of(Outcome::Warn, name, codes::UNCONFIRMED, text)
}
