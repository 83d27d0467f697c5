//! Execution policies: from a finished pod spec to Rego text, its carrier and its hash, and the
//! evaluation of agent requests.

pub mod carrier;
pub mod evaluate;
pub mod explain;
pub mod mutate;
pub mod report;
pub mod request;
pub mod rules;
pub mod simulate;
pub mod support;
pub mod target;

mod container;
mod env;
mod generate;
mod gzip;
mod input;
mod mounts;
mod names;
mod notes;
mod pod;
mod process;
mod text;
mod value;

pub use carrier::{Carried, Carrier};
pub use generate::{Policy, generate, self_check};
pub use input::{Injected, ServicePort, ServiceRef, WorkloadInput};
pub use nacre_manifest::Profile;
pub use target::Target;
