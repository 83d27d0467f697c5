//! Everything a program takes from its surroundings, as values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// Variables, arguments and working directory of a process. Tests make their own; nothing else in
/// this crate reads the process environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Arguments without the program's name.
    pub args: Vec<OsString>,
    /// Variables that are UTF-8; others cannot be one of ours.
    pub variables: BTreeMap<String, String>,
    /// Directory against which relative paths are read.
    pub directory: PathBuf,
    /// Standard input is a terminal: nothing is piped in.
    pub stdin_is_terminal: bool,
    /// Standard error is a terminal: colour is welcome.
    pub stderr_is_terminal: bool,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self {
            args: std::env::args_os().skip(1).collect(),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            directory: PathBuf::new(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A path of the user's, read against the working directory.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.join(path)
    }
}
