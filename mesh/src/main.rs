//! The mesh sidecar.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use nacre_mesh::config::Config;
use nacre_mesh::{admin, run};
use nacre_meshconfig::ADMIN_PORT_DEFAULT;

/// Events taken from the kernel at once: fewer than the queue of what is to be done has room for from the
/// start. When a thousand connections end together it must not grow: it would lie behind the memory of all
/// of them, and the C library gives back only what is at the end.
const EVENTS: usize = 32;

fn main() -> ExitCode {
    let filter = std::env::var("NACRE_MESH_LOG").unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
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
    if std::env::args().nth(1).as_deref() == Some("probe") {
        return match admin::probe(config.admin.unwrap_or(ADMIN_PORT_DEFAULT)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                tracing::error!("not ready: {reason}");
                ExitCode::FAILURE
            }
        };
    }
    let runtime = match std::thread::available_parallelism() {
        Ok(cores) if cores.get() > 1 => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    }
    .enable_all()
    .max_io_events_per_tick(EVENTS)
    .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run::run(config)).map_err(chain),
        Err(error) => Err(error.to_string()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes.
fn chain(error: run::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
