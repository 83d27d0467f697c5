//! Formats and decisions of the history.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

mod chain;
mod corpus;
mod formats;
mod growth;
mod support;
mod vectors;
