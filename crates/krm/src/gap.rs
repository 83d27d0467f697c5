//! Finding one's way in the text between two nodes: blanks, comments, indicators.

/// The byte at an offset; 0 behind the end.
pub(crate) fn byte(text: &str, at: usize) -> u8 {
    text.as_bytes().get(at).copied().unwrap_or(0)
}

/// Over blanks, line ends and comments.
pub(crate) fn skip(text: &str, from: usize) -> usize {
    let mut at = from;
    loop {
        match byte(text, at) {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'#' if at == 0 || matches!(byte(text, at - 1), b' ' | b'\t' | b'\n' | b'\r') => {
                at = line_end(text, at)
            }
            0xef if text.get(at..).is_some_and(|t| t.starts_with('\u{feff}')) => at += 3,
            _ => return at,
        }
    }
}

/// Over blanks in the line.
pub(crate) fn skip_blanks(text: &str, from: usize) -> usize {
    let mut at = from;
    while matches!(byte(text, at), b' ' | b'\t') {
        at += 1;
    }
    at
}

/// Behind an anchor, tag or other token that ends at white space.
pub(crate) fn token_end(text: &str, from: usize) -> usize {
    let mut at = from;
    while !matches!(byte(text, at), b' ' | b'\t' | b'\n' | b'\r' | 0) {
        at += 1;
    }
    at
}

/// Over an anchor and a tag, in any order, and what stands before them; `from` if there are none.
pub(crate) fn skip_properties(text: &str, from: usize) -> usize {
    let mut end = from;
    loop {
        let at = skip(text, end);
        if !matches!(byte(text, at), b'&' | b'!') {
            return end;
        }
        end = token_end(text, at);
    }
}

/// Where the line of an offset starts.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.rfind(['\n', '\r']).map_or(0, |newline| newline + 1)
}

/// Where the line of an offset ends, before its line break.
pub(crate) fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find(['\n', '\r'])
        .map_or(text.len(), |newline| at + newline)
}

/// Where the line after that of an offset starts.
pub(crate) fn next_line(text: &str, at: usize) -> usize {
    behind_break(text, line_end(text, at))
}

/// Over one line break, if one stands there.
pub(crate) fn behind_break(text: &str, at: usize) -> usize {
    match (byte(text, at), byte(text, at + 1)) {
        (b'\r', b'\n') => at + 2,
        (b'\r' | b'\n', _) => at + 1,
        _ => at,
    }
}

/// Before one line break, if one ends there.
pub(crate) fn before_break(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before
        .strip_suffix("\r\n")
        .or_else(|| before.strip_suffix(['\n', '\r']))
        .map_or(at, str::len)
}

/// Bytes between the start of the line and an offset.
pub(crate) fn column(text: &str, at: usize) -> usize {
    let start = line_start(text, at);
    let bom = text.get(start..).is_some_and(|t| t.starts_with('\u{feff}'));
    (at - start).saturating_sub(if bom { 3 } else { 0 })
}

/// Whether nothing but blanks stands before an offset in its line.
pub(crate) fn is_first(text: &str, at: usize) -> bool {
    let start = line_start(text, at);
    text.get(start..at).is_some_and(|before| {
        before
            .trim_start_matches('\u{feff}')
            .bytes()
            .all(|b| b == b' ')
    })
}

/// What a whole line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Blank,
    /// A comment, its `#` in this column.
    Comment(usize),
    Other,
}

/// What the line that starts at an offset is.
pub(crate) fn line(text: &str, start: usize) -> Line {
    let at = skip_blanks(text, start);
    match byte(text, at) {
        b'#' => Line::Comment(at - start),
        b'\n' | b'\r' => Line::Blank,
        0 if at >= text.len() => Line::Blank,
        _ => Line::Other,
    }
}
