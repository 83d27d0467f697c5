//! Finds and edits the pod specs of every workload kind.
//!
//! ```
//! use nacre_workload::inject::{CoordinatorLink, Injection};
//! use serde_json::json;
//!
//! let mut spec = json!({"containers": [{"name": "app", "image": "app:1"}]});
//! let coordinator = CoordinatorLink {
//!     host: "coordinator".to_owned(),
//!     policy_hashes: vec!["0".repeat(64)],
//!     reference: Some("{}".to_owned()),
//!     allow_unattested: false,
//! };
//! let injection = Injection {
//!     initializer_image: Some("initializer:1"),
//!     mesh: None,
//!     coordinator: &coordinator,
//!     renew_seconds: 0,
//!     attestation_agent: false,
//!     claim_templates: &[],
//! };
//! assert!(injection.apply(&mut spec, "spec").is_empty());
//! assert_eq!(spec["initContainers"][0]["name"], "contrast-initializer");
//! assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/tls-config");
//! ```
//!
//! It works on parsed objects only. It touches no text, opens no file, knows no image digest and
//! makes no policy; that a pod is confidential is decided here and made true elsewhere.

pub mod annotations;
pub mod checks;
pub mod containers;
pub mod images;
pub mod inject;
pub mod kinds;
pub use nacre_meshconfig as mesh;
pub mod names;
pub mod object;
pub mod sans;
pub mod select;
pub mod services;
pub mod vcpus;
