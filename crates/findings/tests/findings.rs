//! The registry and each form of a finding.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::collections::BTreeSet;

use nacre_findings::{Code, Finding, Location, ResourceRef, codes, has_errors, render};
use serde_json::Value;

fn web() -> ResourceRef {
    ResourceRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: Some("shop".into()),
        name: "web".into(),
    }
}

fn full() -> Finding {
    Finding::error(
        codes::lock::IMAGE_NOT_LOCKED,
        "image nginx:1.27 is not in the lock",
    )
    .help("run `nacre lock resources/`")
    .resource(web())
    .field("spec.template.spec.containers[0].image")
    .current("nginx:1.27")
    .proposed("nginx:1.27@sha256:…")
    .at(Location::file("resources/all.yml")
        .with_index(2)
        .with_position(41, 16))
}

fn bare() -> Finding {
    Finding::warning(codes::cli::HELM_HOOKS_HIDDEN, "hooks were not seen")
}

#[test]
fn a_number_is_given_once_and_every_entry_is_complete() {
    let mut seen = BTreeSet::new();
    for info in codes::all() {
        assert!(seen.insert(info.code), "{} is given twice", info.code);
        assert!(
            !info.title.is_empty() && !info.title.ends_with('.'),
            "{}",
            info.code
        );
        assert!(info.explanation.ends_with('.'), "{}", info.code);
        assert!(info.fix.ends_with('.'), "{}", info.code);
        assert_eq!(info.code.info(), Some(info));
    }
    assert!(seen.len() > 10);
    assert_eq!(Code::new(301).to_string(), "NCR0301");
    assert_eq!(Code::new(1001).to_string(), "NCR1001");
    assert_eq!(Code::new(9999).info(), None);
}

#[test]
fn the_page_of_codes_has_a_section_for_each() {
    let page = codes::markdown();
    for info in codes::all() {
        assert!(page.contains(&format!("\n### {}\n\n**{}.**", info.code, info.title)));
    }
    let at = |code: &str| page.find(&format!("### {code}\n")).unwrap();
    assert!(at("NCR0101") < at("NCR0901") && at("NCR0901") < at("NCR0902"));
}

#[test]
fn text_shows_code_place_object_field_and_advice() {
    assert_eq!(
        render::text(&[full(), bare()], false),
        "error[NCR0301]: image nginx:1.27 is not in the lock\n  \
           --> resources/all.yml:41:16\n  \
           in: Deployment shop/web: spec.template.spec.containers[0].image\n  \
           is: nginx:1.27\n  \
           should be: nginx:1.27@sha256:…\n  \
           help: run `nacre lock resources/`\n\
         warning[NCR0912]: hooks were not seen\n"
    );
    assert_eq!(
        render::summary(&[full(), full(), bare()]),
        "2 errors, 1 warning"
    );
    assert_eq!(render::summary(&[]), "");
}

#[test]
fn colour_changes_nothing_but_colour() {
    let colored = render::text(&[full(), bare()], true);
    assert_ne!(colored, render::text(&[full(), bare()], false));
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, render::text(&[full(), bare()], false));
}

#[test]
fn text_from_the_input_cannot_forge_lines_or_terminal_commands() {
    let hostile = Finding::error(codes::cli::INTERNAL, "a\n::error::b\u{1b}[2J\r\u{202e}c")
        .at(Location::file("x\n::set-output y"));
    let text = render::text(&[hostile], false);
    assert!(
        text.lines()
            .all(|line| !line.trim_start().starts_with("::")),
        "{text}"
    );
    assert!(!text.contains(['\u{1b}', '\r', '\u{202e}']), "{text:?}");
    assert!(text.contains(r"\u{1b}[2J"));
}

#[test]
fn a_place_shows_what_is_known() {
    assert_eq!(Location::default().to_string(), "<stdin>");
    assert_eq!(Location::file("a.yml").to_string(), "a.yml");
    assert_eq!(
        Location::file("a.yml").with_index(3).to_string(),
        "a.yml (document 3)"
    );
    assert_eq!(
        Location::file("a.yml")
            .with_index(3)
            .with_line(7)
            .to_string(),
        "a.yml:7"
    );
    assert_eq!(
        Location::file("a.yml").with_position(7, 2).to_string(),
        "a.yml:7:2"
    );
}

#[test]
fn json_has_every_field_and_leaves_out_what_is_unknown() {
    let value: Value = serde_json::from_str(&render::json(&[full(), bare()])).unwrap();
    let findings = value["findings"].as_array().unwrap();
    assert_eq!(findings[0]["code"], "NCR0301");
    assert_eq!(findings[0]["severity"], "error");
    assert_eq!(findings[0]["resource"]["apiVersion"], "apps/v1");
    assert_eq!(findings[0]["location"]["line"], 41);
    assert_eq!(findings[0]["location"]["index"], 2);
    let keys: Vec<&String> = findings[1].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "severity", "message"]);
}

