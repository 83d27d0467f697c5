//! Documents written from code say what the code says.
//!
//! `cargo xtask codegen` writes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::metadata::root;

fn generated() -> Vec<(&'static str, String)> {
    let mut documents = nacre_fnconfig::generated_files();
    let schema = documents
        .iter()
        .find(|(path, _)| *path == "docs/schema/manifest.json")
        .map(|(_, text)| manifest_reference(text))
        .expect("the manifest has a schema");
    documents.push(("docs/guide/manifest.md", schema));
    documents.push(("docs/errors.md", nacre_findings::codes::markdown()));
    documents.push(("docs/support-matrix.md", nacre_policy::support::markdown()));
    documents.push(("docs/request-fields.md", nacre_policy::schema::markdown()));
    documents
}

#[test]
fn generated_documents_are_up_to_date() {
    let bless = std::env::var_os("NACRE_BLESS").is_some();
    let mut stale = Vec::new();
    for (path, text) in generated() {
        let file = root().join(path);
        if fs::read_to_string(&file).is_ok_and(|found| found == text) {
            continue;
        }
        if bless {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, &text).unwrap();
        } else {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "{stale:?}: run `cargo xtask codegen`");
}

#[test]
fn every_document_has_content() {
    for (path, text) in generated() {
        assert!(text.lines().count() > 10, "{path} is nearly empty");
    }
}

/// The manifest's fields, from its schema.
fn manifest_reference(schema: &str) -> String {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut page = String::from(
        "# Manifest\n\n\
         What a deployment is: every policy, and the hardware and guests it may run on. `nacre generate` writes\n\
         it, the Coordinator enforces it, `nacre verify` compares it. Unknown fields are errors. Its identity is\n\
         the SHA-256 of its bytes, so it is written in one form only: two spaces, fixed order, a newline at the\n\
         end. The JSON Schema is [manifest.json](../schema/manifest.json).\n\n\
         Hand edits (reference values, names) are carried over by `--previous manifest.json`.\n\n\
         | Field | Type | Meaning |\n| --- | --- | --- |\n",
    );
    rows(&schema, &schema, "", &mut page);
    page
}

fn rows(root: &Value, schema: &Value, path: &str, page: &mut String) {
    let schema = resolved(root, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}{name}");
        row(root, field, &path, page);
    }
    let other = &schema["additionalProperties"];
    if other.is_object() {
        row(root, other, &format!("{path}<…>"), page);
    }
    for (pattern, field) in schema["patternProperties"]
        .as_object()
        .into_iter()
        .flatten()
    {
        let _ = pattern;
        row(root, field, &format!("{path}<hash>"), page);
    }
}

fn row(root: &Value, field: &Value, path: &str, page: &mut String) {
    let resolved = self::resolved(root, field);
    let text = |key: &str| {
        let own = field[key].as_str();
        own.or_else(|| resolved[key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let kind = match &resolved["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            kinds.join(" or ")
        }
        _ => String::new(),
    };
    let meaning = text("description").replace('|', "\\|");
    page.push_str(&format!("| `{path}` | {kind} | {meaning} |\n"));
    rows(root, resolved, &format!("{path}."), page);
    if resolved["items"].is_object() {
        let items = self::resolved(root, &resolved["items"]);
        rows(root, items, &format!("{path}[]."), page);
    }
}

/// A schema, with a reference followed.
fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    target
        .and_then(|pointer| root.pointer(pointer))
        .unwrap_or(schema)
}

/// Markdown files of the site, by their path in `docs/`.
fn pages() -> BTreeSet<PathBuf> {
    let docs = root().join("docs");
    let mut found = BTreeSet::new();
    let mut open = vec![docs.clone()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.strip_prefix(&docs).unwrap().to_path_buf());
            }
        }
    }
    found
}

/// Targets of links, without code blocks, whose brackets are none.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            found.push(
                target
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
    }
    found
}

#[test]
fn the_table_of_contents_has_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> = links(&summary).into_iter().map(PathBuf::from).collect();
    let unique: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(
        listed.len(),
        unique.len(),
        "a page is listed twice: {listed:?}"
    );
    let mut pages = pages();
    pages.remove(Path::new("SUMMARY.md"));
    let missing: Vec<_> = pages.difference(&unique).collect();
    assert!(missing.is_empty(), "add to docs/SUMMARY.md: {missing:?}");
    let gone: Vec<_> = unique.difference(&pages).collect();
    assert!(
        gone.is_empty(),
        "docs/SUMMARY.md names what is not there: {gone:?}"
    );
}

