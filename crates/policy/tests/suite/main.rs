//! Policies against the requests of their own pods, and against those of a hostile host.

#![allow(missing_docs, reason = "a test binary")]

mod common;

mod hostile;
mod life;
mod state;
