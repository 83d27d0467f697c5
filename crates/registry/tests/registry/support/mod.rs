//! Images, a real registry and a faulty one, all on loopback.

pub(crate) mod corpus;
pub(crate) mod docker_registry;
pub(crate) mod faults;
pub(crate) mod image;