#[test]
fn krm_results_have_the_v1_shape() {
    let results = render::krm_results(&[full(), bare()]);
    let first = &results[0];
    assert_eq!(
        first["message"],
        "NCR0301: image nginx:1.27 is not in the lock (help: run `nacre lock resources/`)"
    );
    assert_eq!(first["severity"], "error");
    assert_eq!(first["resourceRef"]["kind"], "Deployment");
    assert_eq!(first["resourceRef"]["namespace"], "shop");
    assert_eq!(
        first["field"]["path"],
        "spec.template.spec.containers[0].image"
    );
    assert_eq!(first["field"]["currentValue"], "nginx:1.27");
    assert_eq!(first["file"]["path"], "resources/all.yml");
    assert_eq!(first["file"]["index"], 2);
    // The specification's tags are a map of strings.
    assert_eq!(first["tags"]["code"], "NCR0301");
    assert_eq!(first["tags"]["line"], "41");
    let second = results[1].as_object().unwrap();
    assert!(!second.contains_key("resourceRef") && !second.contains_key("file"));
}

#[test]
fn an_error_without_advice_has_that_of_its_code() {
    let error = Finding::error(codes::cli::USAGE, "wrong");
    assert_eq!(error.advice(), Some("See `--help` of the program."));
    assert!(render::text(std::slice::from_ref(&error), false).contains("help: See `--help`"));
    let json = render::json_value(std::slice::from_ref(&error));
    assert_eq!(json[0]["help"], "See `--help` of the program.");
    assert_eq!(error.help("do this").advice(), Some("do this"));
    assert_eq!(Finding::warning(codes::cli::USAGE, "odd").advice(), None);
}

#[test]
fn krm_field_without_object_goes_into_the_message() {
    let finding = Finding::error(codes::config::UNKNOWN_FIELD, "unknown field").field("spec.x");
    let results = render::krm_results(&[finding]);
    assert_eq!(
        results[0]["message"],
        "NCR0201: unknown field (field spec.x) (help: Correct the spelling (a similar name is proposed \
         where there is one) or remove the field.)"
    );
    assert!(results[0].get("field").is_none());
}

#[test]
fn github_escapes_message_and_properties() {
    let finding = Finding::error(codes::cli::INTERNAL, "50% of\r\na:b,c")
        .at(Location::file("dir:a,b%.yml").with_position(3, 4));
    assert_eq!(
        render::github(&[finding]),
        "::error file=dir%3Aa%2Cb%25.yml,line=3,col=4,title=NCR0970 Internal error::50%25 of%0D%0Aa:b,c%0A\
         help: Please report it with the message.\n"
    );
    let warning = render::github(&[bare()]);
    assert!(warning.starts_with("::warning title=NCR0912 "), "{warning}");
    assert!(
        render::github(&[Finding::info(Code::new(9999), "x")])
            .starts_with("::notice title=NCR9999::x")
    );
}

#[test]
fn sarif_holds_what_the_2_1_0_schema_requires() {
    let findings = [
        full(),
        bare(),
        full(),
        Finding::info(Code::new(9999), "unregistered"),
    ];
    let log: Value = serde_json::from_str(&render::sarif(&findings)).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(
        log["$schema"]
            .as_str()
            .unwrap()
            .ends_with("sarif-schema-2.1.0.json")
    );
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert!(driver["name"].is_string());
    let rules = driver["rules"].as_array().unwrap();
    let ids: BTreeSet<&str> = rules
        .iter()
        .map(|rule| rule["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), rules.len(), "rule ids are unique");
    for rule in rules.iter().filter(|rule| rule["id"] != "NCR9999") {
        assert!(rule["shortDescription"]["text"].is_string());
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), findings.len());
    for result in results {
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        for location in result["locations"].as_array().into_iter().flatten() {
            let physical = &location["physicalLocation"];
            assert!(physical["artifactLocation"]["uri"].is_string());
            assert!(physical["region"]["startLine"].as_u64().unwrap() >= 1);
        }
    }
    assert!(results[1].get("locations").is_none());
}

#[test]
fn sarif_paths_are_uri_references() {
    let at = |path: &str| {
        let finding = bare().at(Location::file(path));
        let log: Value = serde_json::from_str(&render::sarif(&[finding])).unwrap();
        log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(at("my dir/ü%.yml"), "my%20dir/%C3%BC%25.yml");
    assert_eq!(at("/abs/a.yml"), "file:///abs/a.yml");
    assert_eq!(at("a:b.yml"), "a%3Ab.yml");
}

#[test]
fn only_errors_forbid_output() {
    assert!(has_errors(&[bare(), full()]));
    assert!(!has_errors(&[bare()]));
    assert!(!has_errors(&[]));
}
