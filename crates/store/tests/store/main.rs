//! Every back-end passes the same suite; what is particular to one has a module of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests"
)]

mod answers;
mod cluster;
mod conformance;
mod directory;
