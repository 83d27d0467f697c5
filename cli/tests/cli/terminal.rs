//! What a person sees on a terminal, and a pipe does not: `script` gives the program one.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::common::TestEnvironment;
use crate::coordinator::{openssl, workspace};

const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a terminal of its own, which shows what is typed until the program says otherwise.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: mpsc::Receiver<u8>,
    seen: String,
}

impl Terminal {
    fn start(environment: &TestEnvironment, args: &[&str]) -> Self {
        let line = [&[env!("CARGO_BIN_EXE_nacre")], args].concat().join(" ");
        let mut child = environment
            .program("script")
            .args(["--quiet", "--return", "--echo", "always", "--command"])
            .args([&line, "/dev/null"])
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        let (shown, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut byte = [0];
            while matches!(out.read(&mut byte), Ok(1)) {
                let _ = shown.send(byte[0]);
            }
        });
        Self {
            keyboard: child.stdin.take().unwrap(),
            child,
            screen,
            seen: String::new(),
        }
    }

    /// Waits until this stands on the screen.
    fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        while !self.seen.contains(text) {
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.screen.recv_timeout(left) {
                Ok(byte) => self.seen.push(char::from(byte)),
                Err(_) => panic!("{text:?} is not in {:?}", self.seen),
            }
        }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Exit code, and everything that was shown.
    fn end(mut self) -> (i32, String) {
        while let Ok(byte) = self.screen.recv_timeout(PATIENCE) {
            self.seen.push(char::from(byte));
        }
        let code = self.child.wait().unwrap().code().unwrap();
        (code, self.seen)
    }
}

#[test]
fn a_passphrase_is_asked_for_and_not_shown() {
    let (environment, _) = workspace();
    environment.write("passphrase", "correct horse\n");
    openssl(
        &environment,
        "pkcs8 -topk8 -in workload-owner.pem -out encrypted.pem -passout file:passphrase",
    );
    let args = ["sign", "-o", "out", "--workload-owner-key", "encrypted.pem"];
    for (typed, code) in [("correct horse", 0), ("battery staple", 1)] {
        let mut terminal = Terminal::start(&environment, &args);
        terminal.wait_for("passphrase of ");
        terminal.wait_for("encrypted.pem: ");
        terminal.type_line(typed);
        let (found, seen) = terminal.end();
        assert_eq!(found, code, "{seen}");
        assert!(!seen.contains(typed), "{seen}");
    }
    // Without a terminal nobody is asked, and the error says what to do.
    let done = environment.run(&args);
    let done = done.refused(1, "NCR0911");
    assert!(
        done.stderr.contains("--passphrase-file"),
        "{}",
        done.shown()
    );
}

#[test]
fn a_spinner_turns_on_a_terminal_and_nowhere_else() {
    let (environment, _) = workspace();
    // Somebody who listens and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in silent.incoming().take(2) {
            let connection = connection.unwrap();
            std::thread::sleep(Duration::from_millis(600));
            drop(connection);
        }
    });
    let args = ["verify", "-c", &address];
    let mut terminal = Terminal::start(&environment, &args);
    let said = format!("attesting {address}");
    terminal.wait_for(&said);
    let (code, seen) = terminal.end();
    assert_eq!(code, 4, "{seen}");
    // It is drawn several times, in place, and wiped away before the error.
    assert!(seen.matches(&said).count() > 1, "{seen:?}");
    let error = seen.find("error[").unwrap();
    let last = seen.rfind(&said).unwrap();
    assert!(
        last < error && seen[last..error].contains("\u{1b}[2K"),
        "{seen:?}"
    );

    let done = environment.run(&args);
    assert_eq!(done.code, Some(4), "{}", done.shown());
    assert!(!done.stderr.contains("attesting"), "{}", done.shown());
    assert!(!done.stderr.contains('\u{1b}'), "{}", done.shown());
}
