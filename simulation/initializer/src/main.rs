//! SIMULATION: the initializer with made-up evidence.
//!
//! The same library as `nacre-initializer`, with the root and the guest that `NACRE_SIM_PKI` and
//! `NACRE_SIM_HOST_DATA` name. Never for production: it protects nothing.

use std::error::Error;
use std::process::ExitCode;

use nacre_initializer::{Config, Deps, run};
use nacre_sim::program::Platform;

fn main() -> ExitCode {
    let filter = std::env::var("NACRE_LOG").unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let get = |name: &str| std::env::var(name).ok();
    let config = Config::read(&get).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let platform = Platform::read(&get)?;
    tracing::warn!("{}", platform.warning());
    let deps = Deps {
        verifier: platform.verifier()?,
        source: platform.guest(&get)?,
    };
    Ok(run(config, deps)?)
}
