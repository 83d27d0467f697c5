//! Data as Rego text: sorted, wrapped, the same bytes for the same value.

use serde_json::Value;

/// Column after which an object or array is broken into lines.
const WIDTH: usize = 200;
/// Longest string literal that stays whole; regorus up to 0.9 reads at most 1024 columns.
const WHOLE: usize = 640;
/// Bytes of the pieces of a longer one.
const CHUNK: usize = 160;

/// Writes a value as a Rego term.
pub(crate) fn term(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0, 0);
    out
}

fn write(out: &mut String, value: &Value, depth: usize, used: usize) {
    if let Some(flat) = flat(value, WIDTH.saturating_sub(used)) {
        out.push_str(&flat);
        return;
    }
    match value {
        Value::Array(items) => {
            out.push_str("[\n");
            // Short items share lines.
            let mut column = 0;
            for item in items {
                let inline = flat(item, WIDTH.saturating_sub(depth + 1));
                let length = inline.as_ref().map_or(WIDTH, String::len);
                if column > 0 && column + length + 2 <= WIDTH {
                    out.push(' ');
                    column += 1;
                } else {
                    if column > 0 {
                        out.push('\n');
                    }
                    indent(out, depth + 1);
                    column = depth + 1;
                }
                match inline {
                    Some(text) => out.push_str(&text),
                    None => write(out, item, depth + 1, depth + 1),
                }
                out.push(',');
                column += length + 1;
            }
            out.push('\n');
            indent(out, depth);
            out.push(']');
        }
        Value::Object(members) => {
            out.push_str("{\n");
            let mut keys: Vec<_> = members.keys().collect();
            keys.sort_unstable();
            for key in keys {
                indent(out, depth + 1);
                let head = format!("{}: ", quote(key));
                out.push_str(&head);
                if let Some(item) = members.get(key) {
                    write(out, item, depth + 1, depth + 1 + head.len());
                }
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push('}');
        }
        Value::String(text) => {
            // A long string is joined from pieces, so that no line exceeds what regorus reads.
            out.push_str("concat(\"\", [\n");
            for piece in pieces(text) {
                indent(out, depth + 1);
                out.push_str(&quote(piece));
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push_str("])");
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The value on one line, if it fits into `room` columns.
fn flat(value: &Value, room: usize) -> Option<String> {
    if let Value::String(text) = value {
        let quoted = quote(text);
        return (quoted.len() <= room.max(WHOLE)).then_some(quoted);
    }
    let mut out = String::with_capacity(room.min(2 * WIDTH));
    fits(&mut out, value, room).then_some(out)
}

/// Writes a value on one line; gives up as soon as it is longer than `room`.
fn fits(out: &mut String, value: &Value, room: usize) -> bool {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                if !fits(out, item, room) {
                    return false;
                }
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut keys: Vec<_> = members.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&quote(key));
                out.push_str(": ");
                if !members.get(key).is_some_and(|item| fits(out, item, room)) {
                    return false;
                }
            }
            out.push('}');
        }
        // Quoting only makes it longer.
        Value::String(text) if text.len() > room => return false,
        Value::String(text) => out.push_str(&quote(text)),
        other => out.push_str(&other.to_string()),
    }
    out.len() <= room
}

fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// Cuts a text into pieces of at most [`CHUNK`] bytes, between characters.
fn pieces(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(CHUNK);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        // A piece of control characters grows sixfold when quoted: 160 * 6 < 1024.
        let (piece, tail) = rest.split_at(end);
        out.push(piece);
        rest = tail;
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n('\t', depth));
}
