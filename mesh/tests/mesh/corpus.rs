//! The corpora of the fuzz targets, replayed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nacre_mesh::config::Config;
use nacre_mesh::material::{Files, Material};

use crate::support::Authority;

#[path = "../../../fuzz/exercise_mesh.rs"]
mod exercise;

/// Every file as it is, then files with random changes for `NACRE_FUZZ_SECONDS`, if any.
fn replay(target: &str, exercise: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files: Vec<Vec<u8>> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(files.len() > 5, "{} files", files.len());
    files.sort();
    files.iter().for_each(|bytes| exercise(bytes));

    let seconds = std::env::var("NACRE_FUZZ_SECONDS").map_or(0, |text| text.parse().unwrap());
    let (begin, mut random, mut runs) = (Instant::now(), Random(0x9e37_79b9_7f4a_7c15), 0u64);
    while begin.elapsed() < Duration::from_secs(seconds) {
        let mut bytes = files[random.below(files.len())].clone();
        for _ in 0..=random.below(6) {
            random.change(&mut bytes, &files);
        }
        bytes.truncate(8192);
        // What made it fail is in the message.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| exercise(&bytes)));
        assert!(done.is_ok(), "{target}: {bytes:?}");
        runs += 1;
    }
    eprintln!("{target}: {runs} runs");
}

/// What the grammar is made of, and what it is not.
const LETTERS: &[u8] = b"#=,:*[]/.0125ftDA \x00\xff";

/// xorshift64, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn change(&mut self, bytes: &mut Vec<u8>, files: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            2 => bytes.insert(at, LETTERS[self.below(LETTERS.len())]),
            3 => bytes.truncate(at),
            4 if at < bytes.len() => {
                let end = (at + 1 + self.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let other = &files[self.below(files.len())];
                let from = self.below(other.len() + 1);
                bytes.splice(at..at, other[from..].iter().copied());
            }
            _ => {
                // Two bytes that may be a length.
                if let Some([high, low]) = bytes.get_mut(at..at + 2) {
                    (*high, *low) = (self.below(4) as u8, self.below(256) as u8);
                }
            }
        }
    }
}

#[test]
fn annotations() {
    replay("mesh_grammar", exercise::grammar);
}

#[test]
fn first_bytes_of_strangers() {
    let authority = Authority::new();
    let config = Config::read(&|_| None).unwrap();
    let files = Files::read(&[authority.issue("web")]).unwrap();
    let now = nacre_mesh::proxy::unix_now();
    let material = Material::new(files, &config, now).unwrap();
    let server = material.mutual(9090).unwrap();
    replay("client_hello", |bytes| {
        exercise::client_hello(server, bytes)
    });
}
