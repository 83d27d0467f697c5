//! The forms in which findings leave the program.

mod github;
mod json;
mod krm;
mod sarif;
mod text;

pub use github::github;
pub use json::{json, json_value};
pub use krm::krm_results;
pub use sarif::sarif;
pub use text::{summary, text};
