//! Golden folders: `cases/<name>/{config.yaml,input.yaml,…}` and what must come out.
//!
//! `expected.yaml` and `manifest.json` stand where the transformation succeeds, `findings.txt` always.
//! A folder may also have `lock.yaml` (else `cases/lock.yaml`), `coordinator.yml` (the workspace's
//! Coordinator), `previous.json` and `mode` (`files`, `stream`, `krm` or `helm`). Each case is run on
//! its own output, with the documents reversed, one thread and several, and as a ResourceList.
//!
//! `NACRE_BLESS=1 cargo test -p nacre-generate` writes what comes out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nacre_findings::{Finding, has_errors, render};
use nacre_fnconfig::Confidential;
use nacre_generate::{Mode, Options, Outcome, Source, generate};
use nacre_imagelock::ImageLock;
use nacre_krm::{ObjectRef, ResourceList, Stream};
use nacre_manifest::Manifest;
use serde_json::Value;

#[path = "golden/lock.rs"]
mod lock;
#[path = "golden/properties.rs"]
mod properties;
#[path = "golden/rules.rs"]
mod rules;

/// Everything of a folder.
pub(crate) struct Case {
    config: Confidential,
    lock: ImageLock,
    coordinator: Option<Stream>,
    previous: Option<Manifest>,
    mode: Mode,
    input: String,
}

impl Case {
    fn read(folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let config = match text("config.yaml") {
            Some(text) => Confidential::from_value(&value(&text)).unwrap(),
            None => Confidential::default(),
        };
        let lock = match text("lock.yaml") {
            Some(text) => ImageLock::from_value(&value(&text)).unwrap(),
            None => lock::lock(),
        };
        let mode = match text("mode").as_deref().map(str::trim) {
            None | Some("stream") => Mode::Stream,
            Some("files") => Mode::Files,
            Some("krm") => Mode::Krm,
            Some("helm") => Mode::Helm,
            Some(other) => panic!("mode {other}"),
        };
        Self {
            config,
            lock,
            coordinator: text("coordinator.yml").map(|text| Stream::parse(text).unwrap()),
            previous: text("previous.json").map(|text| Manifest::parse(text.as_bytes()).unwrap()),
            mode,
            input: text("input.yaml").unwrap(),
        }
    }

    fn options(&self) -> Options<'_> {
        Options {
            mode: self.mode,
            previous: self.previous.as_ref(),
            workspace_coordinator: self.coordinator.as_ref(),
            manifest_item: self.config.manifest.emit_config_map,
            self_check: false,
            policy_texts: true,
            ..Options::new(&self.config, &self.lock)
        }
    }

    pub(crate) fn run(&self, text: &str) -> (Outcome, Stream) {
        self.run_with(text, &self.options())
    }

    fn run_with(&self, text: &str, options: &Options<'_>) -> (Outcome, Stream) {
        let stream = Stream::parse(text).unwrap();
        let source = Source {
            file: Some("input.yaml".to_owned()),
            stream: stream.clone(),
        };
        (generate(&[source], options), stream)
    }
}

fn value(text: &str) -> Value {
    let stream = Stream::parse(text).unwrap();
    stream.documents()[0]
        .value(&nacre_krm::Path::root())
        .unwrap()
}

/// The text with the outcome written into it.
pub(crate) fn written(outcome: &Outcome, stream: &Stream) -> String {
    let mut edits: BTreeMap<usize, Vec<(nacre_krm::Path, Value)>> = BTreeMap::new();
    for (_, ObjectRef { document, base }, value) in &outcome.edits {
        edits
            .entry(*document)
            .or_default()
            .push((base.clone(), value.clone()));
    }
    let rewritten = edits
        .iter()
        .map(|(index, edits)| (*index, stream.documents()[*index].rewrite(edits).unwrap()))
        .collect();
    stream.render(&rewritten, &outcome.added)
}

fn manifest_text(outcome: &Outcome) -> String {
    let manifest = outcome.manifest.as_ref().expect("a manifest");
    String::from_utf8(manifest.to_bytes()).unwrap()
}

/// Which policy everybody got.
pub(crate) fn hashes(outcome: &Outcome) -> BTreeMap<String, String> {
    let hash = |p: &nacre_generate::GeneratedPolicy| (p.identity.to_string(), p.hash.to_string());
    outcome.policies.iter().map(hash).collect()
}

fn messages(findings: &[Finding]) -> BTreeSet<String> {
    findings
        .iter()
        .map(|f| format!("{} {}", f.code, f.message))
        .collect()
}

/// The objects of a text in the other direction, each printed anew.
pub(crate) fn reversed(text: &str) -> String {
    let stream = Stream::parse(text).unwrap();
    let mut objects: Vec<String> = stream
        .objects()
        .iter()
        .map(|at| nacre_krm::emit(&stream.documents()[at.document].value(&at.base).unwrap()))
        .collect();
    objects.reverse();
    objects.join("---\n")
}

