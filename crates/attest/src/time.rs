//! Moments, in whole seconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Seconds since 1970-01-01T00:00:00Z.
///
/// The clock of a guest is the host's to set. A program in a guest therefore passes the latest of its
/// clock, its build date, and what signed data have told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// A moment that certainly lies before this build ran, 2026-11-28: the clock of a guest is its host's, and is
    /// not believed when it says less. The one such floor: set to the day of a release, and when the test that
    /// compares it with the age of the sources says so.
    pub const BUILT_AFTER: Self = Self(1_795_824_000);

    /// The system's clock; the epoch when it stands before that.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Reads `2026-11-23T00:00:00Z` or `2026-11-23`.
    pub fn parse(text: &str) -> Option<Self> {
        let whole = if text.contains('T') {
            text.into()
        } else {
            format!("{text}T00:00:00Z")
        };
        let moment: der::DateTime = whole.parse().ok()?;
        Some(Self(moment.unix_duration().as_secs()))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(moment: SystemTime) -> Self {
        Self(
            moment
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match der::DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days that the floor may lie before the newest change of the sources.
    const FRESH: u64 = 90;

    #[test]
    fn the_floor_is_fresh_and_not_in_the_future() {
        let floor = Timestamp::BUILT_AFTER;
        assert!(floor.to_string().ends_with("T00:00:00Z"), "{floor}: a day");
        assert!(floor >= Timestamp::parse(crate::baselines::as_of()).unwrap());
        let Some(newest) = newest_commit() else {
            // A source archive says nothing about its age, and building it later is no mistake.
            assert!(floor <= Timestamp::now(), "{floor} lies in the future");
            return;
        };
        assert!(
            floor <= newest,
            "{floor} lies after the sources of {newest}"
        );
        let limit = Timestamp(floor.0 + FRESH * 86_400);
        assert!(newest <= limit, "set BUILT_AFTER to {newest}");
    }

    /// When the workspace was last committed to; `None` where it is without its history. The history of a repository
    /// into which the sources were unpacked is another one.
    fn newest_commit() -> Option<Timestamp> {
        let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let git = |args: &[&str]| {
            let mut git = std::process::Command::new("git");
            let output = git.args(args).current_dir(&workspace).output().ok()?;
            let text = output.status.success().then_some(output.stdout)?;
            Some(String::from_utf8(text).ok()?.trim().to_owned())
        };
        git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
        git(&["log", "-1", "--format=%ct", "--", "."])?
            .parse()
            .ok()
            .map(Timestamp)
    }

    #[test]
    fn reads_and_prints_rfc_3339() {
        let moment = Timestamp::parse("2025-12-10T22:14:21Z").unwrap();
        assert_eq!(moment.to_string(), "2025-12-10T22:14:21Z");
        assert_eq!(Timestamp::parse("1970-01-02"), Some(Timestamp(86_400)));
        assert_eq!(Timestamp::parse("tomorrow"), None);
        assert_eq!(Timestamp(u64::MAX).to_string(), format!("@{}", u64::MAX));
    }
}
