//! The fixed part of every policy.

use sha2::{Digest, Sha256};

/// The rules, byte for byte as they stand at the head of every policy of this version.
pub const RULES: &str = include_str!("rules.rego");

/// Their name; it stands in the first line of [`RULES`] and of each denial.
pub const VERSION: &str = "nacre1";

/// What separates the rules from the data of a workload: the data begin with this line.
pub const DATA_HEAD: &str = "policy_data := {\n";

/// SHA-256 of [`RULES`] in lower-case hex.
pub fn digest() -> String {
    Sha256::digest(RULES)
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

/// The version of a rules part that was published, by its exact text.
pub fn is_known(rules: &str) -> Option<&'static str> {
    (rules == RULES).then_some(VERSION)
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
}
