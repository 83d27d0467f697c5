//! The mesh sidecar.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use nacre_mesh::config::Config;
use nacre_mesh::{admin, run};
use nacre_meshconfig::ADMIN_PORT_DEFAULT;
use tikv_jemallocator::Jemalloc;

/// The C library gives back only what lies at the end of its heap, so a thousand connections would leave their memory
/// behind. This one gives back every page in which nothing lies; its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// What the program may be asked for besides being the mesh.
const USAGE: &str =
    "usage: nacre-mesh [probe | --version]\nSettings are variables: see docs/mesh.md";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_probe = match arguments.as_slice() {
        [] => false,
        [one] if one == "probe" => true,
        [one] if one == "--version" => {
            let written = writeln!(
                std::io::stdout(),
                "nacre-mesh {}",
                env!("CARGO_PKG_VERSION")
            );
            return written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        _ => {
            let _ = writeln!(std::io::stderr(), "{USAGE}");
            return ExitCode::from(2);
        }
    };
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
    if is_probe {
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
