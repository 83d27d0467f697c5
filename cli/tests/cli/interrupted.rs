//! Ctrl-C during an in-place write.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{TestEnvironment, WEB};

/// Enough files that staging them, each with a sync, takes longer than it takes to see the first.
const FILES: usize = 400;

#[test]
fn a_signal_leaves_every_file_as_it_was() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let environment = TestEnvironment::shop();
        for n in 0..FILES {
            let text = WEB.replacen("name: web ", &format!("name: web-{n} "), 1);
            environment.write(&format!("resources/web-{n:03}.yml"), text);
        }
        let before = environment.files();
        let mut child = environment
            .nacre(&["generate", "--set", "selfCheck=false", "resources"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !staging(&environment) {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before the first file"
            );
            assert!(started.elapsed() < Duration::from_secs(120));
        }
        // No `kill` program: starting one would take as long as what is to be interrupted.
        kill_process(Pid::from_child(&child), signal).unwrap();
        // Reads what it has to say while it ends: a pipe holds only so much.
        let output = child.wait_with_output().unwrap();
        let (status, stderr) = (output.status, String::from_utf8(output.stderr).unwrap());
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(stderr.contains("error[NCR0904]: interrupted"), "{stderr}");
        let after = environment.files();
        assert!(after == before, "files differ after {signal:?}");
    }
}

/// True as soon as the first temporary file is there.
fn staging(environment: &TestEnvironment) -> bool {
    fs::read_dir(environment.path("resources"))
        .unwrap()
        .any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains(".nacre-"))
        })
}
