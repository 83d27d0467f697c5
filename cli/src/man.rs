//! `nacre man`.

use std::path::PathBuf;

use clap::CommandFactory as _;
use nacre_findings::{Finding, Location, codes};

use crate::app::App;
use crate::context::Context;
use crate::error::CommandError;

/// Write manual pages for all commands
///
/// `nacre man ~/.local/share/man/man1`, then `man nacre-generate`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the pages; it is created
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let dir = context.environment.path(&args.dir);
    context.publish()?;
    std::fs::create_dir_all(&dir)
        .and_then(|()| clap_mangen::generate_to(App::command(), &dir))
        .map_err(|error| {
            let message = format!(
                "manual pages cannot be written to {}: {error}",
                dir.display()
            );
            CommandError::from(
                Finding::error(codes::cli::FILE_UNWRITABLE, message)
                    .at(Location::file(dir.display().to_string())),
            )
        })?;
    context.note(&format!("wrote manual pages to {}", dir.display()));
    Ok(())
}
