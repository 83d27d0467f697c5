//! Evidence, real and minted, against the verifier.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod assembled;
mod cases;
mod corpus;
#[cfg(feature = "sev-guest")]
mod device;
mod differential;
mod flips;
mod json;
mod measured;
mod mint;
mod minted;
mod openssl;
mod real;
mod reference;
mod support;
