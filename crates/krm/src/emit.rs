//! Writing values as YAML that every reader in a pipeline takes for the same.

use serde_json::{Map, Value};

use crate::scalar;

/// Keys beyond this length need the `? key` form: readers look no further than 1024 characters for
/// the colon.
const LONG_KEY: usize = 1000;

/// Sequence indentation under a mapping key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeqIndent {
    /// Dashes below the key.
    Compact,
    /// Dashes one step further in.
    Wide,
}

/// How block text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) step: usize,
    pub(crate) seq: SeqIndent,
    pub(crate) newline: &'static str,
}

impl Layout {
    /// What kubectl and kustomize write.
    pub(crate) const DEFAULT: Self = Self {
        step: 2,
        seq: SeqIndent::Compact,
        newline: "\n",
    };

    /// The column of the dashes of a sequence whose key stands at `column`.
    pub(crate) fn dash(&self, column: usize) -> usize {
        match self.seq {
            SeqIndent::Compact => column,
            SeqIndent::Wide => column + self.step,
        }
    }
}

/// A value as a new document in block style, with a final newline and without a marker.
///
/// Strings that YAML 1.1 or 1.2 would read as something else are quoted.
///
/// ```
/// use serde_json::json;
///
/// let text = nacre_krm::emit(&json!({"a": "yes", "b": [1, "0755"], "c": "x\ny\n"}));
/// assert_eq!(text, "a: \"yes\"\nb:\n- 1\n- \"0755\"\nc: |\n  x\n  y\n");
/// ```
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    Emitter::new(&mut out, Layout::DEFAULT, true).under_marker(value);
    out.push('\n');
    out
}

/// Writes block style at columns that the caller knows.
pub(crate) struct Emitter<'o> {
    pub(crate) out: &'o mut String,
    layout: Layout,
    /// Whether block scalars may be used.
    literals: bool,
    /// The text ends in a block scalar whose value ends with the newline that must follow.
    pub(crate) ends_open: bool,
}

impl Emitter<'_> {
    pub(crate) fn new<'o>(out: &'o mut String, layout: Layout, literals: bool) -> Emitter<'o> {
        Emitter {
            out,
            layout,
            literals,
            ends_open: false,
        }
    }

    /// The value of a document, from the first column.
    pub(crate) fn under_marker(&mut self, value: &Value) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, 0),
            Value::Array(items) if !items.is_empty() => self.seq(items, 0),
            other => self
                .out
                .push_str(&flow(other, FlowStyle::BLOCK_SCALAR, None)),
        }
    }

    /// Entries of a mapping whose keys stand at `column`; the first at the current place.
    pub(crate) fn map(&mut self, map: &Map<String, Value>, column: usize) {
        for (i, (key, value)) in map.iter().enumerate() {
            if i > 0 {
                self.line(column);
            }
            self.entry(key, value, column);
        }
    }

    /// One entry of a mapping at `column`.
    pub(crate) fn entry(&mut self, key: &str, value: &Value, column: usize) {
        let key = string(key, Place::Key);
        if key.len() > LONG_KEY {
            self.out.push_str("? ");
            self.out.push_str(&key);
            self.line(column);
        } else {
            self.out.push_str(&key);
        }
        self.out.push(':');
        self.under_key(value, column);
    }

    /// What follows the colon of a key at `column`.
    pub(crate) fn under_key(&mut self, value: &Value, column: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                let inner = column + self.layout.step;
                self.line(inner);
                self.map(map, inner);
            }
            Value::Array(items) if !items.is_empty() => {
                let dash = self.layout.dash(column);
                self.line(dash);
                self.seq(items, dash);
            }
            other => {
                self.out.push(' ');
                self.inline(other, column);
            }
        }
    }

    /// Items of a sequence whose dashes stand at `column`; the first at the current place.
    pub(crate) fn seq(&mut self, items: &[Value], column: usize) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.line(column);
            }
            self.out.push('-');
            self.under_dash(item, column);
        }
    }

    /// What follows the dash of an item at `column`.
    pub(crate) fn under_dash(&mut self, item: &Value, column: usize) {
        self.out.push(' ');
        match item {
            Value::Object(map) if !map.is_empty() => self.map(map, column + 2),
            Value::Array(items) if !items.is_empty() => self.seq(items, column + 2),
            other => self.inline(other, column),
        }
    }

    /// A scalar or an empty collection; the parent stands at `column`.
    fn inline(&mut self, value: &Value, column: usize) {
        self.ends_open = false;
        if let Value::String(text) = value
            && self.literals
            && is_literal(text)
        {
            return self.literal(text, column + self.layout.step);
        }
        self.out
            .push_str(&flow(value, FlowStyle::BLOCK_SCALAR, None));
    }

    /// A literal block scalar with its lines at `column`.
    fn literal(&mut self, text: &str, column: usize) {
        let body = text.strip_suffix('\n');
        self.ends_open = body.is_some();
        self.out.push_str(if body.is_some() { "|" } else { "|-" });
        for line in body.unwrap_or(text).split('\n') {
            if line.is_empty() {
                self.out.push_str(self.layout.newline);
            } else {
                self.line(column);
                self.out.push_str(line);
            }
        }
    }

    fn line(&mut self, column: usize) {
        self.out.push_str(self.layout.newline);
        self.out.extend(std::iter::repeat_n(' ', column));
    }
}

/// Whether a text is exactly what a literal block of it reads as, and reads well so.
pub(crate) fn is_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !body.is_empty()
        && !body.ends_with('\n')
        && !body.trim_start_matches('\n').starts_with([' ', '\t'])
        && text
            .chars()
            .all(|c| c == '\n' || c == '\t' || is_printable(c))
        && body
            .split('\n')
            .all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty())
}

