//! What is done once per process.

use std::io::Write as _;

use nacre_findings::{Finding, codes, render};

/// Exit code of a bug.
pub const INTERNAL: u8 = 70;

/// A panic is a bug: it is shown as an internal error with its place in our code, and the process
/// ends with 70. Nothing of the input is shown.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(|at| format!(" at {}:{}", at.file(), at.line()));
        let finding = Finding::error(
            codes::cli::INTERNAL,
            format!("internal error{}", place.unwrap_or_default()),
        )
        .help("nothing was written; please report this");
        let text = render::text(&[finding], false);
        let _ = std::io::stderr().write_all(text.as_bytes());
        std::process::exit(i32::from(INTERNAL));
    }));
}
