//! The verdict table: one row for each thing that was looked at.

use nacre_findings::{Code, Finding, Severity};
use serde::Serialize;

/// How one row came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// Worth knowing, and no reason to refuse.
    Note,
    /// A reader has to decide; refused under `--strict`.
    Warn,
    /// Refused.
    Fail,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What was looked at; stable.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// One sentence.
    pub text: String,
    /// Documents a row that does not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Row {
    /// A row that holds.
    pub fn pass(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            outcome: Outcome::Pass,
            text: text.into(),
            code: None,
            help: None,
        }
    }

    /// A row that does not, or that somebody has to read.
    pub fn of(outcome: Outcome, name: &'static str, code: Code, text: impl Into<String>) -> Self {
        Self {
            outcome,
            code: Some(code),
            ..Self::pass(name, text)
        }
    }

    /// The same row with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The row as a finding; `None` when it passes.
    pub fn finding(&self, strict: bool) -> Option<Finding> {
        let severity = match self.outcome {
            Outcome::Fail => Severity::Error,
            Outcome::Warn if strict => Severity::Error,
            Outcome::Warn => Severity::Warning,
            Outcome::Note => Severity::Info,
            Outcome::Pass => return None,
        };
        let finding = Finding::new(
            self.code?,
            severity,
            format!("{}: {}", self.name, self.text),
        );
        Some(match &self.help {
            Some(help) => finding.help(help.clone()),
            None => finding,
        })
    }
}

/// Rows in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Rows(Vec<Row>);

impl Rows {
    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Every row.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    /// The row of this name.
    pub fn get(&self, name: &str) -> Option<&Row> {
        self.0.iter().find(|row| row.name == name)
    }

    /// Whether nothing is refused. With nothing looked at, nothing holds.
    pub fn hold(&self, strict: bool) -> bool {
        let limit = if strict { Outcome::Warn } else { Outcome::Fail };
        !self.0.is_empty() && self.0.iter().all(|row| row.outcome < limit)
    }

    /// For a terminal: one line for each row, advice below those that do not pass.
    pub fn table(&self, strict: bool) -> String {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut out = String::new();
        for row in &self.0 {
            let mark = match row.outcome {
                Outcome::Pass => "ok  ",
                Outcome::Note => "note",
                Outcome::Warn => "WARN",
                Outcome::Fail => "FAIL",
            };
            let code = row
                .code
                .map(|code| format!("  [{code}]"))
                .unwrap_or_default();
            out.push_str(&format!("{mark} {:width$}  {}{code}\n", row.name, row.text));
            if let Some(help) = &row.help {
                out.push_str(&format!("     {:width$}  {help}\n", ""));
            }
        }
        let count = |outcome| self.0.iter().filter(|row| row.outcome == outcome).count();
        let (failed, warned) = (count(Outcome::Fail), count(Outcome::Warn));
        out.push_str(&match (self.hold(strict), failed, warned) {
            (true, _, 0) => "\nverified\n".to_owned(),
            (true, _, warned) => format!("\nverified, with {warned} warning(s)\n"),
            (false, 0, warned) => format!("\nNOT verified: {warned} warning(s) under --strict\n"),
            (false, failed, _) => format!("\nNOT verified: {failed} failed\n"),
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use nacre_findings::codes::client as codes;

    use super::*;

    fn rows(outcomes: &[Outcome]) -> Rows {
        let mut rows = Rows::default();
        for outcome in outcomes {
            rows.push(Row::of(*outcome, "row", codes::WEAKENING, "text"));
        }
        rows
    }

    #[test]
    fn one_failure_refuses_and_strict_refuses_warnings() {
        assert!(
            !Rows::default().hold(false),
            "nothing looked at is nothing proven"
        );
        assert!(rows(&[Outcome::Pass, Outcome::Note]).hold(true));
        assert!(rows(&[Outcome::Pass, Outcome::Warn]).hold(false));
        assert!(!rows(&[Outcome::Pass, Outcome::Warn]).hold(true));
        assert!(!rows(&[Outcome::Fail, Outcome::Pass]).hold(false));
    }

    #[test]
    fn the_table_says_what_came_of_it() {
        let mut rows = Rows::default();
        rows.push(Row::pass("evidence", "genuine"));
        rows.push(Row::of(Outcome::Warn, "pin", codes::WEAKENING, "first run").help("look"));
        let table = rows.table(false);
        assert_eq!(
            table,
            "ok   evidence  genuine\nWARN pin       first run  [NCR1319]\n               look\n\nverified, with 1 warning(s)\n"
        );
        assert!(
            rows.table(true)
                .ends_with("NOT verified: 1 warning(s) under --strict\n")
        );
        let finding = rows.get("pin").unwrap().finding(true).unwrap();
        assert_eq!(finding.severity, Severity::Error);
        assert_eq!(rows.get("evidence").unwrap().finding(true), None);
    }
}
