//! Replacing ranges of a text in one pass.

use std::ops::Range;

/// A range of the text and what stands there afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splice {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

/// The text of `within` after the splices; those at one place keep their order. `None`: two
/// splices overlap, or one lies outside.
pub(crate) fn apply(text: &str, within: Range<usize>, splices: &mut [Splice]) -> Option<String> {
    splices.sort_by_key(|s| (s.range.start, s.range.end));
    let added: usize = splices.iter().map(|s| s.text.len()).sum();
    let mut out = String::with_capacity(within.len() + added);
    let mut at = within.start;
    for splice in splices.iter() {
        if splice.range.end < splice.range.start || splice.range.end > within.end {
            return None;
        }
        out.push_str(text.get(at..splice.range.start)?);
        out.push_str(&splice.text);
        at = splice.range.end;
    }
    out.push_str(text.get(at..within.end)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(range: Range<usize>, text: &str) -> Splice {
        Splice {
            range,
            text: text.to_owned(),
        }
    }

    #[test]
    fn in_order_and_checked() {
        let mut splices = [
            splice(4..6, "X"),
            splice(1..1, "a"),
            splice(1..1, "b"),
            splice(6..6, "c"),
        ];
        assert_eq!(
            apply("012345678", 1..8, &mut splices).as_deref(),
            Some("ab123Xc67")
        );
        assert_eq!(
            apply("0123", 0..4, &mut [splice(0..2, ""), splice(1..3, "")]),
            None
        );
        assert_eq!(apply("0123", 0..2, &mut [splice(1..3, "")]), None);
    }
}
