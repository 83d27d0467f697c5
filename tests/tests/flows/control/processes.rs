//! Processes that end with the test.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A program that runs beside the test; killed when dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it, with a log of its own in the folder.
    pub(crate) fn start(command: &mut Command, name: &str, logs: &Path) -> Running {
        fs::create_dir_all(logs).unwrap();
        let number = fs::read_dir(logs).unwrap().count();
        let log = logs.join(format!("{number:02}-{}.log", name.replace('/', "-")));
        let file = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Running { child, log }
    }

    /// Everything it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until something answers at an address, which is this program's.
    pub(crate) fn until_it_listens(&mut self, address: &str) {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                self.is_running() && start.elapsed() < PATIENCE,
                "{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it ended well; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<bool> {
        self.child
            .try_wait()
            .unwrap()
            .map(|status| status.success())
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Standard output of an openssl that ends well.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let program = std::env::var_os("NACRE_TEST_OPENSSL").unwrap_or_else(|| "openssl".into());
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "openssl {arguments:?}\n{text}{errors}"
    );
    text
}
