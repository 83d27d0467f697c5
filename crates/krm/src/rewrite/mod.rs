//! From the old text and the wanted values to the new text: the smallest splices, proved by
//! reading the result.

mod align;
mod block;
mod flow;
mod layout;
mod plan;
mod splice;
mod targets;
mod verify;
mod want;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::emit;
use crate::error::Error;
use crate::gap;
use crate::limits::Limits;
use crate::parse;
use crate::path::Path;
use crate::stream::Document;
use crate::tree::{Id, Node, Tree};

use plan::{Plan, Stop};
pub(crate) use want::Want;

/// How coarse the splices are. Finer ones are tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    /// Scalars, entries, items.
    Fine,
    /// The whole node of each edit.
    Node,
    /// The whole value of the document.
    Document,
}

/// See [`Document::rewrite`].
pub(crate) fn rewrite(document: &Document, desired: &[(Path, Value)]) -> Result<String, Error> {
    rewrite_wants(document, &wants(desired))
}

/// The same for changes that also take nodes away.
pub(crate) fn rewrite_wants(document: &Document, want: &Want) -> Result<String, Error> {
    let mut failure = None;
    for grain in [Grain::Fine, Grain::Node, Grain::Document] {
        let Some(text) = plan(document, want, grain)? else {
            continue;
        };
        let Cow::Owned(text) = text else {
            return Ok(document.text().to_owned());
        };
        match verify::check(document, &text, want) {
            Ok(()) => return Ok(text),
            Err(reason) => failure = Some(reason),
        }
    }
    Err(Error::Verification {
        at: document.place(document.range().start),
        reason: failure.unwrap_or_else(|| "no form of the edit fits".to_owned()),
    })
}

/// The text with the finest splices only, for tests: coarser ones hide mistakes.
#[cfg(test)]
fn fine(document: &Document, desired: &[(Path, Value)]) -> Result<String, String> {
    let want = wants(desired);
    let text = plan(document, &want, Grain::Fine)
        .map_err(|e| e.to_string())?
        .ok_or("not possible with fine splices")?
        .into_owned();
    verify::check(document, &text, &want)
        .map_err(|reason| format!("{reason}; the text:\n{text}"))?;
    Ok(text)
}

/// See [`Document::rewrite_unchecked`].
pub(crate) fn rewrite_unchecked(
    document: &Document,
    desired: &[(Path, Value)],
) -> Result<String, Error> {
    let want = wants(desired);
    for grain in [Grain::Fine, Grain::Node, Grain::Document] {
        if let Some(text) = plan(document, &want, grain)? {
            return Ok(text.into_owned());
        }
    }
    rewrite_wants(document, &want)
}

fn wants(desired: &[(Path, Value)]) -> Want {
    Want::new(
        desired
            .iter()
            .map(|(path, value)| (path.clone(), Want::Value(value.clone()))),
    )
}

/// The text after the edits, borrowed when nothing changes; `None`: not possible at this grain.
fn plan<'d>(
    document: &'d Document,
    want: &Want,
    grain: Grain,
) -> Result<Option<Cow<'d, str>>, Error> {
    if want.is_nothing() {
        return Ok(Some(Cow::Borrowed(document.text())));
    }
    targets::check(document, want)?;
    let tree = document.tree();
    if grain == Grain::Document {
        return Ok(Some(Cow::Owned(whole(document, want))));
    }
    if tree.aliases.is_empty() && tree.merges.is_empty() {
        let mut plan = Plan::new(document, BTreeSet::new(), grain == Grain::Node);
        return match plan.run(want) {
            Ok(()) => Ok(plan.finish()),
            Err(Stop::Coarser) => Ok(None),
        };
    }
    if grain == Grain::Node {
        return Ok(None);
    }
    // What an alias or a merge refers to may change under it: look at the whole document, and again
    // with the anchors that changed, until no more do.
    let whole = want.apply(document.value(&Path::root()));
    let whole = Want::Value(whole.unwrap_or(Value::Null));
    let mut changed = BTreeSet::new();
    const ROUNDS: usize = 8;
    for round in 0..=ROUNDS {
        let mut plan = Plan::new(document, changed.clone(), false);
        match plan.run(&whole) {
            Ok(()) => {}
            Err(Stop::Coarser) => return Ok(None),
        }
        if plan.touched.is_subset(&changed) {
            return Ok(plan.finish());
        }
        let touched = std::mem::take(&mut plan.touched);
        changed.extend(touched);
        if round + 1 == ROUNDS {
            changed.extend(tree.anchors.iter().map(|(id, _)| *id));
        }
    }
    Ok(None)
}

/// The document with its value written anew; what stands before and behind the value is kept.
fn whole(document: &Document, want: &Want) -> String {
    let value = want
        .apply(document.value(&Path::root()))
        .unwrap_or(Value::Null);
    let newline = newline(document.text());
    let start = document.range().start;
    let tree = document.tree();
    let from = gap::line_start(document.source(), tree.outer_start(Id::ROOT).max(start)).max(start);
    let head = document.source().get(start..from).unwrap_or_default();
    let marker = document
        .source()
        .get(from..)
        .is_some_and(|t| t.starts_with("---"));
    let mut text = head.to_owned();
    if marker {
        text.push_str("---");
        text.push_str(newline);
    }
    let body = emit::emit(&value);
    text.push_str(&if newline == "\n" {
        body
    } else {
        body.replace('\n', newline)
    });
    text
}

/// The line ending of a text.
pub(crate) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if gap::byte(text, at.wrapping_sub(1)) == b'\r' => "\r\n",
        _ => "\n",
    }
}

/// The text of one document with a newline at its end that changes no value.
pub(crate) fn with_final_newline(text: &str) -> Cow<'_, str> {
    let tree = parse::parse(text, 0, text.len(), &Limits::default())
        .ok()
        .and_then(|documents| documents.into_iter().next_back())
        .map(|parsed| parsed.tree);
    let mut out = text.to_owned();
    if let Some((at, chomp)) = tree
        .as_ref()
        .and_then(|tree| open_tail(text, tree, text.len()))
    {
        out.replace_range(at, chomp);
    }
    out.push_str(newline(text));
    Cow::Owned(out)
}

/// A text may end inside a block scalar, without a newline. Where its header has to become a
/// stripping one before anything may follow.
fn open_tail(
    text: &str,
    tree: &Tree,
    end: usize,
) -> Option<(std::ops::Range<usize>, &'static str)> {
    let last = u32::try_from(tree.nodes.len().checked_sub(1)?).ok()?;
    let node: Node = tree.node(Id(last));
    if !node.kind.is_block_scalar() || node.to() != end || text.get(..end)?.ends_with(['\n', '\r'])
    {
        return None;
    }
    let from = node.from() + 1;
    let indicators = text.get(from..).unwrap_or_default();
    let indicators = indicators
        .bytes()
        .take_while(|b| matches!(b, b'+' | b'-' | b'0'..=b'9'));
    for (i, indicator) in indicators.enumerate() {
        match indicator {
            b'-' => return None,
            b'+' => return Some((from + i..from + i + 1, "-")),
            _ => {}
        }
    }
    Some((from..from, "-"))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
