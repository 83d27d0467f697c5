//! The client against answers that are right, and against every kind that is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod answers;
mod corpus;
mod evidence;
mod owners;
mod server;
mod set;
mod world;
