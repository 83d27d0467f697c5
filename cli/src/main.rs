//! The `nacre` command: everything that a person or a CI job runs by hand.

fn main() -> std::process::ExitCode {
    nacre_framing::process::report_panics();
    nacre_cli::run(
        nacre_framing::environment::Environment::of_process(),
        nacre_client::Trust::amd(),
    )
}
