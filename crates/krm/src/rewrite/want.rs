//! What is wanted of each node.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::path::{Path, Step};

/// A change of a node, and of nodes inside it.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// Reads as this value.
    Value(Value),
    /// Changes inside; the rest stays.
    Inside(BTreeMap<Step, Want>),
    /// Is not there.
    Absent,
}

impl Want {
    /// All edits of a document in one tree; later ones win.
    pub(crate) fn new(edits: impl IntoIterator<Item = (Path, Want)>) -> Self {
        let mut root = Self::Inside(BTreeMap::new());
        for (path, want) in edits {
            root.put(path.steps(), want);
        }
        root
    }

    /// Whether nothing is wanted.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Self::Inside(inside) if inside.is_empty())
    }

    fn put(&mut self, steps: &[Step], want: Want) {
        let Some((step, rest)) = steps.split_first() else {
            *self = want;
            return;
        };
        match self {
            Self::Inside(inside) => inside
                .entry(step.clone())
                .or_insert_with(|| Self::Inside(BTreeMap::new()))
                .put(rest, want),
            Self::Value(value) => {
                let mut inner = Self::Inside(BTreeMap::new());
                inner.put(steps, want);
                // An edit inside a value that an earlier edit sets.
                if let Some(changed) = inner.apply(Some(std::mem::take(value))) {
                    *value = changed;
                }
            }
            Self::Absent => {
                *self = Self::Inside(BTreeMap::new());
                self.put(steps, want);
            }
        }
    }

    /// The value after the change; `None`: absent. Steps that do not fit make what they need.
    pub(crate) fn apply(&self, old: Option<Value>) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Absent => None,
            Self::Inside(inside) if inside.is_empty() => old,
            Self::Inside(inside) => {
                let mut value = old.unwrap_or(Value::Null);
                for (step, want) in inside {
                    match step {
                        Step::Key(key) => {
                            if !value.is_object() {
                                value = Value::Object(Map::new());
                            }
                            if let Value::Object(map) = &mut value {
                                match want.apply(map.get_mut(key).map(std::mem::take)) {
                                    Some(new) => {
                                        map.insert(key.clone(), new);
                                    }
                                    None => {
                                        map.shift_remove(key);
                                    }
                                }
                            }
                        }
                        Step::Index(index) => {
                            if !value.is_array() {
                                value = Value::Array(Vec::new());
                            }
                            if let Value::Array(items) = &mut value {
                                let old = items.get_mut(*index).map(std::mem::take);
                                let new = want.apply(old).unwrap_or(Value::Null);
                                match items.get_mut(*index) {
                                    Some(item) => *item = new,
                                    None => items.push(new),
                                }
                            }
                        }
                    }
                }
                Some(value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn edits_compose_in_order() {
        let path = |text: &str| text.parse::<Path>().unwrap();
        let want = Want::new([
            (path("a"), Want::Value(json!({"x": 1, "y": [1]}))),
            (path("a.y[0]"), Want::Value(json!(2))),
            (path("b[1]"), Want::Value(json!("new"))),
            (path("c.d"), Want::Value(json!(true))),
            (path("e"), Want::Absent),
        ]);
        let old = json!({"b": [0], "e": 1, "f": 2});
        assert_eq!(
            want.apply(Some(old)),
            Some(json!({"b": [0, "new"], "f": 2, "a": {"x": 1, "y": [2]}, "c": {"d": true}}))
        );
    }
}
