//! The two proxies in the slot.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::support::{Authority, Net, inside};
use crate::tools::{Envoy, tool};

/// The core of the proxy; applications and clients have the other.
const CORE: usize = 0;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nacre,
    Envoy,
}

impl Kind {
    pub fn program(self) -> PathBuf {
        match self {
            Self::Nacre => std::env::var_os("NACRE_BENCH_PROGRAM")
                .unwrap_or_else(|| env!("CARGO_BIN_EXE_nacre-mesh").into())
                .into(),
            Self::Envoy => tool("NACRE_TEST_ENVOY", "envoy"),
        }
    }
}

/// One that runs.
pub struct Proxy {
    child: Child,
    /// From its start until it answered, with the rules in force.
    pub took: Duration,
}

impl Proxy {
    /// Starts it in the pod and waits until it listens behind its rules.
    pub fn start(kind: Kind, net: &Net, authority: &Authority) -> Self {
        let certs = authority.issue("web");
        let mut command = match kind {
            Kind::Nacre => {
                let mut command = Command::new(kind.program());
                command.env("NACRE_MESH_TLS_DIR", &certs);
                command
            }
            Kind::Envoy => Envoy {
                listen: ("::", 15006),
                transparent: true,
                to: ("", 0),
                serve: Some(&certs),
                connect: None,
            }
            .command(&authority.dir.path().join("envoy")),
        };
        let log = std::fs::File::create(authority.dir.path().join("proxy.log")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        let log = authority.dir.path().join("proxy.log");
        inside(&net.pod(), move || {
            pin(CORE);
            let begin = Instant::now();
            let mut child = command.spawn().unwrap();
            let deadline = begin + Duration::from_secs(60);
            while std::net::TcpStream::connect("127.0.0.1:15006").is_err() {
                let log = || std::fs::read_to_string(&log).unwrap_or_default();
                assert!(child.try_wait().unwrap().is_none(), "{}", log());
                assert!(Instant::now() < deadline, "{}", log());
                std::thread::sleep(Duration::from_micros(500));
            }
            if kind == Kind::Envoy {
                let rules = nacre_mesh::rules::Ruleset {
                    inbound: Some(nacre_mesh::rules::Inbound {
                        mutual: 15006,
                        server_only: 15007,
                        ..Default::default()
                    }),
                    strict_egress: false,
                };
                nacre_mesh::nft::install(&rules).unwrap();
            }
            let took = begin.elapsed();
            Self { child, took }
        })
        .join()
        .unwrap()
    }

    /// Seconds that all its threads were on a processor.
    pub fn cpu(&self) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds: u64 = tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
            .map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        nanoseconds as f64 / 1e9
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    pub fn resident_mb(&self) -> f64 {
        resident_mb(self.process())
    }
}

/// Resident memory of a process, in MB.
pub fn resident_mb(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Binds this thread, and what it starts, to one core.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).unwrap();
}
