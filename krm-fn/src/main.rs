//! KRM function: a ResourceList on stdin, the confidential ResourceList on stdout.

use std::process::ExitCode;

use nacre_framing::mode::Program;

fn main() -> ExitCode {
    nacre_framing::main(Program::KrmFunction)
}
