//! Whether a change fits the document at all.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::path::{Path, Step};
use crate::stream::Document;
use crate::tree::Id;

use super::Want;

/// Steps must fit what they lead into: keys into mappings, indexes into lists and at most one past
/// their end, anything into nothing.
pub(crate) fn check(document: &Document, want: &Want) -> Result<(), Error> {
    match want {
        Want::Inside(inside) => check_steps(document, Id::ROOT, inside, &Path::root()),
        Want::Value(_) | Want::Absent => Ok(()),
    }
}

fn check_steps(
    document: &Document,
    id: Id,
    inside: &BTreeMap<Step, Want>,
    at: &Path,
) -> Result<(), Error> {
    let tree = document.tree();
    let id = tree.follow(id);
    let kind = tree.node(id).kind;
    let null = document.reader().value_is_null(id);
    let children: BTreeMap<Step, Id> = if kind.is_seq() {
        let items = tree.items(id).enumerate();
        items.map(|(i, item)| (Step::Index(i), item)).collect()
    } else if tree.has_merge(id) {
        let found = inside
            .keys()
            .filter_map(|step| Some((step.clone(), document.reader().step(id, step)?)));
        found.collect()
    } else {
        let entries = document.reader().named(id);
        entries
            .map(|(key, value)| (Step::Key(key.into_owned()), value))
            .collect()
    };
    let mut length = if kind.is_seq() { children.len() } else { 0 };
    for (step, want) in inside {
        let path = at.join(&Path::from(vec![step.clone()]));
        let fail = |reason| Error::Target {
            at: document.place(tree.node(id).from()),
            path: path.clone(),
            reason,
        };
        match step {
            Step::Key(_) if !kind.is_map() && !null => {
                return Err(fail("it lies inside something that is not a mapping"));
            }
            Step::Index(_) if !kind.is_seq() && !null => {
                return Err(fail("it lies inside something that is not a list"));
            }
            Step::Index(index) if *index > length => return Err(fail("the list is shorter")),
            Step::Index(index) if *index == length => length += 1,
            Step::Key(_) | Step::Index(_) => {}
        }
        if let (Want::Inside(deeper), Some(child)) = (want, children.get(step)) {
            check_steps(document, *child, deeper, &path)?;
        }
    }
    Ok(())
}
