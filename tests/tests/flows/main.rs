//! Whole flows: the programs as they are shipped, called by the real tools.
//!
//! `cargo xtask test` prepares what they need and says where it is (`NACRE_TEST_…`). To run one of them:
//! `eval "$(cargo xtask tools --env)"`, `cargo xtask images`, `cargo xtask images --examples`, and the
//! variables that a test asks for when they are missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod catalogue;
mod cluster;
mod container;
mod control;
mod examples;
mod fence;
mod files;
mod guide;
mod harness;
mod helm;
mod helmfile;
mod kpt;
mod kubectl;
mod kustomize;
mod lock;
mod packages;
mod pipelines;
mod pre_commit;
mod routes;
mod sbom;
mod shipped;
mod site;
