//! Whole flows: the programs as they are shipped, called by the real tools.
//!
//! `cargo xtask test` prepares what they need and says where it is (`NACRE_TEST_…`). To run one of them:
//! `eval "$(cargo xtask tools --env)"`, `cargo xtask images`, `cargo xtask images --examples`, and the
//! variables that a test asks for when they are missing.

mod container;
mod examples;
mod files;
mod harness;
mod helm;
mod kpt;
mod kubectl;
mod kustomize;
mod lock;
mod routes;
mod shipped;
