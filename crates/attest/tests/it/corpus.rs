//! The corpora of the fuzz targets, replayed.

use std::path::Path;

#[path = "../../../../fuzz/exercise_attest.rs"]
mod exercise;

fn replay(target: &str, exercise: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        exercise(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{target}: {count}");
}

#[test]
fn the_corpora_of_the_fuzz_targets() {
    replay("attest_report", exercise::report);
    replay("vek", exercise::vek);
    replay("crl", exercise::crl);
    replay("evidence", exercise::evidence);
    replay("agent", exercise::agent);
}