/// What the documentation has to have: a word of the table of contents, the page it stands for, and for some a
/// section there.
const SUBJECTS: &[(&str, &str, &str)] = &[
    ("Quickstart", "guide/quickstart.md", ""),
    ("Kustomize", "guide/kustomize.md", ""),
    ("Helm 3 and Helm 4", "guide/helm.md", ""),
    ("kpt", "guide/kpt.md", ""),
    ("GitOps", "guide/gitops.md", ""),
    ("From repository to cluster", "guide/deployment.md", ""),
    ("Annotations", "guide/annotations.md", ""),
    ("Configuration", "configuration.md", ""),
    ("Manifest", "guide/manifest.md", ""),
    ("Policies", "policies.md", ""),
    ("My pod was denied", "denied.md", ""),
    ("Images and the lock", "guide/images.md", ""),
    ("Attestation and TCB", "attestation.md", ""),
    ("Set", "set-verify-recover.md", "set"),
    ("verify", "set-verify-recover.md", "verify"),
    ("recover", "set-verify-recover.md", "recover"),
    ("rollback", "set-verify-recover.md", "Rollback"),
    ("drill", "set-verify-recover.md", "Drill"),
    ("The mesh", "mesh.md", ""),
    ("data owners", "guide/data-owner.md", ""),
    ("Threat model", "guide/threat-model.md", ""),
    ("Error codes", "errors.md", ""),
    (
        "Coming from Contrast or genpolicy",
        "guide/coming-from.md",
        "",
    ),
];

#[test]
fn the_table_of_contents_says_where_each_subject_is() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for (subject, page, section) in SUBJECTS {
        let entry = summary.lines().find_map(|line| {
            let (title, target) = line.split_once("](")?;
            (target == format!("{page})")).then_some(title)
        });
        let entry = entry.unwrap_or_else(|| panic!("docs/SUMMARY.md has no {page}"));
        assert!(entry.contains(subject), "{page}: {entry} without {subject}");
        let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
        let heading = format!("## {section}");
        assert!(
            section.is_empty() || text.lines().any(|line| line == heading),
            "{page} has no section {section}"
        );
    }
}

#[test]
fn links_between_files_lead_somewhere() {
    let mut broken = Vec::new();
    let docs = pages().into_iter().map(|page| Path::new("docs").join(page));
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "deploy/README.md",
        "packages/README.md",
        "examples/README.md",
    ];
    for page in docs.chain(others.map(PathBuf::from)) {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with('#') || link.starts_with("mailto:") {
                continue;
            }
            let file = link.split('#').next().unwrap_or_default();
            let mut target = page.parent().unwrap().to_path_buf();
            for part in Path::new(file).components() {
                match part {
                    Component::ParentDir => {
                        target.pop();
                    }
                    other => target.push(other),
                }
            }
            if !root().join(&target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_annotation_is_in_the_guide() {
    let page = fs::read_to_string(root().join("docs/guide/annotations.md")).unwrap();
    let shared = nacre_workload::names::SHARED_ANNOTATIONS;
    for name in shared.iter().chain(&nacre_workload::names::OWN_ANNOTATIONS) {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}

#[test]
fn the_limits_of_attestation_and_the_coordinator_are_found_from_security_md() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let links = links(&text);
    let sections: Vec<(&str, &str)> = links
        .iter()
        .filter_map(|link| link.split_once('#'))
        .collect();
    for page in [
        "docs/attestation.md",
        "docs/coordinator.md",
        "docs/set-verify-recover.md",
    ] {
        assert!(sections.iter().any(|(file, _)| *file == page), "{page}");
    }
    for (file, section) in sections {
        let page = fs::read_to_string(root().join(file)).unwrap();
        let headings = page.lines().filter(|line| line.starts_with('#'));
        let slug = |line: &str| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            words.replace(' ', "-").replace([',', '.', '\''], "")
        };
        assert!(
            headings.map(slug).any(|slug| slug == section),
            "{file}#{section}"
        );
    }
}
