//! What commands ask a cluster: one client, and objects as JSON.

pub(crate) mod admission;
pub(crate) mod connect;
pub(crate) mod discover;
pub(crate) mod health;
pub(crate) mod live;
