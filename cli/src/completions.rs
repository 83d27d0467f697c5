//! `nacre completions`.

use clap::CommandFactory as _;

use crate::app::App;
use crate::context::Context;
use crate::error::CommandError;

/// Print a completion script for a shell
///
/// For bash: `nacre completions bash > ~/.local/share/bash-completion/completions/nacre`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args, context: &mut Context) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut App::command(), "nacre", &mut script);
    context.print(&String::from_utf8_lossy(&script))
}
