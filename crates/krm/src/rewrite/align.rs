//! Which items of an old list a new list keeps.

use std::collections::BTreeMap;

use serde_json::Value;

/// What an item is known by: its name, or its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Identity {
    Name(String),
    Scalar(String),
    None,
}

impl Identity {
    /// The identity of a list item.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Object(map) => {
                let text = |key: &str| map.get(key).and_then(Value::as_str);
                let metadata = |key: &str| {
                    map.get("metadata")
                        .and_then(|m| m.get(key))
                        .and_then(Value::as_str)
                };
                if let Some(path) = text("mountPath") {
                    return Self::Name(format!("mountPath/{path}"));
                }
                if let Some(name) = text("name") {
                    return Self::Name(format!("name/{name}"));
                }
                if let Some(name) = metadata("name") {
                    let kind = text("kind").unwrap_or_default();
                    let namespace = metadata("namespace").unwrap_or_default();
                    return Self::Name(format!("object/{kind}/{namespace}/{name}"));
                }
                if let Some(key) = text("key") {
                    return Self::Name(format!("key/{key}"));
                }
                Self::None
            }
            Value::Array(_) => Self::None,
            scalar => Self::Scalar(scalar.to_string()),
        }
    }
}

/// For each old item the new item it becomes, in rising order; `None`: it goes.
///
/// `equal` compares the values themselves and costs more than identities.
pub(crate) fn align(
    old: &[Identity],
    new: &[Identity],
    equal: &dyn Fn(usize, usize) -> bool,
) -> Vec<Option<usize>> {
    let mut matched = vec![None; old.len()];
    let mut head = 0;
    while head < old.len().min(new.len()) && equal(head, head) {
        set(&mut matched, head, head);
        head += 1;
    }
    let (mut old_end, mut new_end) = (old.len(), new.len());
    while old_end > head && new_end > head && equal(old_end - 1, new_end - 1) {
        old_end -= 1;
        new_end -= 1;
        set(&mut matched, old_end, new_end);
    }
    let middle_old = old.get(head..old_end).unwrap_or_default();
    let middle_new = new.get(head..new_end).unwrap_or_default();
    if middle_old.is_empty() || middle_new.is_empty() {
        return matched;
    }
    const TABLE: usize = 1 << 16;
    let pairs = if middle_old.len().saturating_mul(middle_new.len()) <= TABLE {
        longest(middle_old, middle_new, &|i, j| equal(i + head, j + head))
    } else {
        by_identity(middle_old, middle_new)
    };
    for &(i, j) in &pairs {
        set(&mut matched, i + head, j + head);
    }
    pair_leftovers(&mut matched, head..old_end, head..new_end, old, new);
    matched
}

fn set(matched: &mut [Option<usize>], i: usize, j: usize) {
    if let Some(entry) = matched.get_mut(i) {
        *entry = Some(j);
    }
}

