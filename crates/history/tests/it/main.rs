//! Formats and decisions of the history.

mod chain;
mod corpus;
mod formats;
mod support;
mod vectors;
