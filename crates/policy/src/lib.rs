//! Execution policies: from a finished pod spec to Rego text, its carrier and its hash, and the
//! evaluation of agent requests.
//!
//! ```
//! use nacre_policy::{Carrier, Target, WorkloadInput, generate};
//! use serde_json::{Value, json};
//!
//! // An image without digest cannot be pinned, so there is no policy for this pod.
//! let spec = json!({"containers": [{"name": "web", "image": "web:1"}]});
//! let who = ("v1", "Pod", "web");
//! let target = Target::find("kata-3").ok_or("no such target")?;
//! let findings = generate(&WorkloadInput::new(who, &Value::Null, &spec, target)).unwrap_err();
//! assert!(findings.iter().any(|f| f.field.as_deref() == Some("spec.containers[0].image")));
//!
//! let carried = Carrier::InitData.pack("package agent_policy\n");
//! let decoded = Carrier::InitData.unpack(&carried.annotation_value)?;
//! assert_eq!(decoded.hash, carried.hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not do: it reads no YAML and no registry, injects nothing, and opens no file. It
//! trusts the lock's facts about an image. `docs/policies.md` says what no policy reaches.

pub mod carrier;
pub mod evaluate;
pub mod explain;
pub mod fixtures;
pub mod mutate;
pub mod read;
pub mod report;
pub mod request;
pub mod rules;
pub mod schema;
pub mod simulate;
pub mod support;
pub mod target;

mod container;
mod deflate;
mod env;
mod facts;
mod generate;
mod gzip;
mod input;
mod mounts;
mod names;
mod notes;
mod pod;
mod process;
mod quantity;
mod text;
mod value;
mod view;

pub use carrier::{Carried, Carrier};
pub use facts::Facts;
pub use generate::{Policy, generate, self_check};
pub use input::{Injected, ServicePort, ServiceRef, WorkloadInput};
pub use nacre_manifest::Profile;
pub use pod::service_account;
pub use target::Target;
