//! SIMULATION: the Coordinator with made-up evidence.
//!
//! The same library as `nacre-coordinator`, with the root and the guest that `NACRE_SIM_PKI` and
//! `NACRE_SIM_HOST_DATA` name. Never for production: it protects nothing.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use nacre_coordinator::{Backend, Config, Deps, Log, run, system_clock};
use nacre_sim::program::{Platform, read_manifest};
use nacre_store::{ConfigMaps, Directory, Store};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // It may have ended before there was a log; then this one is it.
            let _ = Log::start("info", || Box::new(io::stderr()));
            tracing::error!(reason = chain(error.as_ref()), "the Coordinator ends");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), Box<dyn Error>> {
    let get = |name: &str| std::env::var(name).ok();
    let config = Config::read(&|name| std::env::var_os(name)).map_err(|mistakes| {
        let lines: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("; ")
    })?;
    Log::start(&config.log, || Box::new(io::stderr()))?;
    let platform = Platform::read(&get)?;
    tracing::warn!("{}", platform.warning());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let deps = Deps {
            verifier: platform.verifier()?,
            reports: platform.guest(&get)?,
            reader: read_manifest,
            store: store(&config.history).await?,
            clock: system_clock,
        };
        Ok(run(config, deps).await?)
    })
}

async fn store(backend: &Backend) -> Result<Arc<dyn Store>, Box<dyn Error>> {
    Ok(match backend {
        Backend::Directory(path) => Arc::new(Directory::open(path)?),
        Backend::ConfigMaps { namespace } => {
            Arc::new(ConfigMaps::connect(namespace.as_deref()).await?)
        }
    })
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
