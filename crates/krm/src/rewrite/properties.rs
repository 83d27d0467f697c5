//! Random documents in random styles, random edits: what the result must be is known.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Map, Value};

use super::fine;
use crate::emit::{FlowStyle, Place, double_quoted, flow, is_plain, single_quoted};
use crate::path::{Path, Step};
use crate::stream::Stream;

/// Writes a value in styles that a list of choices picks.
struct Styled<'c> {
    choices: std::iter::Cycle<std::slice::Iter<'c, u8>>,
    newline: &'static str,
    out: String,
}

impl Styled<'_> {
    fn choose(&mut self, among: u8) -> u8 {
        self.choices.next().copied().unwrap_or(0) % among
    }

    fn line(&mut self, column: usize) {
        self.out.push_str(self.newline);
        if self.choose(9) == 0 {
            self.out.push_str(self.newline);
        }
        if self.choose(7) == 0 {
            self.out.push_str(&" ".repeat(column));
            self.out.push_str("# about the next: [x] {y} \"z");
            self.out.push_str(self.newline);
        }
        self.out.push_str(&" ".repeat(column));
    }

    fn trailing(&mut self) {
        if self.choose(6) == 0 {
            self.out.push_str("  # trailing: 'comment'");
        }
    }

    fn scalar(&mut self, text: &str, place: Place) {
        let written = match self.choose(3) {
            0 => double_quoted(text),
            1 => single_quoted(text).unwrap_or_else(|| double_quoted(text)),
            _ if is_plain(text, place) => text.to_owned(),
            _ => double_quoted(text),
        };
        self.out.push_str(&written);
    }

    fn value(&mut self, value: &Value, column: usize, under_dash: bool) {
        match value {
            Value::Object(map) if !map.is_empty() && self.choose(5) > 0 => {
                let step = [1, 2, 2, 4][usize::from(self.choose(4))];
                let inner = if under_dash && self.choose(3) > 0 {
                    self.out.push(' ');
                    column + 2
                } else {
                    self.trailing();
                    self.line(column + step);
                    column + step
                };
                self.map(map, inner);
            }
            Value::Array(items) if !items.is_empty() && self.choose(5) > 0 => {
                let inner = if under_dash && self.choose(3) > 0 {
                    self.out.push(' ');
                    column + 2
                } else {
                    let inner = if under_dash {
                        column + 1
                    } else {
                        column + usize::from(self.choose(3))
                    };
                    self.trailing();
                    self.line(inner);
                    inner
                };
                self.seq(items, inner);
            }
            Value::String(text) if crate::emit::is_literal(text) && self.choose(3) > 0 => {
                let body = text.strip_suffix('\n');
                let header = [if body.is_some() { "|" } else { "|-" }, " # header"];
                self.out.push(' ');
                self.out.push_str(header[0]);
                if self.choose(4) == 0 {
                    self.out.push_str(header[1]);
                }
                for line in body.unwrap_or(text).split('\n') {
                    self.out.push_str(self.newline);
                    if !line.is_empty() {
                        self.out.push_str(&" ".repeat(column + 2));
                        self.out.push_str(line);
                    }
                }
            }
            Value::String(text) => {
                self.out.push(' ');
                self.scalar(text, Place::Value);
                self.trailing();
            }
            Value::Null if self.choose(2) == 0 => self.trailing(),
            other => {
                let json = self.choose(3) == 0;
                let spaced = self.choose(2) == 0;
                self.out.push(' ');
                let style = FlowStyle {
                    json,
                    spaced: spaced || !json,
                    place: Place::Value,
                };
                self.out.push_str(&flow(other, style, None));
                self.trailing();
            }
        }
    }

    fn map(&mut self, map: &Map<String, Value>, column: usize) {
        for (i, (key, value)) in map.iter().enumerate() {
            if i > 0 {
                self.line(column);
            }
            self.scalar(key, Place::Key);
            self.out.push(':');
            self.value(value, column, false);
        }
    }

    fn seq(&mut self, items: &[Value], column: usize) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.line(column);
            }
            self.out.push('-');
            self.value(item, column, true);
        }
    }
}

