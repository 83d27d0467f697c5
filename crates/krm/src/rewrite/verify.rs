//! Proof that an edited text reads as wanted and as before everywhere else.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::limits::Limits;
use crate::path::{Path, Step};
use crate::read::{Reader, same};
use crate::stream::{Document, Stream};
use crate::tree::Id;

use super::Want;

/// Reads the text and compares. The error is the first difference.
pub(crate) fn check(document: &Document, text: &str, want: &Want) -> Result<(), String> {
    let limits = Limits {
        bytes: usize::MAX,
        threads: 1,
        ..Limits::default()
    };
    let parsed =
        Stream::parse_with(text, &limits).map_err(|e| format!("it is not read back: {e}"))?;
    let [new] = parsed.documents() else {
        return Err(format!("it became {} documents", parsed.documents().len()));
    };
    let tree = document.tree();
    let difference = if tree.aliases.is_empty() && tree.merges.is_empty() {
        let both = Both {
            old: document.reader(),
            new: new.reader(),
        };
        both.difference(Id::ROOT, Id::ROOT, want)
    } else {
        let wanted = want
            .apply(document.value(&Path::root()))
            .unwrap_or(Value::Null);
        let got = new.value(&Path::root()).unwrap_or(Value::Null);
        (!same(&wanted, &got)).then(Path::root)
    };
    match difference {
        None => Ok(()),
        Some(path) if path.is_root() => Err("its value differs".to_owned()),
        Some(path) => Err(format!("{path} differs")),
    }
}

/// The document before and after.
struct Both<'a> {
    old: Reader<'a>,
    new: Reader<'a>,
}

impl Both<'_> {
    /// Where the new node is not the old one with the change.
    fn difference(&self, old: Id, new: Id, want: &Want) -> Option<Path> {
        match want {
            Want::Value(value) => (!self.new.eq(new, value)).then(Path::root),
            Want::Inside(inside) if inside.is_empty() => {
                (!self.old.same(old, &self.new, new)).then(Path::root)
            }
            Want::Inside(inside) if self.old.is_map(old) => self.in_map(old, new, inside),
            Want::Inside(inside) if self.old.is_seq(old) => self.in_seq(old, new, inside),
            Want::Inside(_) | Want::Absent => {
                let wanted = want.apply(Some(self.old.value(old))).unwrap_or(Value::Null);
                (!self.new.eq(new, &wanted)).then(Path::root)
            }
        }
    }

    fn in_map(&self, old: Id, new: Id, inside: &BTreeMap<Step, Want>) -> Option<Path> {
        let mut count = 0;
        let entries: BTreeMap<_, _> = self.new.named(new).collect();
        for (name, child) in self.old.named(old) {
            let now = entries.get(&name).copied();
            let step = Step::Key(name.into_owned());
            let want = inside.get(&step);
            let path = || Path::from(vec![step.clone()]);
            let inner = match (want, now) {
                (Some(Want::Absent), None) => continue,
                (Some(Want::Absent), Some(_)) | (_, None) => return Some(path()),
                (Some(want), Some(now)) => self.difference(child, now, want),
                (None, Some(now)) => (!self.old.same(child, &self.new, now)).then(Path::root),
            };
            if let Some(inner) = inner {
                return Some(path().join(&inner));
            }
            count += 1;
        }
        for (step, want) in inside {
            if self.old.step(old, step).is_some() {
                continue;
            }
            let Some(wanted) = want.apply(None) else {
                continue;
            };
            if !self
                .new
                .step(new, step)
                .is_some_and(|now| self.new.eq(now, &wanted))
            {
                return Some(Path::from(vec![step.clone()]));
            }
            count += 1;
        }
        (entries.len() != count).then(Path::root)
    }

    fn in_seq(&self, old: Id, new: Id, inside: &BTreeMap<Step, Want>) -> Option<Path> {
        let mut now = self.new.list(new);
        let mut count = 0;
        for (i, child) in self.old.list(old).enumerate() {
            let path = || Path::root().index(i);
            let Some(now) = now.next() else {
                return Some(path());
            };
            let inner = match inside.get(&Step::Index(i)) {
                Some(want) => self.difference(child, now, want),
                None => (!self.old.same(child, &self.new, now)).then(Path::root),
            };
            if let Some(inner) = inner {
                return Some(path().join(&inner));
            }
            count += 1;
        }
        for (step, want) in inside.range(Step::Index(count)..) {
            let wanted = want.apply(None).unwrap_or(Value::Null);
            if !now.next().is_some_and(|now| self.new.eq(now, &wanted)) {
                return Some(Path::from(vec![step.clone()]));
            }
        }
        now.next().is_some().then(Path::root)
    }
}
