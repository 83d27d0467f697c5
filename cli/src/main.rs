//! The `nacre` command: everything that a person or a CI job runs by hand.

mod app;
mod check;
mod completions;
mod context;
mod diff;
mod error;
mod files;
mod generate;
mod init;

mod install;
mod keys;
mod lock;
mod manifest;
mod reference_values;
mod resources;
mod schema;
mod verify_report;
mod work_tree;

fn main() -> std::process::ExitCode {
    nacre_framing::process::report_panics();
    app::run(nacre_framing::environment::Environment::of_process())
}