/// The heaviest common subsequence: equal items weigh more than items of the same name.
fn longest(
    old: &[Identity],
    new: &[Identity],
    equal: &dyn Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    const EQUAL: u32 = 3;
    const SAME_NAME: u32 = 2;
    let width = new.len() + 1;
    let mut weights = vec![0u32; old.len() * new.len()];
    for (i, a) in old.iter().enumerate() {
        for (j, b) in new.iter().enumerate() {
            let weight = match (a, b) {
                (Identity::Name(a), Identity::Name(b)) if a == b => {
                    if equal(i, j) {
                        EQUAL
                    } else {
                        SAME_NAME
                    }
                }
                (Identity::Scalar(a), Identity::Scalar(b)) if a == b => EQUAL,
                (Identity::None, Identity::None) if equal(i, j) => EQUAL,
                _ => 0,
            };
            if let Some(w) = weights.get_mut(i * new.len() + j) {
                *w = weight;
            }
        }
    }
    let weight = |i: usize, j: usize| weights.get(i * new.len() + j).copied().unwrap_or(0);
    let mut best = vec![0u32; (old.len() + 1) * width];
    let read = |best: &[u32], i: usize, j: usize| best.get(i * width + j).copied().unwrap_or(0);
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let mut value = read(&best, i + 1, j).max(read(&best, i, j + 1));
            let w = weight(i, j);
            if w > 0 {
                value = value.max(read(&best, i + 1, j + 1) + w);
            }
            if let Some(cell) = best.get_mut(i * width + j) {
                *cell = value;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut pairs = Vec::new();
    while i < old.len() && j < new.len() {
        let w = weight(i, j);
        let here = read(&best, i, j);
        if w > 0 && here == read(&best, i + 1, j + 1) + w {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if here == read(&best, i + 1, j) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

/// For long lists: items of the same identity, as far as their order agrees.
fn by_identity(old: &[Identity], new: &[Identity]) -> Vec<(usize, usize)> {
    let mut places: BTreeMap<&Identity, Vec<usize>> = BTreeMap::new();
    for (j, identity) in new.iter().enumerate().rev() {
        if *identity != Identity::None {
            places.entry(identity).or_default().push(j);
        }
    }
    let mut pairs = Vec::new();
    let mut next = 0;
    for (i, identity) in old.iter().enumerate() {
        let Some(list) = places.get_mut(identity) else {
            continue;
        };
        while list.last().is_some_and(|j| *j < next) {
            list.pop();
        }
        if let Some(j) = list.pop() {
            pairs.push((i, j));
            next = j + 1;
        }
    }
    pairs
}

/// Items without a name that stand between the same neighbours are the same item, changed.
fn pair_leftovers(
    matched: &mut [Option<usize>],
    old_range: std::ops::Range<usize>,
    new_range: std::ops::Range<usize>,
    old: &[Identity],
    new: &[Identity],
) {
    let anonymous =
        |identity: Option<&Identity>| !matches!(identity, Some(Identity::Name(_)) | None);
    let mut from = new_range.start;
    let mut i = old_range.start;
    while i < old_range.end {
        if let Some(j) = matched.get(i).copied().flatten() {
            from = j + 1;
            i += 1;
            continue;
        }
        // A run of unmatched old items and the unmatched new items before the next match.
        let run_end = (i..old_range.end)
            .find(|k| matched.get(*k).copied().flatten().is_some())
            .unwrap_or(old_range.end);
        let limit = matched
            .get(run_end)
            .copied()
            .flatten()
            .filter(|_| run_end < old_range.end)
            .unwrap_or(new_range.end);
        for k in i..run_end {
            if from < limit && anonymous(old.get(k)) && anonymous(new.get(from)) {
                set(matched, k, from);
                from += 1;
            }
        }
        i = run_end;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(old: &Value, new: &Value) -> Vec<Option<usize>> {
        let (old, new) = (old.as_array().unwrap(), new.as_array().unwrap());
        let identities = |items: &[Value]| items.iter().map(Identity::of).collect::<Vec<_>>();
        align(&identities(old), &identities(new), &|i, j| old[i] == new[j])
    }

    #[test]
    fn inserts_and_removals_keep_the_rest() {
        let a = |name: &str, image: &str| json!({"name": name, "image": image});
        let old = json!([a("web", "1"), a("log", "1")]);
        assert_eq!(
            run(&old, &json!([a("init", "9"), a("web", "2"), a("log", "1")])),
            [Some(1), Some(2)]
        );
        assert_eq!(run(&old, &json!([a("log", "1")])), [None, Some(0)]);
        assert_eq!(run(&old, &json!([])), [None, None]);
        assert_eq!(run(&json!([]), &old), []);
    }

    #[test]
    fn scalars_are_changed_in_place() {
        assert_eq!(
            run(&json!(["a", "b", "c"]), &json!(["a", "x", "c"])),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(
            run(&json!(["a", "b", "c"]), &json!(["c", "d"])),
            [None, None, Some(0)]
        );
    }

    #[test]
    fn mounts_of_one_volume_differ() {
        let m = |path: &str| json!({"name": "v", "mountPath": path});
        assert_eq!(
            run(&json!([m("/a"), m("/b")]), &json!([m("/b"), m("/c")])),
            [None, Some(0)]
        );
    }

    #[test]
    fn long_lists_stay_linear() {
        let named = |from: usize| {
            json!(
                (from..from + 20_000)
                    .map(|i| json!({"name": i.to_string(), "x": from}))
                    .collect::<Vec<_>>()
            )
        };
        let matched = run(&named(0), &named(1));
        assert_eq!(matched[0], None);
        assert_eq!(matched[1], Some(0));
        assert_eq!(matched[19_999], Some(19_998));
    }
}
