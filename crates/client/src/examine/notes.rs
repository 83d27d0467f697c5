//! What no check of evidence decides, and a reader has to: a row for each matter.

use nacre_attest::{CheckId, Topic, Verdict};
use nacre_findings::{Code, codes::client as codes};

use crate::verdict::{Outcome, Row, Rows};

/// Rows about evidence that holds.
pub(super) fn rows(verdict: &Verdict, out: &mut Rows) {
    let chip = verdict.check(CheckId::ChipAllowed);
    let listed = chip.is_some_and(|check| check.outcome == nacre_attest::Outcome::Pass);
    let chips = match listed {
        true => "one of the chips that the manifest lists",
        false => "any genuine chip: the manifest lists none",
    };
    for (name, topic, passes) in [
        ("chips", Topic::Chips, Some(chips)),
        (
            "advisories",
            Topic::Advisories,
            Some("the firmware meets those that this version knows"),
        ),
        ("firmware", Topic::Firmware, Some("committed")),
        ("signing-key", Topic::SigningKey, Some("the chip's own")),
        ("platform-info", Topic::PlatformInfo, None),
        ("revocation", Topic::Revocation, None),
    ] {
        match (verdict.note(topic), passes) {
            (Some(note), _) => {
                let (outcome, code, help) = weight(topic);
                let row = Row::of(outcome, name, code, note.text.clone());
                out.push(match help {
                    Some(help) => row.help(help),
                    None => row,
                });
            }
            (None, Some(text)) => out.push(Row::pass(name, text)),
            (None, None) => {}
        }
    }
}

/// How much it weighs: what lets others speak for the machine is for a reader to decide.
fn weight(topic: Topic) -> (Outcome, Code, Option<&'static str>) {
    match topic {
        Topic::Chips => (
            Outcome::Warn,
            codes::ANY_CHIP,
            Some(
                "list your machines in AllowedChipIDs; --require-chip-allowlist refuses any other manifest",
            ),
        ),
        Topic::Advisories => (Outcome::Warn, codes::ADVISORIES, None),
        Topic::Revocation => (Outcome::Warn, codes::REVOCATION_UNKNOWN, None),
        Topic::Firmware => (Outcome::Note, codes::FIRMWARE_PROVISIONAL, None),
        Topic::SigningKey => (Outcome::Note, codes::PROVIDER_KEY, None),
        Topic::PlatformInfo => (Outcome::Note, codes::PLATFORM_BITS, None),
    }
}
