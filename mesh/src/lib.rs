//! The mesh sidecar: mutual TLS for a pod whose programs know nothing of it.
//!
//! Inbound TCP is intercepted by nftables and reaches the application only after a TLS handshake
//! with a member of the mesh; outbound connections to loopback listeners leave as mutual TLS. Every
//! failure closes: a dead proxy, an expired certificate or missing rules mean no traffic.
//!
//! It does not decide who is a member (the Coordinator does, by issuing certificates), does not
//! look into what it carries, and does not touch UDP beyond dropping what comes in unasked.
//!
//! ```
//! use nacre_mesh::config::Config;
//!
//! let config = Config::read(&|name| match name {
//!     "CONTRAST_EGRESS_PROXY_CONFIG" => Some("backend#127.0.0.2:4001#backend:4001".to_owned()),
//!     _ => None,
//! })
//! .unwrap();
//! assert_eq!(config.egress[0].host, "backend");
//! ```

pub mod admin;
mod clock;
pub mod config;
pub mod dial;
pub mod limits;
pub mod listen;
pub mod material;
pub mod metrics;
pub mod newcomers;
pub mod nft;
mod overlap;
pub mod peer;
pub mod places;
pub mod proxy;
mod ration;
mod records;
pub mod relay;
pub mod rules;
pub mod run;
pub mod session;
mod sockets;
pub mod verify;
pub mod xt;