fn scalar_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,6}",
        1 => Just(String::new()),
        2 => prop::sample::select(vec![
            "yes", "n", "~", "0755", "1e3", "a: b", "x #y", "- z", "{a", "it's", "\"q\"", " lead", "trail ", "a\tb",
            "nginx:1.25", "--flag", "*x", "&x", "!t", "%d", "@at", "`b", "é", "\u{85}", "\u{2028}", "a,b", "[x]",
            "2001-01-01", "22:22", "#", "---", "...", "key:", "?", "😀", "\u{7f}", "\\", "a\\nb",
        ])
        .prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "one\ntwo\n", "one\ntwo", "\n", "\n\nx\n", "a\n\nb\n", "x\n\n", " ind\nx\n", "t \ns\n", "a\n  b\n# c\n", "a\r\nb",
        ])
        .prop_map(str::to_owned),
    ]
}

fn value(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => scalar_text().prop_map(Value::String),
        1 => any::<i32>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => Just(Value::Null),
        1 => Just(serde_json::json!(1.5)),
    ];
    leaf.prop_recursive(depth, 40, 5, |inner| {
        let key = scalar_text().prop_filter("keys on one line", |key| !key.contains('\n') && key.len() < 40);
        prop_oneof![
            3 => prop::collection::vec((key, inner.clone()), 0..5).prop_map(|entries| Value::Object(entries.into_iter().collect())),
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            1 => prop::collection::vec(("[a-c]", inner), 1..4).prop_map(|items| {
                Value::Array(items.into_iter().map(|(name, v)| serde_json::json!({"name": name, "v": v})).collect())
            }),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    prop::collection::vec(("[a-z]{1,5}", value(4)), 1..5)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

/// The document in some style.
fn styled(value: &Value, choices: &[u8]) -> String {
    let mut styled = Styled {
        choices: choices.iter().cycle(),
        newline: "\n",
        out: String::new(),
    };
    if styled.choose(4) == 0 {
        styled.newline = "\r\n";
    }
    let newline = styled.newline;
    if styled.choose(4) == 0 {
        styled.out.push_str("# Source: x.yaml");
        styled.out.push_str(newline);
    }
    if styled.choose(3) == 0 {
        styled.out.push_str("---");
        styled.out.push_str(newline);
    }
    if let Value::Object(map) = value {
        styled.map(map, 0);
    }
    // A literal whose value ends with a newline needs one in the text.
    if styled.choose(4) > 0 || styled.out.contains('|') {
        styled.out.push_str(newline);
    }
    if styled.choose(5) == 0 && styled.out.ends_with('\n') {
        styled.out.push_str("# the end");
    }
    styled.out
}

/// All paths of a value.
fn paths(value: &Value, at: &Path, found: &mut Vec<Path>) {
    found.push(at.clone());
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, v)| paths(v, &at.key(key), found)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(i, v)| paths(v, &at.index(i), found)),
        _ => {}
    }
}

fn at_mut<'v>(value: &'v mut Value, path: &Path) -> &'v mut Value {
    path.steps().iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

