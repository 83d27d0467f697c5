//! The mesh on real network stacks: namespaces that each test makes itself, joined by a veth pair.
//!
//! Needs root, `ip` and `nft`. Addresses are those of RFC 5737 and RFC 3849; nothing leaves the
//! namespaces.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests"
)]

mod authorisation;
mod before;
mod corpus;
mod crowd;
mod dns;
mod egress;
mod fallback;
mod ingress;
mod interop;
mod lifecycle;
mod load;
mod relay;
mod support;
mod tools;
