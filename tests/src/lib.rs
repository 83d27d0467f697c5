//! Whole flows with the real tools, and the rules about the workspace itself.
//!
//! The rules are the unit tests of this package and need nothing but cargo and git: who may depend on
//! whom, which licences and packages are allowed, that generated documents are up to date. The flows are
//! in `tests/flows` and need what `cargo xtask test` prepares.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod tidiness;