fn parse(text: &str) -> Result<Stream, TestCaseError> {
    Stream::parse(text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn styled_documents_are_read_as_meant(value in document(), choices in prop::collection::vec(any::<u8>(), 1..60)) {
        let text = styled(&value, &choices);
        let stream = parse(&text)?;
        prop_assert_eq!(stream.documents().len(), 1, "{}", text);
        prop_assert_eq!(stream.documents()[0].value(&Path::root()), Some(value), "{}", text);
        prop_assert_eq!(stream.render(&Default::default(), &[]), text);
    }

    #[test]
    fn one_node_replaced(
        (mut value, new) in (document(), value(3)),
        choices in prop::collection::vec(any::<u8>(), 1..60),
        pick in any::<prop::sample::Index>(),
    ) {
        let text = styled(&value, &choices);
        let stream = parse(&text)?;
        let mut all = Vec::new();
        paths(&value, &Path::root(), &mut all);
        all.remove(0);
        let path = pick.get(&all).clone();
        let edited = fine(&stream.documents()[0], &[(path.clone(), new.clone())])
            .map_err(|e| TestCaseError::fail(format!("{path} = {new}: {e}\nof:\n{text}")))?;
        *at_mut(&mut value, &path) = new;
        let read = parse(&edited)?;
        prop_assert_eq!(read.documents()[0].value(&Path::root()), Some(value), "{}", edited);
        // Everything before the line of the node's top-level key is as it was.
        let top = Path::from(path.steps()[..1].to_vec());
        let line = stream.documents()[0].position(&top).line as usize - 1;
        let before: Vec<&str> = text.split_inclusive('\n').take(line).collect();
        prop_assert!(edited.starts_with(&before.concat()), "{}\nof:\n{}", edited, text);
    }

    #[test]
    fn any_document_into_any_other(
        (old, new) in (document(), document()),
        choices in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let text = styled(&old, &choices);
        let stream = parse(&text)?;
        fine(&stream.documents()[0], &[(Path::root(), new.clone())])
            .map_err(|e| TestCaseError::fail(format!("{new}: {e}\nof:\n{text}")))?;
    }

    #[test]
    fn entries_added_and_taken_away(
        old in document(),
        choices in prop::collection::vec(any::<u8>(), 1..60),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, "[a-e]", value(2)), 1..5),
    ) {
        let text = styled(&old, &choices);
        let stream = parse(&text)?;
        let mut new = old.clone();
        for (pick, what, key, v) in changes {
            let mut all = Vec::new();
            paths(&new, &Path::root(), &mut all);
            match (what, at_mut(&mut new, pick.get(&all))) {
                (0, Value::Object(map)) => { map.insert(key, v); }
                (1, Value::Object(map)) => { let first = map.keys().next().cloned(); first.map(|k| map.shift_remove(&k)); }
                (2, Value::Object(map)) => { let last = map.keys().next_back().cloned(); last.map(|k| map.shift_remove(&k)); }
                (0, Value::Array(items)) => items.insert(0, v),
                (1, Value::Array(items)) => { items.pop(); }
                (2, Value::Array(items)) if !items.is_empty() => { items.remove(0); }
                (3, Value::Array(items)) => items.push(v),
                _ => {}
            }
        }
        if new.as_object().is_none_or(Map::is_empty) {
            return Ok(());
        }
        let edited = fine(&stream.documents()[0], &[(Path::root(), new.clone())])
            .map_err(|e| TestCaseError::fail(format!("{new}: {e}\nof:\n{text}")))?;
        // Again is nothing.
        let again = parse(&edited)?;
        let same = fine(&again.documents()[0], &[(Path::root(), new)]).map_err(TestCaseError::fail)?;
        prop_assert_eq!(same, edited);
    }

    #[test]
    fn parallel_is_serial(values in prop::collection::vec(document(), 1..6), choices in prop::collection::vec(any::<u8>(), 1..60)) {
        let mut text = String::new();
        for value in &values {
            if !text.is_empty() {
                if !text.ends_with('\n') { text.push('\n'); }
                text.push_str("---\n");
            }
            let one = styled(value, &choices);
            text.push_str(one.strip_prefix("---\n").unwrap_or(&one));
        }
        let stream = parse(&text)?;
        prop_assert_eq!(stream.render(&Default::default(), &[]), text.clone());
        let read: Vec<_> = stream.documents().iter().filter(|d| !d.is_empty()).filter_map(|d| d.value(&Path::root())).collect();
        prop_assert_eq!(read, values, "{}", text);
    }

    #[test]
    fn emitted_values_are_read_back(value in value(5)) {
        let text = crate::emit::emit(&value);
        let stream = parse(&text)?;
        let read = stream.documents().first().and_then(|d| d.value(&Path::root()));
        prop_assert_eq!(read, Some(value), "{}", text);
    }
}
