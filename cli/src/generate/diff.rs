//! Differences as people read them.

use similar::TextDiff;

/// Longer lines are cut: a policy annotation is one line of many kilobytes.
const MAX_LINE: usize = 160;

/// A unified difference with three lines of context; empty when there is none.
pub(crate) fn unified(name: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let text = diff
        .unified_diff()
        .context_radius(3)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string();
    text.lines().map(cut).collect()
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => {
            let shown = line.get(..end).unwrap_or(line);
            format!("{shown}… ({} bytes)\n", line.len().saturating_sub(1))
        }
        None => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_file_and_cuts_long_lines() {
        let long = "x".repeat(1000);
        let text = unified("all.yml", "a\nb\n", &format!("a\n{long}\n"));
        assert!(
            text.starts_with("--- a/all.yml\n+++ b/all.yml\n@@ "),
            "{text}"
        );
        assert!(text.contains("\n-b\n"));
        assert!(text.contains("… (1000 bytes)\n"));
        assert!(text.lines().all(|line| line.chars().count() < 200));
        assert_eq!(unified("x", "a\n", "a\n"), "");
    }
}
