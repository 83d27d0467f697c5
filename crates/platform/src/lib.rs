//! Platforms as data: runtime class, policy carrier, reference values and what a guest enforces.
//!
//! ```
//! let platform = nacre_platform::find("AKS-CLH-SNP")?;
//! assert_eq!(platform.data.carrier, nacre_platform::Carrier::AgentPolicy);
//! assert!(platform.runtime_class_name().starts_with("contrast-cc-aks-clh-snp-"));
//! # Ok::<(), nacre_platform::UnknownPlatform>(())
//! ```
//!
//! All values stand in one file, `platforms.json`, each with its source. What is not known stands there
//! as missing and becomes a missing reference value; nothing is made up.
//!
//! What it does not do: it computes no measurement and looks at no cluster.

mod embedded;
mod reference;
mod types;

pub use embedded::{UnknownPlatform, find, for_runtime_class, platforms};
pub use types::{
    AnnotationQuirk, Carrier, Evidence, EvidenceReach, EvidenceSource, ImageDelivery, Installer,
    Measurement, Platform, PlatformData, Runtime, Sources, Vm,
};

/// What every runtime class of a confidential workload begins with: the placeholder that users write,
/// and the start of the versioned name that replaces it.
pub const RUNTIME_CLASS_PREFIX: &str = "contrast-cc";
