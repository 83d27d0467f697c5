//! The initializer of pods on SEV-SNP.

use std::process::ExitCode;
use std::sync::Arc;

use nacre_attest::Verifier;
use nacre_initializer::{Config, Deps, report_source, run};

fn main() -> ExitCode {
    let filter = std::env::var("NACRE_LOG").unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let config = match Config::read(&|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!("{mistake}");
            }
            return ExitCode::from(2);
        }
    };
    let verifier = Arc::new(Verifier::amd());
    let source = match report_source(&config.guest, &verifier) {
        Ok(source) => source,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let deps = Deps { verifier, source };
    match run(config, deps) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
