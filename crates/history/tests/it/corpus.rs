//! The corpus of the fuzz target `history`, replayed.

use std::path::Path;

#[path = "../../../../fuzz/exercise_history.rs"]
pub(crate) mod exercise;

#[test]
fn the_corpus_of_the_fuzz_target() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/history");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        exercise::objects(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{count}");
}
