//! A verdict as a table for people.

use std::fmt::{self, Write as _};

use crate::verdict::{Outcome, Verdict};

/// Long values are shortened to their beginning and end; machines read the JSON form.
const WIDTH: usize = 40;

impl Verdict {
    /// One line for each check, then the notes.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write_table(&mut out);
        out
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        if let Some(claims) = &self.claims {
            let cpu = claims.cpu.map_or("not named".into(), |cpu| cpu.to_string());
            writeln!(out, "product      {} (processor {cpu})", claims.product)?;
            writeln!(out, "report       version {}", claims.report_version)?;
            writeln!(out, "measurement  {}", hex::encode(claims.measurement))?;
            writeln!(out, "host data    {}", hex::encode(claims.host_data))?;
            writeln!(out, "reported tcb {}", claims.reported_tcb)?;
            writeln!(out)?;
        }
        let name = self
            .checks
            .iter()
            .map(|check| check.id.name().len())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            let mark = match check.outcome {
                Outcome::Pass => "ok  ",
                Outcome::Fail => "FAIL",
                Outcome::NotRequired => "-   ",
                Outcome::Open => "OPEN",
                Outcome::NotRun => "????",
            };
            write!(
                out,
                "{mark} NCR{} {:name$}  ",
                check.id.code(),
                check.id.name()
            )?;
            match check.outcome {
                Outcome::Pass | Outcome::NotRequired => writeln!(out, "{}", short(&check.actual))?,
                Outcome::Open => writeln!(out, "{} (not compared)", short(&check.actual))?,
                Outcome::NotRun => writeln!(out, "{}", check.actual)?,
                Outcome::Fail => {
                    writeln!(out, "expected {}, found {}", check.expected, check.actual)?;
                }
            }
            if let Some(advice) = &check.advice {
                writeln!(out, "             {advice}")?;
            }
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        writeln!(out)?;
        let failed = self.failures().count();
        let not_run = self
            .checks
            .iter()
            .filter(|check| check.outcome == Outcome::NotRun)
            .count();
        let open: Vec<_> = self.open().map(|check| check.id.name()).collect();
        match (failed, not_run, open.as_slice()) {
            (0, 0, []) => writeln!(out, "accepted"),
            (0, 0, open) => writeln!(out, "genuine, but not compared: {}", open.join(", ")),
            (failed, 0, _) => writeln!(out, "NOT accepted: {failed} failed"),
            (failed, not_run, _) => {
                writeln!(out, "NOT accepted: {failed} failed, {not_run} not reached")
            }
        }
    }
}

fn short(value: &str) -> String {
    if value.chars().count() <= WIDTH || !value.chars().all(|c| c.is_ascii_hexdigit()) {
        return value.into();
    }
    let head: String = value.chars().take(16).collect();
    let tail: String = value.chars().skip(value.len().saturating_sub(8)).collect();
    format!("{head}…{tail}")
}
