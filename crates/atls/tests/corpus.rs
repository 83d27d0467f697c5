//! The corpora of the fuzz targets `frames` and `frame_reader`, replayed.

use std::error::Error;
use std::path::Path;

#[path = "../../../fuzz/exercise_atls.rs"]
mod exercise;

fn replay(corpus: &str, least: usize, exercise: fn(&[u8])) -> Result<(), Box<dyn Error>> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut count = 0;
    for entry in std::fs::read_dir(corpora.join(corpus))? {
        exercise(&std::fs::read(entry?.path())?);
        count += 1;
    }
    assert!(count >= least, "{count}");
    Ok(())
}

#[test]
fn the_corpus_of_messages() -> Result<(), Box<dyn Error>> {
    replay("frames", 5, exercise::frames)
}

#[test]
fn the_corpus_of_streams() -> Result<(), Box<dyn Error>> {
    replay("frame_reader", 20, exercise::reader)
}
