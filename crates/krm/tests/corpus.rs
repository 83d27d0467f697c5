//! The corpus of the fuzz targets, replayed; and what each hostile input in it gives.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nacre_krm::{ResourceList, Stream};

#[path = "../../../fuzz/exercise_krm.rs"]
mod exercise;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    assert!(files.len() > 10);
    files
}

#[test]
fn replay() {
    for (name, bytes) in corpus("stream").into_iter().chain(corpus("resource_list")) {
        println!("{name}");
        let start = Instant::now();
        exercise::stream(&bytes);
        exercise::resource_list(&bytes);
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{name} takes {:?}",
            start.elapsed()
        );
    }
}

/// Code, line and column of each refused input; everything else in the corpus is read.
const REFUSED: &[(&str, u16, u32, u32)] = &[
    ("alias-bomb.yaml", 111, 6, 0),
    ("alias-chain.yaml", 112, 100, 12),
    ("alias-self.yaml", 110, 2, 6),
    ("bom-inside.yaml", 102, 2, 0),
    ("bom.yaml", 102, 3, 1),
    ("deep-block.yaml", 112, 101, 0),
    ("deep-dashes.yaml", 112, 1, 0),
    ("deep-flow.yaml", 112, 1, 0),
    ("duplicate.yaml", 104, 2, 11),
    ("line-separator.yaml", 115, 1, 9),
    ("long-key.yaml", 102, 1, 0),
    ("merge-order.yaml", 109, 2, 11),
    ("not-a-marker.yaml", 116, 2, 1),
    ("not-utf8.yaml", 101, 1, 4),
    ("nul.yaml", 115, 1, 5),
    ("tabs.yaml", 102, 2, 2),
    ("template-map.yaml", 103, 1, 0),
    ("template.yaml", 103, 1, 0),
    ("utf16.yaml", 101, 1, 1),
    ("windows-1252.yaml", 101, 1, 7),
];

#[test]
fn refusals_say_where() {
    let mut wrong = Vec::new();
    for (name, bytes) in corpus("stream") {
        let expected = REFUSED.iter().find(|(n, ..)| *n == name);
        match (Stream::parse_bytes(&bytes), expected) {
            (Ok(_), None) => {}
            (Err(error), Some((_, code, line, column))) => {
                let at = error.position();
                let fits = error.code() == *code
                    && at.line == *line
                    && (*column == 0 || at.column == *column);
                if !fits {
                    wrong.push(format!("{name}: {} {error}", error.code()));
                }
            }
            (Ok(_), Some(_)) => wrong.push(format!("{name} is read")),
            (Err(error), None) => wrong.push(format!("{name}: {} {error}", error.code())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lists_that_are_none() {
    let codes: Vec<_> = corpus("resource_list")
        .into_iter()
        .filter_map(|(name, bytes)| {
            let stream = Stream::parse_bytes(&bytes).unwrap();
            let error = ResourceList::detect(&stream)?.err()?;
            Some((name, error.code(), error.position().line))
        })
        .collect();
    let expected = [
        ("bad-config.yaml", 121, 3),
        ("bad-item.yaml", 121, 3),
        ("bad-items.yaml", 121, 3),
        ("bad-version.yaml", 120, 1),
    ];
    let expected: Vec<_> = expected
        .map(|(name, code, line)| (name.to_owned(), code, line))
        .into();
    assert_eq!(codes, expected);
}
