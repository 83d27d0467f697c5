//! Differences for people: on a terminal and in a pull request.

use nacre_findings::steers;

use super::{Change, ChangeKind, Diff, Group};

/// Longest value shown on a terminal line, in characters.
const WIDTH: usize = 96;

/// Indented lines: `+` new, `-` gone, `~` different, `!` worth a second look.
pub(super) fn text(diff: &Diff) -> String {
    let mut out = String::new();
    for group in &diff.groups {
        out.push_str(&format!("{} {}\n", sign(group.kind), group.subject));
        for change in &group.changes {
            let mark = if change.widens { '!' } else { ' ' };
            out.push_str(&format!("  {mark} {}\n", line(change)));
        }
    }
    out
}

/// Every change on a line of its own.
pub(super) fn lines(diff: &Diff) -> Vec<String> {
    diff.groups
        .iter()
        .flat_map(|group| &group.changes)
        .map(line)
        .collect()
}

fn line(change: &Change) -> String {
    let what = &change.what;
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            let (old, new) = (shown(old), shown(new));
            format!("{what}: {old} → {new}")
        }
        (Some(old), None) => format!("- {what}: {}", shown(old)),
        (None, Some(new)) => format!("+ {what}: {}", shown(new)),
        (None, None) => what.clone(),
    }
}

/// A table for each group, ready to be posted.
pub(super) fn markdown(diff: &Diff) -> String {
    if diff.is_empty() {
        return "No difference in meaning.\n".to_owned();
    }
    let mut out = String::new();
    if diff.widens() {
        out.push_str("> ⚠️ Lines with ⚠️ give somebody more power or take a check away.\n\n");
    }
    for group in &diff.groups {
        out.push_str(&heading(group));
        if group.changes.is_empty() {
            continue;
        }
        out.push_str("| | What | Before | After |\n| --- | --- | --- | --- |\n");
        for change in &group.changes {
            let mark = if change.widens { "⚠️" } else { "" };
            let cell = |value: &Option<String>| value.as_deref().map(code).unwrap_or_default();
            let (old, new) = (cell(&change.old), cell(&change.new));
            out.push_str(&format!(
                "| {mark} | {} | {old} | {new} |\n",
                escaped(&change.what)
            ));
        }
        out.push('\n');
    }
    out
}

fn heading(group: &Group) -> String {
    let word = match group.kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed => "changed",
    };
    format!("### {} {word}\n\n", code(&group.subject))
}

fn sign(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Added => '+',
        ChangeKind::Removed => '-',
        ChangeKind::Changed => '~',
    }
}

/// A value on one line, shortened in the middle, without control characters: what was rendered may
/// come from anywhere and must not steer a terminal.
pub(crate) fn shown(value: &str) -> String {
    let clean = visible(value);
    let count = clean.chars().count();
    if count <= WIDTH {
        return clean;
    }
    let half = WIDTH / 2;
    let head: String = clean.chars().take(half).collect();
    let tail: String = clean.chars().skip(count - half).collect();
    format!("{head} … {tail}")
}

fn visible(value: &str) -> String {
    let mut out = String::new();
    for character in value.chars() {
        match character {
            '\n' => out.push('⏎'),
            c if steers(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// A code span that its content cannot end, inside a table cell.
fn code(value: &str) -> String {
    let clean = visible(value).replace('|', "\\|");
    let longest = clean
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    let pad = if clean.starts_with('`') || clean.ends_with('`') {
        " "
    } else {
        ""
    };
    match clean.is_empty() {
        true => "*empty*".to_owned(),
        false => format!("{fence}{pad}{clean}{pad}{fence}"),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in visible(text).chars() {
        if matches!(
            character,
            '|' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '\\' | '@' | '#'
        ) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
