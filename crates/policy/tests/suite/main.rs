//! Policies against the requests of their own pods, and against those of a hostile host.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test binary: a failure shall end the test"
)]

mod agent;
mod carriers;
mod common;
mod controllers;
mod corpus;
mod engines;
mod examples;
mod explained;
mod fields;
mod golden;
mod hostile;
mod life;
mod messages;
mod names;
mod pairs;
mod products;
mod reading;
mod rights;
mod schema;
mod simulated;
mod state;
