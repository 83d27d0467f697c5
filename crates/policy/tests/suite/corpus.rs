//! The corpus of the fuzz target on requests, replayed.

use std::path::Path;
use std::time::Duration;

#[path = "../../../../fuzz/exercise_policy.rs"]
mod exercise;

#[test]
fn requests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/policy_request");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(files.len() > 40, "{}", files.len());
    let mut slowest = (Duration::ZERO, String::new());
    for file in files {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let taken = exercise::request(&bytes);
        slowest = slowest.max((taken, path.display().to_string()));
    }
    println!("{slowest:?}");
    // The fuzz target holds a release build to 50 ms.
    assert!(slowest.0 < Duration::from_secs(5), "{slowest:?}");
}
