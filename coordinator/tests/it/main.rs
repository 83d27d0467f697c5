//! The Coordinator over real connections, on a simulated platform.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

mod certificates;
mod corpus;
mod crash;
mod doors;
mod fair;
mod files;
mod first;
mod hostile;
mod length;
mod logs;
mod memory;
mod outside;
mod peers;
mod recovery;
mod removed;
mod support;
mod trouble;
mod updates;
