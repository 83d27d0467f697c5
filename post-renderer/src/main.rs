//! Helm post-renderer: a YAML stream on stdin, the confidential stream on stdout.

use std::process::ExitCode;

use nacre_framing::mode::Program;

fn main() -> ExitCode {
    nacre_framing::main(Program::PostRenderer)
}
