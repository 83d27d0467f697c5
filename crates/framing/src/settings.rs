//! Where the configuration, the lock and the other inputs beside the resources come from.

/// The configuration that `nacre init` writes and the programs that run in a workspace read.
pub const CONFIGURATION_FILE: &str = "nacre.yaml";
