//! The framings of the function: ResourceList, stream, legacy plugin, standalone and files.

pub mod diagnostics;
pub mod environment;
pub mod input;
pub mod mode;
pub mod output;
pub mod process;
pub mod replace;
pub mod settings;
pub mod signals;
