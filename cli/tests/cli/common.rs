//! A directory of its own, and an environment that knows nothing of the machine.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const WEB: &str = include_str!("../../../crates/framing/tests/data/web.yml");
pub(crate) const SERVICE: &str = include_str!("../../../crates/framing/tests/data/service.yaml");
pub(crate) const CONFIG: &str =
    include_str!("../../../crates/framing/tests/data/confidential.yaml");
pub(crate) const LOCK: &str = include_str!("../../../crates/framing/tests/data/lock.yaml");

pub(crate) struct TestEnvironment {
    dir: tempfile::TempDir,
}

impl TestEnvironment {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Configuration, lock, and `resources/` with a workload and a Service.
    pub(crate) fn shop() -> Self {
        let environment = Self::empty();
        environment.write("nacre.yaml", CONFIG);
        environment.write("nacre.lock.yaml", LOCK);
        environment.write("resources/web.yml", WEB);
        environment.write("resources/service.yaml", SERVICE);
        environment
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Every file below the directory with its content, links and temporary files included.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.dir.path().to_path_buf()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let content = fs::read(&path).unwrap();
                    files.push((path.strip_prefix(self.dir.path()).unwrap().into(), content));
                }
            }
        }
        files.sort();
        files
    }

    /// A program in this directory and with nothing in its environment.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn nacre(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_nacre"));
        command.args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.nacre(args).output().unwrap().into()
    }

    /// A part of the policy of a workload in `rendered.yaml`: `--text` all of it, `--data` what is its own.
    pub(crate) fn policy(&self, part: &str, workload: &str) -> String {
        let show = [
            "policy",
            "show",
            part,
            "--workload",
            workload,
            "rendered.yaml",
        ];
        self.run(&show).success().stdout
    }

    pub(crate) fn pipe(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Done {
        let mut child = self
            .nacre(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
        child.wait_with_output().unwrap().into()
    }
}

/// What a process did.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Done {
    /// The form of the snapshots.
    pub(crate) fn shown(&self) -> String {
        let code = self
            .code
            .map_or("killed".to_owned(), |code| code.to_string());
        let mut out = format!("status: {code}\n");
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                out.push_str(&format!("--- {name}\n{text}"));
            }
        }
        out
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.shown());
        self
    }

    /// Refused with this exit code and a code that starts so, nothing on standard output.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, finding: &str) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.shown());
        assert_eq!(self.stdout, "", "{}", self.shown());
        assert!(
            self.stderr.contains(&format!("error[{finding}")),
            "{}",
            self.shown()
        );
        self
    }
}
