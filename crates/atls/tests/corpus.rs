//! The corpus of the fuzz target `frames`, replayed.

use std::error::Error;
use std::path::Path;

#[path = "../../../fuzz/exercise_atls.rs"]
mod exercise;

#[test]
fn the_corpus_of_the_fuzz_target() -> Result<(), Box<dyn Error>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus)? {
        exercise::frames(&std::fs::read(entry?.path())?);
        count += 1;
    }
    assert!(count >= 5, "{count}");
    Ok(())
}
