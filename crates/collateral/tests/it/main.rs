//! The services as the tests imitate them, on loopback: what they document is what they speak.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod agent;
mod cached;
mod kds;
mod kept;
mod server;
mod thim;

use nacre_attest::{Report, VekRequest};

fn sample(path: &str) -> Vec<u8> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../attest/tests/data");
    std::fs::read(format!("{data}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Certificates of real machines, by folder, with what they are looked up by.
const REAL: [&str; 3] = ["ms-milan", "ms-genoa", "ms-turin"];

fn request(folder: &str) -> VekRequest {
    let report = Report::parse(&sample(&format!("{folder}/report.bin"))).unwrap();
    VekRequest::of(&report).unwrap()
}