/// Where a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A mapping key in block style.
    Key,
    /// A value in block style.
    Value,
    /// Inside `[]` or `{}`.
    Flow,
}

/// How flow style is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowStyle {
    /// Quote every string and key, as JSON does.
    pub(crate) json: bool,
    /// A blank behind colons and commas.
    pub(crate) spaced: bool,
    pub(crate) place: Place,
}

impl FlowStyle {
    /// A scalar or an empty collection in block style.
    pub(crate) const BLOCK_SCALAR: Self = Self {
        json: false,
        spaced: true,
        place: Place::Value,
    };
}

/// Flow style over many lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pretty {
    /// Indentation of the line on which the value starts.
    pub(crate) indent: usize,
    pub(crate) step: usize,
    pub(crate) newline: &'static str,
}

/// A value in flow style: on one line, unless it is to be pretty.
pub(crate) fn flow(value: &Value, style: FlowStyle, pretty: Option<Pretty>) -> String {
    let mut out = String::new();
    flow_into(&mut out, value, style, pretty);
    out
}

fn flow_into(out: &mut String, value: &Value, style: FlowStyle, pretty: Option<Pretty>) {
    let style_inside = FlowStyle {
        place: Place::Flow,
        ..style
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => out.push_str(&scalar_text(text, style)),
        Value::Array(items) => {
            let write =
                |out: &mut String, item: &Value, pretty| flow_into(out, item, style_inside, pretty);
            bracketed(out, ['[', ']'], items.iter(), style, pretty, write);
        }
        Value::Object(map) => {
            let write = |out: &mut String, (key, item): (&String, &Value), pretty| {
                flow_entry(out, key, item, style_inside, pretty);
            };
            bracketed(out, ['{', '}'], map.iter(), style, pretty, write);
        }
    }
}

fn bracketed<T>(
    out: &mut String,
    [open, close]: [char; 2],
    items: impl ExactSizeIterator<Item = T>,
    style: FlowStyle,
    pretty: Option<Pretty>,
    write: impl Fn(&mut String, T, Option<Pretty>),
) {
    let pretty = pretty.filter(|_| items.len() > 0);
    let inner = pretty.map(|p| Pretty {
        indent: p.indent + p.step,
        ..p
    });
    let line = |out: &mut String, pretty: Option<Pretty>| {
        if let Some(pretty) = pretty {
            out.push_str(pretty.newline);
            out.extend(std::iter::repeat_n(' ', pretty.indent));
        }
    };
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push_str(if style.spaced && pretty.is_none() {
                ", "
            } else {
                ","
            });
        }
        line(out, inner);
        write(out, item, inner);
    }
    line(out, pretty);
    out.push(close);
}

/// `key: value` inside braces.
pub(crate) fn flow_entry(
    out: &mut String,
    key: &str,
    value: &Value,
    style: FlowStyle,
    pretty: Option<Pretty>,
) {
    let style = FlowStyle {
        place: Place::Flow,
        ..style
    };
    let key = scalar_text(key, style);
    if key.len() > LONG_KEY && !style.json {
        out.push_str("? ");
    }
    out.push_str(&key);
    // Without a blank behind it, a colon ends a quoted key only.
    out.push_str(if style.spaced || !key.starts_with('"') {
        ": "
    } else {
        ":"
    });
    flow_into(out, value, style, pretty);
}

fn scalar_text(text: &str, style: FlowStyle) -> String {
    if style.json {
        double_quoted(text)
    } else {
        string(text, style.place)
    }
}

/// A number in a form that reads back as the same number.
fn number_text(number: &serde_json::Number) -> String {
    if let Some(f) = number.as_f64()
        && number.is_f64()
        && let Some(whole) = scalar::float_number(f).filter(|n| !n.is_f64())
    {
        return whole.to_string();
    }
    number.to_string()
}

/// A string: plain where every reader takes it for the same string, in double quotes otherwise.
pub(crate) fn string(text: &str, place: Place) -> String {
    if is_plain(text, place) {
        text.to_owned()
    } else {
        double_quoted(text)
    }
}

/// Whether a string can stand without quotes.
pub(crate) fn is_plain(text: &str, place: Place) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    let indicator = match first {
        b'-' => {
            !matches!(bytes.get(1), Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/' | b'.'))
        }
        b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\''
        | b'"' | b'%' | b'@' | b'`' | b'?' | b':' | b' ' => true,
        _ => false,
    };
    let flow_unsafe = |text: &str| text.contains([',', '[', ']', '{', '}']);
    !indicator
        && !matches!(last, b' ' | b':')
        && !text.starts_with("---")
        && !text.starts_with("...")
        && !text.contains(": ")
        && !text.contains(" #")
        && text.chars().all(is_printable)
        && !(place == Place::Flow && flow_unsafe(text))
        && !scalar::is_ambiguous(text)
}

/// Characters that stand for themselves in every reader; not tab, not any line separator.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => false,
        // Invisible direction marks would let text look like something else.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        c => c >= '\u{a0}',
    }
}

/// A string in single quotes; `None` if it has characters that need escapes.
pub(crate) fn single_quoted(text: &str) -> Option<String> {
    text.chars()
        .all(is_printable)
        .then(|| format!("'{}'", text.replace('\'', "''")))
}

/// A string in double quotes; the escapes are those of JSON.
pub(crate) fn double_quoted(text: &str) -> String {
    use std::fmt::Write as _;

    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}