/// The objects of a text as a ResourceList.
fn resource_list(text: &str) -> String {
    let stream = Stream::parse(text).unwrap();
    let items: Vec<Value> = stream
        .objects()
        .iter()
        .map(|at| stream.documents()[at.document].value(&at.base).unwrap())
        .collect();
    nacre_krm::emit(&serde_json::json!({
        "apiVersion": "config.kubernetes.io/v1",
        "kind": "ResourceList",
        "items": items,
    }))
}

fn compare(path: &Path, found: &str, bless: bool) -> Result<(), String> {
    if bless {
        fs::write(path, found).unwrap();
        return Ok(());
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected == found {
        return Ok(());
    }
    let line = expected
        .lines()
        .zip(found.lines())
        .position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    let shown = |text: &str| text.lines().nth(line).unwrap_or("<end>").to_owned();
    Err(format!(
        "{} line {}:\n  expected {}\n  found    {}",
        path.display(),
        line + 1,
        shown(&expected),
        shown(found)
    ))
}

fn check(folder: &Path, bless: bool) -> Result<(), String> {
    let case = Case::read(folder);
    let checked = Options {
        self_check: true,
        ..case.options()
    };
    let (outcome, stream) = case.run_with(&case.input, &checked);
    let place = folder.file_name().unwrap().to_string_lossy().into_owned();
    compare(
        &folder.join("findings.txt"),
        &render::text(&outcome.findings, false),
        bless,
    )?;
    if has_errors(&outcome.findings) {
        let clean =
            outcome.edits.is_empty() && outcome.added.is_empty() && outcome.manifest.is_none();
        assert!(clean, "{place}: output beside errors");
        assert!(
            !folder.join("expected.yaml").exists(),
            "{place}: expected.yaml beside errors"
        );
        assert!(!case.input.is_empty());
        return same_refusal(&case, &place, &outcome);
    }
    let output = written(&outcome, &stream);
    compare(&folder.join("expected.yaml"), &output, bless)?;
    if outcome.manifest.is_none() {
        assert_eq!(output, case.input, "{place}: changed without a manifest");
        return Ok(());
    }
    let manifest = manifest_text(&outcome);
    compare(&folder.join("manifest.json"), &manifest, bless)?;

    // Again over its own output.
    let (again, stream) = case.run(&output);
    assert_eq!(written(&again, &stream), output, "{place}: not idempotent");
    assert_eq!(
        manifest_text(&again),
        manifest,
        "{place}: manifest not idempotent"
    );
    // One thread.
    let (single, stream) = case.run_with(
        &case.input,
        &Options {
            threads: 1,
            ..case.options()
        },
    );
    assert_eq!(written(&single, &stream), output, "{place}: threads");
    // Other order.
    let (other, _) = case.run(&reversed(&case.input));
    assert_eq!(manifest_text(&other), manifest, "{place}: order");
    assert_eq!(hashes(&other), hashes(&outcome), "{place}: order");
    assert_eq!(
        messages(&other.findings),
        messages(&outcome.findings),
        "{place}: order"
    );
    // ResourceList.
    let list = resource_list(&case.input);
    let (framed, stream) = case.run(&list);
    assert_eq!(manifest_text(&framed), manifest, "{place}: ResourceList");
    let items = ResourceList::detect(&stream).unwrap().unwrap();
    let edits: Vec<_> = framed
        .edits
        .iter()
        .map(|(_, at, v)| (at.base.clone(), v.clone()))
        .collect();
    let text = items.render(&edits, &framed.added, None).unwrap();
    assert_eq!(
        resource_list(&output),
        resource_list(&text),
        "{place}: ResourceList"
    );
    Ok(())
}

/// Errors do not depend on the framing or the order either.
fn same_refusal(case: &Case, place: &str, outcome: &Outcome) -> Result<(), String> {
    let codes = |outcome: &Outcome| -> BTreeSet<String> {
        outcome
            .findings
            .iter()
            .map(|f| f.code.to_string())
            .collect()
    };
    for text in [reversed(&case.input), resource_list(&case.input)] {
        let (other, _) = case.run(&text);
        assert_eq!(codes(&other), codes(outcome), "{place}: order or framing");
    }
    Ok(())
}

fn folders() -> Vec<PathBuf> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<_> = fs::read_dir(cases)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

#[test]
fn every_folder_gives_what_it_expects() {
    let bless = std::env::var_os("NACRE_BLESS").is_some();
    let folders = folders();
    assert!(folders.len() > 20, "cases are missing");
    let failures: Vec<_> = folders
        .iter()
        .filter_map(|folder| check(folder, bless).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
