//! The corpus of the fuzz targets, replayed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

#[path = "../../../../../fuzz/exercise_registry.rs"]
mod exercise;

fn replay(target: &str, exercise: fn(&[u8])) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("../../fuzz/corpus").join(target);
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(files.len() > 10, "{target}: {}", files.len());
    for file in files {
        let path = file.unwrap().path();
        let started = Instant::now();
        exercise(&std::fs::read(&path).unwrap());
        let taken = started.elapsed();
        assert!(
            taken < Duration::from_secs(10),
            "{} takes {taken:?}",
            path.display()
        );
    }
}

#[test]
fn layers() {
    replay("layer", exercise::layer);
}

#[test]
fn images() {
    replay("image", exercise::image);
}
