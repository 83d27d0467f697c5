//! Starts an app once its certificates are there and the mesh protects it.
//!
//! ```text
//! /tls-config/nacre-gate -- <program> <arguments>…
//! ```
//! The initializer puts this program on the pod's guest-memory volume, the policy pins the command line.
//! It waits until `certChain.pem`, `key.pem`, `mesh-ca.pem` and `mesh-ready` stand beside it, each with
//! something in it, and becomes the app: same process, environment, working directory and open files; the
//! program is looked up in `PATH` as a container runtime does. It waits as long as it takes, and says every
//! ten seconds for what.
//!
//! What it does not do: look into the files. That they are right is for who reads them.

use std::env;
use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What has to be there. The last is written by the mesh when its rules are in force.
const AWAITED: [&str; 4] = ["certChain.pem", "key.pem", "mesh-ca.pem", "mesh-ready"];
const GLANCE: Duration = Duration::from_millis(50);
const REMINDER: Duration = Duration::from_secs(10);

/// As a shell says it: the program was found and cannot be run, or was not found.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let mut words = env::args_os().skip(1);
    let (Some(dashes), Some(program)) = (words.next(), words.next()) else {
        return end(USAGE, "usage: nacre-gate -- <program> <arguments>…");
    };
    if dashes != "--" {
        return end(USAGE, "usage: nacre-gate -- <program> <arguments>…");
    }
    let own = match env::current_exe() {
        Ok(own) => own,
        Err(error) => return end(USAGE, &format!("where am I? {error}")),
    };
    wait(own.parent().unwrap_or(Path::new("/")));
    become_app(&program, words.collect())
}

fn wait(folder: &Path) {
    let mut told = Instant::now();
    while let Some(missing) = AWAITED.iter().find(|name| !is_there(&folder.join(name))) {
        if told.elapsed() > REMINDER {
            told = Instant::now();
            say(&format!("waiting for {}", folder.join(missing).display()));
        }
        sleep(GLANCE);
    }
}

fn is_there(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.len() > 0)
}

fn become_app(program: &OsString, arguments: Vec<OsString>) -> ExitCode {
    // Returns only when it fails.
    let error = Command::new(program).args(arguments).exec();
    let code = match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_RUN,
    };
    end(code, &format!("{}: {error}", program.display()))
}

fn end(code: u8, message: &str) -> ExitCode {
    say(message);
    ExitCode::from(code)
}

fn say(message: &str) {
    // Nobody may be listening; the app is started all the same.
    let _ = writeln!(std::io::stderr(), "nacre-gate: {message}");
}
