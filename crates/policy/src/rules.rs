//! The fixed part of every policy.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The rules, byte for byte as they stand at the head of every policy of this version.
pub const RULES: &str = include_str!("rules.rego");

/// Their name; it stands in the first line of [`RULES`] and of each denial.
pub const VERSION: &str = "nacre1";

/// What separates the rules from the data of a workload: the data begin with this line.
pub const DATA_HEAD: &str = "policy_data := {\n";

/// A text of the rules whose policies are still read, though new ones may be made with another.
pub(crate) struct Published {
    /// SHA-256 of the text, in lower-case hex.
    pub(crate) digest: &'static str,
    /// Its name, as it stands in its first line.
    pub(crate) version: &'static str,
    /// Brings the data that go with it into the form of [`RULES`]; `None` when they have no form that these
    /// rules read.
    pub(crate) read: fn(Value) -> Option<Value>,
}

/// Every text of the rules that is known, the newest last. `docs/policies.md` says what a change of the rules
/// adds to it: an entry that was released is never changed and never taken away, or policies of deployments
/// that run become unknown.
pub(crate) const PUBLISHED: &[Published] = &[Published {
    digest: "067c0ad347d4611fdf4badb9665bde54ae2a80b895d32e62f232a5aa9cbe500e",
    version: VERSION,
    read: crate::read::as_written,
}];

/// SHA-256 of [`RULES`] in lower-case hex.
pub fn digest() -> String {
    digest_of(RULES)
}

/// SHA-256 of a text in lower-case hex.
pub(crate) fn digest_of(rules: &str) -> String {
    Sha256::digest(rules)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Splits a policy into its rules and the JSON of its data, if it has the shape of ours.
///
/// The rules part is returned as it stands: whether it is a known one is for the caller to
/// compare, with [`is_known`].
pub fn split(policy: &str) -> Option<(&str, &str)> {
    // One empty line separates the two; it belongs to neither.
    let at = policy.find(&format!("\n{DATA_HEAD}"))?;
    let (rules, data) = policy.split_at(at);
    Some((rules, data.strip_prefix("\npolicy_data := ")?))
}

/// Whether the rule for a message says the same whatever it is asked.
pub(crate) fn is_constant(message: &str) -> bool {
    let line = |line: &str| {
        let value = line.strip_prefix(message)?.strip_prefix(" := ")?;
        Some(matches!(value, "true" | "false"))
    };
    RULES.lines().any(|text| line(text) == Some(true))
}

/// The names of all rules that were published: what the line of a denial begins with.
pub(crate) fn versions() -> impl Iterator<Item = &'static str> {
    PUBLISHED.iter().map(|published| published.version)
}

/// The name of the rules in a policy text, where they are known ones.
pub fn version_in(policy: &str) -> Option<&'static str> {
    split(policy).and_then(|(rules, _)| is_known(rules))
}

/// The version of a rules part that was published, by its exact text.
pub fn is_known(rules: &str) -> Option<&'static str> {
    find(PUBLISHED, rules).map(|published| published.version)
}

/// The entry of a table for exactly this text.
pub(crate) fn find<'a>(table: &'a [Published], rules: &str) -> Option<&'a Published> {
    let digest = digest_of(rules);
    table.iter().find(|published| published.digest == digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_part_of_a_policy_is_the_rules() {
        let policy = format!("{RULES}\n{DATA_HEAD}  \"a\": 1,\n}}\n");
        let (rules, data) = split(&policy).unwrap();
        assert_eq!(is_known(rules), Some(VERSION));
        assert!(data.starts_with("{\n") && data.ends_with("}\n"));
        assert_eq!(split("package agent_policy\n"), None);
        assert!(is_constant("WaitProcessRequest") && is_constant("SetPolicyRequest"));
        assert!(!is_constant("CopyFileRequest") && !is_constant("ProcessRequest"));
        assert_eq!(is_known(&rules.replacen("false", "true", 1)), None);
    }

    #[test]
    fn the_newest_entry_is_that_of_the_rules() {
        let digest = digest();
        let newest = PUBLISHED.last().unwrap();
        assert!(
            newest.digest == digest,
            "rules.rego has changed and is {digest} now: put that into the newest entry of PUBLISHED if its \
             rules were never released, else add an entry, with another name if their denials or data changed"
        );
        assert_eq!(newest.version, VERSION);
        assert!(RULES.starts_with(&format!("# Nacre rules {VERSION}: ")));
        for (index, published) in PUBLISHED.iter().enumerate() {
            let twice = PUBLISHED.iter().skip(index + 1);
            let mut twice = twice.filter(|other| other.digest == published.digest);
            assert!(twice.next().is_none(), "{} stands twice", published.digest);
        }
    }
}
