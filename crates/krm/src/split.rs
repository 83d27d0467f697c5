//! Cutting a stream into documents before any parsing, so that they can be parsed side by side.

/// Where the parts of a text start that can be parsed one by one; the first is 0.
///
/// A line that starts with `---` and a blank is a document marker wherever it stands: block
/// scalars end there and quoted or flow text may not contain one. Directives before a marker
/// belong to it. The error is a line that only starts like a marker.
pub(crate) fn starts(text: &str) -> Result<Vec<usize>, usize> {
    let mut starts = vec![0];
    let bom = if text.starts_with('\u{feff}') { 3 } else { 0 };
    if text.get(bom..).is_some_and(|t| t.starts_with("---")) && !marker_at(text, bom) {
        return Err(bom);
    }
    let mut content = has_content(text, 0, marker_at(text, 0).then_some(0));
    for (at, _) in text.match_indices("\n---") {
        let line = at + 1;
        if !marker_at(text, line) {
            return Err(line);
        }
        let previous = starts.last().copied().unwrap_or(0);
        if !content {
            content = has_content(text, previous, Some(line));
        }
        let start = directives_start(text, previous, line);
        if content && start > previous {
            starts.push(start);
        }
        content = true;
    }
    Ok(starts)
}

/// Whether the line at `line` is a document marker.
fn marker_at(text: &str, line: usize) -> bool {
    text.get(line..)
        .and_then(|rest| rest.strip_prefix("---"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
}

/// Whether anything but comments and directives stands before the first marker.
fn has_content(text: &str, from: usize, marker: Option<usize>) -> bool {
    let Some(marker) = marker else { return false };
    text.get(from..marker).is_some_and(|prefix| {
        prefix
            .trim_start_matches('\u{feff}')
            .split(['\n', '\r'])
            .any(|line| {
                !matches!(
                    line.trim_start_matches([' ', '\t']).bytes().next(),
                    None | Some(b'#' | b'%')
                )
            })
    }) || from == marker
}

/// Goes back from a marker over the directives (and the comments between them) that belong to it.
fn directives_start(text: &str, from: usize, marker: usize) -> usize {
    let Some(before) = text.get(from..marker) else {
        return marker;
    };
    let mut rest = before;
    let mut directives = false;
    while let Some(body) = rest.strip_suffix('\n') {
        let body = body.strip_suffix('\r').unwrap_or(body);
        let line = body
            .rfind('\n')
            .map_or(body, |at| body.get(at + 1..).unwrap_or_default());
        if line.starts_with('%') {
            directives = true;
        } else if line.starts_with("...") {
            return if directives {
                from + rest.len()
            } else {
                marker
            };
        } else if !line.trim_start_matches([' ', '\t']).starts_with('#') && !line.trim().is_empty()
        {
            return marker;
        }
        rest = body.strip_suffix(line).unwrap_or_default();
    }
    if directives && rest.is_empty() {
        from
    } else {
        marker
    }
}

#[cfg(test)]
mod tests {
    use super::starts;

    fn parts(text: &str) -> Vec<&str> {
        let starts = starts(text).unwrap();
        let ends = starts.iter().copied().skip(1).chain([text.len()]);
        starts.iter().zip(ends).map(|(a, b)| &text[*a..b]).collect()
    }

    #[test]
    fn at_markers_only() {
        assert_eq!(
            parts("a: 1\n---\nb: 2\n--- # c\nc: 3\n"),
            ["a: 1\n", "---\nb: 2\n", "--- # c\nc: 3\n"]
        );
        assert_eq!(
            parts("a: |\n  x\n ---\n  ---x\n"),
            ["a: |\n  x\n ---\n  ---x\n"]
        );
        assert_eq!(starts("a: 1\n---x: 2\n"), Err(5));
        assert_eq!(starts("----\n"), Err(0));
        assert_eq!(parts("---\n---\n---"), ["---\n", "---\n", "---"]);
        assert_eq!(parts(""), [""]);
        assert_eq!(parts("a: 1\r\n---\r\nb: 2"), ["a: 1\r\n", "---\r\nb: 2"]);
    }

    #[test]
    fn leading_comments_stay_with_the_first_document() {
        assert_eq!(
            parts("# licence\n\n---\na: 1\n---\nb: 2\n"),
            ["# licence\n\n---\na: 1\n", "---\nb: 2\n"]
        );
        assert_eq!(parts("\u{feff}---\na: 1\n"), ["\u{feff}---\na: 1\n"]);
    }

    #[test]
    fn directives_belong_to_the_next_marker() {
        assert_eq!(
            parts("%YAML 1.1\n---\na: 1\n...\n# x\n%TAG ! tag:x,1:\n---\nb: 2\n"),
            [
                "%YAML 1.1\n---\na: 1\n...\n",
                "# x\n%TAG ! tag:x,1:\n---\nb: 2\n"
            ]
        );
        assert_eq!(
            parts("a: |\n %x\n---\nb: 2\n"),
            ["a: |\n %x\n", "---\nb: 2\n"]
        );
    }
}
