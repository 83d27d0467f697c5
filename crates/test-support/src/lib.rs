//! What tests of several packages share: a Kubernetes API server of their own, and ports.
//!
//! ```no_run
//! let cluster = nacre_test_support::Cluster::shared();
//! cluster.namespace("shop");
//! assert!(cluster.kubectl(&["get", "namespaces"]).contains("shop"));
//! ```
//!
//! It is a dev-dependency only: everything here fails by panicking. There is no controller:
//! objects are validated, stored and watched for real, but no pod runs, unless a test says which process it is
//! and lets a kubelet forward to it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

mod cluster;
mod deployed;
mod kubelet;
mod ports;

pub use cluster::{Attempt, Cluster};
pub use deployed::coordinator_rights;
pub use kubelet::Kubelet;
pub use ports::free_ports;
