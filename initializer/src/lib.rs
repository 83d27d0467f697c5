//! Gets a pod its certificate: attests the Coordinator, proves the pod, writes the files.
//!
//! ```
//! use nacre_initializer::Config;
//!
//! let mistakes = Config::read(&|_| None).unwrap_err();
//! assert_eq!(mistakes[0].variable, "COORDINATOR_HOST");
//! ```
//!
//! It asks until it is answered: a pod that is started before the manifest is set waits, and the log says
//! for what. As an init container it ends when the files are there; as a sidecar it stays and renews.
//!
//! What it does not do: trust a Coordinator by its name. Who answers has to prove by SEV-SNP evidence that
//! it runs a policy and a guest that the pod's own policy names.

mod any_guest;
mod ask;
mod config;
mod platform;
mod run;
mod volume;

pub use ask::{Ask, AskError, Issued};
pub use config::{Config, Mistake, Trusted};
pub use platform::{NoReports, report_source};
pub use run::{Deps, RunError, run};
pub use volume::{Volume, VolumeError};
