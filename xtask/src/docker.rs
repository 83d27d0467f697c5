//! A container engine of our own for the time of a test run.
//!
//! It has its own socket and state, and by itself no network: the functions run with `--network none`, images
//! are built from `scratch`. One test makes a network that leads nowhere; no packet filter rule of the machine
//! is touched.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::tools::{Environment, as_root};
use crate::{process, workspace};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running engine; it stops when this value is dropped.
pub(crate) struct Engine {
    process: Child,
    state: PathBuf,
    socket: PathBuf,
}

/// Starts an engine and waits until it answers.
pub(crate) fn start(tools: &Environment) -> Result<Engine> {
    let tool = |name| tools.get(name).with_context(|| format!("no {name}"));
    let daemon = tool("NACRE_TEST_DOCKERD")?;
    let client = tool("NACRE_TEST_DOCKER")?;
    // Storage drivers and sockets both need short paths of one file system.
    let state = workspace::target()?.join("docker");
    let run = std::env::temp_dir().join(format!("nacre-docker-{}", std::process::id()));
    fs::create_dir_all(&state)?;
    fs::create_dir_all(&run)?;
    let socket = run.join("socket");
    let log = fs::File::create(state.join("log"))?;
    let Some(mut command) = as_root(&daemon.display().to_string()) else {
        bail!("a container engine needs root or a sudo that does not ask");
    };
    command
        .arg("--host")
        .arg(format!("unix://{}", socket.display()));
    command
        .arg("--data-root")
        .arg(state.join("data"))
        .arg("--exec-root")
        .arg(run.join("exec"));
    command.arg("--pidfile").arg(run.join("pid"));
    command.args([
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let process = command.spawn().context("cannot start dockerd")?;
    let mut engine = Engine {
        process,
        state,
        socket,
    };

    let start = Instant::now();
    while !process::succeeds(
        Command::new(client)
            .arg("info")
            .env("DOCKER_HOST", engine.host()),
    ) {
        if start.elapsed() > PATIENCE || engine.process.try_wait()?.is_some() {
            bail!(
                "dockerd does not come up; see {}",
                engine.state.join("log").display()
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(engine)
}

impl Engine {
    /// The value of `DOCKER_HOST` for its clients.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Engine {
    /// Ends the engine as a terminal would, so that it stops what it started.
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        if let Some(mut kill) = as_root("kill") {
            process::succeeds(kill.args(["-TERM", &id]));
        }
        let _ = self.process.wait();
        if let Some(run) = self.socket.parent() {
            let _ = fs::remove_dir_all(run);
        }
    }
}
