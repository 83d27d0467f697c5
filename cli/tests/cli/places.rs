//! Mistakes in a manifest and an address, before anybody is asked.

use crate::coordinator::{NOBODY, workspace};

#[test]
fn a_manifest_that_cannot_be_read_is_shown_at_its_place() {
    let (environment, manifest) = workspace();
    let text = String::from_utf8(manifest.to_bytes()).unwrap();
    let line_of = |text: &str, part: &str| {
        let before = text.split(part).next().unwrap();
        before.matches('\n').count() + 1
    };
    let says = |text: &str, part: &str, code: &str, help: &str| {
        environment.write("manifest.json", text);
        let done = environment.run(&["set", "-c", NOBODY]).refused(1, code);
        let place = format!("--> {}:{}", "manifest.json", line_of(text, part));
        let folder = environment.path("").display().to_string();
        let shown = done.stderr.replace(&folder, "");
        assert!(shown.contains(&place), "{place}: {}", done.stderr);
        assert!(done.stderr.contains(help), "{}", done.stderr);
    };
    assert!(text.contains("\"SANs\""), "{text}");
    let misspelt = text.replacen("\"SANs\"", "\"SANS\"", 1);
    says(&misspelt, "\"SANS\"", "NCR0605", "did you mean `SANs`?");
    let newer = text.replacen("nacre.dev/v1alpha1", "nacre.dev/v9", 1);
    says(
        &newer,
        "nacre.dev/v9",
        "NCR0603",
        "help: this program reads",
    );
    let cut = text.trim_end().trim_end_matches('}');
    says(cut, "\u{0}", "NCR0601", "help: ");
    // A region for reviews of pull requests.
    environment.write("manifest.json", &misspelt);
    let done = environment.run(&["--format", "sarif", "set", "-c", NOBODY]);
    let log: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
    let region = log.pointer("/runs/0/results/0/locations/0/physicalLocation/region/startLine");
    assert_eq!(
        region.and_then(serde_json::Value::as_u64),
        u64::try_from(line_of(&misspelt, "\"SANS\"")).ok(),
        "{log}"
    );
}

#[test]
fn a_port_that_is_none_is_a_mistake_on_the_command_line() {
    let (environment, _) = workspace();
    for address in ["127.0.0.1:99999", ":1313", "127.0.0.1:0"] {
        environment
            .run(&["verify", "-c", address])
            .refused(2, "NCR1334");
    }
}
