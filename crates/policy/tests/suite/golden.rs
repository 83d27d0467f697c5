//! Policies as text, for reviewers, and what they may weigh.

use nacre_policy::Carrier;
use nacre_policy::rules::{self, RULES};

use crate::common::{Case, many, mesh, small, twenty};

fn golden(name: &str, case: &Case) {
    let policy = case.policy();
    let (rules_part, _) = rules::split(&policy.text).unwrap();
    assert_eq!(
        rules::is_known(rules_part.trim_end_matches('\n')).or(rules::is_known(rules_part)),
        Some("nacre1")
    );
    let data = &policy.text[RULES.len()..];
    let path = format!("{}/tests/golden/{name}.rego", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("NACRE_BLESS").is_some() {
        std::fs::write(&path, data).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        data, expected,
        "run with NACRE_BLESS=1 and review the difference"
    );
}

#[test]
fn data_is_as_reviewed() {
    golden("small", &small());
    golden("mesh", &mesh());
}

#[test]
fn rules_and_policies_stay_small() {
    assert!(RULES.len() <= 14_000, "rules: {} bytes", RULES.len());
    let weight = |case: &Case, carrier| case.policy().carrier(carrier).annotation_value.len();
    // Half of what the peer needs: 17.9 kB for one container, 18.4 kB for three, 20.5 kB for twenty
    // (its own smallest pods).
    for (case, most) in [(small(), 8_950), (mesh(), 9_200), (twenty(), 10_250)] {
        let bytes = weight(&case, Carrier::InitData);
        println!("{}: {bytes} bytes", case.name);
        assert!(bytes <= most, "{bytes} bytes, at most {most}");
    }
    let plain = weight(&mesh(), Carrier::AgentPolicy);
    assert!(plain <= 40_000, "{plain} bytes");
}

/// Bytes as the documentation writes them.
pub(crate) fn grouped(bytes: usize) -> String {
    format!("{} {:03}", bytes / 1000, bytes % 1000)
}

/// Holds the first figures of a row of the table in `docs/policies.md`, "Size and time", against what was measured.
#[track_caller]
pub(crate) fn documented(begin: &str, figures: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policies.md");
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    let text = std::fs::read_to_string(path).unwrap();
    let row = text.lines().find(|line| line.starts_with(begin));
    let row = row.unwrap_or_else(|| panic!("docs/policies.md has no row {begin}"));
    let cell = row.split('|').nth(2).unwrap().trim();
    if std::env::var_os("NACRE_BLESS").is_some() {
        let text = text.replace(row, &row.replacen(cell, figures, 1));
        std::fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(cell, figures, "docs/policies.md: {begin}");
}

#[test]
fn the_documentation_gives_the_sizes() {
    let weights = [1, 3, 20].map(|count| {
        let policy = many(count).policy();
        grouped(policy.carrier(Carrier::InitData).annotation_value.len())
    });
    documented(
        "| annotation of a pod with 1, 3, 20 containers ",
        &format!("{} bytes", weights.join(", ")),
    );
    let kilobytes = format!(
        "{}.{} kB",
        RULES.len() / 1000,
        (RULES.len() % 1000 + 50) / 100
    );
    documented("| rules ", &kilobytes);
    let coming = include_str!("../../../../docs/guide/coming-from.md");
    assert!(
        coming.contains(&format!("| rules of {kilobytes}; ")),
        "docs/guide/coming-from.md: {kilobytes}"
    );
}

#[test]
fn no_line_is_too_long_for_old_engines() {
    let mut case = small();
    case.spec["containers"][0]["env"] = serde_json::json!([
        {"name": "LONG", "value": "x=\"\u{1}é".repeat(900)},
    ]);
    let policy = case.policy();
    for line in policy.text.lines() {
        assert!(line.chars().count() < 1024, "{} columns", line.len());
    }
    // And the long value still passes.
    case.with(|input| nacre_policy::self_check(&policy, input))
        .unwrap();
    let mut whole = nacre_policy::evaluate::Session::load(&policy.text).unwrap();
    for request in case.with(nacre_policy::request::life) {
        assert!(
            whole
                .request(request.message, &request.input)
                .unwrap()
                .allowed,
            "{}",
            request.title
        );
    }
}

#[test]
fn only_built_ins_of_the_agent_are_used() {
    // Functions of regorus without features, and those of `base64url` and `regex`; then our own.
    let known = [
        "array.concat",
        "array.slice",
        "base64url.encode",
        "bits.and",
        "concat",
        "count",
        "endswith",
        "indexof",
        "is_object",
        "json.unmarshal",
        "lower",
        "object.get",
        "object.remove",
        "object.subset",
        "object.union",
        "print",
        "regex.match",
        "replace",
        "set",
        "sort",
        "split",
        "startswith",
        "strings.replace_n",
        "substring",
        "trim",
        "trim_prefix",
        "allowed",
        "arg",
        "bare",
        "blank",
        "block",
        "copied",
        "env",
        "fill",
        "hex",
        "local",
        "metadata",
        "mount",
        "options",
        "pass",
        "rest",
        "route",
        "source",
        "user",
        "shape",
        "value",
        "words",
    ];
    for line in RULES.lines().filter(|line| !line.starts_with('#')) {
        for (at, _) in line.match_indices('(') {
            let head =
                line[..at].rsplit(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
            let name = head.into_iter().next().unwrap_or("");
            if !name.is_empty() && !line[..at].ends_with(['\\', '|', '*', '^', '}', ']']) {
                assert!(known.contains(&name), "{name} in {line}");
            }
        }
    }
}
