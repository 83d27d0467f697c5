//! `nacre schema`.

use nacre_fnconfig::Confidential;

use crate::context::Context;
use crate::error::CommandError;

/// Print the JSON Schema of the configuration
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &mut Context) -> Result<(), CommandError> {
    context.print(&format!("{:#}\n", Confidential::json_schema()))
}
