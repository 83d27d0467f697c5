//! The Coordinator on hardware.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use nacre_attest::Verifier;
use nacre_coordinator::{Backend, Config, Deps, Log, run, system_clock};
use nacre_manifest::Manifest;
use nacre_store::{ConfigMaps, Directory, Store};

fn main() -> ExitCode {
    let config = match Config::read(&|name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(mistakes) => {
            // The filter of the log may be among them.
            let _ = Log::start("info", || Box::new(io::stderr()));
            for mistake in mistakes {
                tracing::error!("{mistake}");
            }
            return ExitCode::from(2);
        }
    };
    if let Err(reason) = Log::start(&config.log, || Box::new(io::stderr())) {
        let _ = Log::start("info", || Box::new(io::stderr()));
        tracing::error!(reason, "NACRE_LOG");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(start(config)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut reason = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                reason = format!("{reason}: {next}");
                cause = next.source();
            }
            tracing::error!(reason, "the Coordinator ends");
            ExitCode::FAILURE
        }
    }
}

async fn start(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    let store = store(&config.history).await?;
    let verifier = Arc::new(Verifier::amd());
    let deps = Deps {
        // Hardware or nothing.
        reports: Arc::new(config.guest.open(&verifier)?),
        verifier,
        reader: Manifest::parse,
        store,
        clock: system_clock,
    };
    Ok(run(config, deps).await?)
}

async fn store(backend: &Backend) -> Result<Arc<dyn Store>, Box<dyn std::error::Error>> {
    match backend {
        Backend::Directory(path) => Ok(Arc::new(Directory::open(path)?)),
        Backend::ConfigMaps { namespace } => {
            Ok(Arc::new(ConfigMaps::connect(namespace.as_deref()).await?))
        }
    }
}
