//! Documents written from code say what the code says.
//!
//! `cargo xtask codegen` writes them anew.

use std::fs;

use crate::metadata::root;

fn generated() -> Vec<(&'static str, String)> {
    let mut documents = nacre_fnconfig::generated_files();
    documents.push(("docs/errors.md", nacre_findings::codes::markdown()));
    documents.push(("docs/support-matrix.md", nacre_policy::support::markdown()));
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
