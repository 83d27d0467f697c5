//! The corpora of the fuzz targets on files that `nacre` reads, replayed, and where they come from.
//!
//! `NACRE_FUZZ_SECONDS=60` goes on with changed files of the corpus for that long, each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nacre_attest::Timestamp;
use nacre_client::bundle::Bundle;
use nacre_pki::{Seed, SeedShares};

use crate::world::{NONCE, World};

#[path = "../../../../fuzz/exercise_client.rs"]
mod exercise;

type Exercise = fn(&[u8]);

/// Changed files of each corpus in every run.
const MUTATIONS: u32 = 100;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name)
}

#[test]
fn the_corpora_of_the_fuzz_targets() {
    if std::env::var_os("NACRE_BLESS").is_some() {
        write();
    }
    let targets: [(&str, Exercise); 4] = [
        ("bundle", exercise::bundle),
        ("pin", exercise::pin),
        ("key", exercise::key),
        ("seed_shares", exercise::shares),
    ];
    for (name, target) in targets {
        replay(name, target);
    }
}

#[allow(clippy::print_stdout, reason = "the figure of a longer run")]
fn replay(name: &str, target: Exercise) {
    let mut corpus = Vec::new();
    for entry in std::fs::read_dir(folder(name)).unwrap() {
        corpus.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(!corpus.is_empty(), "{name}");
    for bytes in &corpus {
        target(bytes);
        for length in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
            target(&bytes[..length]);
        }
    }
    let seconds = std::env::var("NACRE_FUZZ_SECONDS").ok();
    let limit = seconds.map_or(0, |seconds| seconds.parse().unwrap());
    let (start, limit) = (Instant::now(), Duration::from_secs(limit));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut runs = 0;
    while runs < MUTATIONS || start.elapsed() < limit {
        let mut bytes = corpus[dice.below(corpus.len())].clone();
        for _ in 0..=dice.below(4) {
            change(&mut bytes, &corpus, &mut dice);
        }
        target(&bytes);
        runs += 1;
    }
    println!("{name}: {runs} changed files");
}

/// Xorshift: the same changes in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

/// A byte, a bit or a piece: altered, taken out, doubled, or put there from another file.
fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Dice) {
    if bytes.is_empty() {
        return;
    }
    let at = dice.below(bytes.len());
    let end = (at + 1 + dice.below(40)).min(bytes.len());
    match dice.below(7) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'}', b'0'][dice.below(8)],
        2 => drop(bytes.drain(at..end)),
        3 => {
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        4 => {
            let other = &corpus[dice.below(corpus.len())];
            let from = dice.below(other.len());
            let piece = other[from..(from + end - at).min(other.len())].to_vec();
            bytes.splice(at..end, piece);
        }
        5 => bytes.truncate(at),
        _ => {
            // Another digit: numbers and hex that still are some.
            if bytes[at].is_ascii_alphanumeric() {
                bytes[at] = b"0123456789abcdefA="[dice.below(18)];
            }
        }
    }
}

/// Real files of each kind.
fn write() {
    let put = |name: &str, file: &str, bytes: &[u8]| {
        let folder = folder(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), bytes).unwrap();
    };
    let world = World::new();
    let snapshot = world.snapshot(NONCE);
    let pin = world.examine(&snapshot, None).pin.unwrap();
    put("pin", "accepted", &pin.to_bytes());
    let bundle = Bundle {
        claimed: Timestamp::now(),
        coordinator: "coordinator:1313".into(),
        snapshot,
    };
    put("bundle", "first", &bundle.to_bytes());
    let owners = world.manifest().seedshare_owner_pub_keys;
    let seed = Seed::generate().unwrap();
    let shares = SeedShares::seal(&seed, 1, &owners, [7; 32]).unwrap();
    put("seed_shares", "one", &shares.to_bytes());

    let scratch = tempfile::tempdir().unwrap();
    let openssl = |args: &str| {
        let mut command = Command::new("openssl");
        command.args(args.split(' ')).current_dir(scratch.path());
        assert!(command.output().unwrap().status.success(), "{args}");
    };
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out pkcs8");
    openssl("ec -in pkcs8 -out sec1");
    openssl("genrsa -traditional -out pkcs1 2048");
    std::fs::write(scratch.path().join("passphrase"), "correct horse").unwrap();
    for (file, scheme) in [
        ("sha256-aes256", "-v2 aes-256-cbc -v2prf hmacWithSHA256"),
        ("sha1-aes128", "-v2 aes-128-cbc -v2prf hmacWithSHA1"),
        ("scrypt", "-scrypt -scrypt_N 2"),
    ] {
        openssl(&format!(
            "pkcs8 -topk8 -in pkcs8 -out {file} {scheme} -iter 2 -passout file:passphrase"
        ));
    }
    for file in [
        "pkcs8",
        "sec1",
        "pkcs1",
        "sha256-aes256",
        "sha1-aes128",
        "scrypt",
    ] {
        let bytes = std::fs::read(scratch.path().join(file)).unwrap();
        put("key", file, &bytes);
    }
}
