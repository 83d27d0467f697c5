//! What is true of the programs themselves.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::program;

const MEGABYTE: u64 = 1_000_000;

#[test]
fn programs_are_small() {
    for (name, limit) in [
        ("nacre-krm-fn", 8),
        ("nacre-post-renderer", 8),
        ("nacre", 20),
    ] {
        let size = fs::metadata(program(name)).unwrap().len();
        assert!(
            size <= limit * MEGABYTE,
            "{name}: {size} bytes, at most {limit} MB"
        );
    }
}

#[test]
fn programs_need_no_loader() {
    for name in ["nacre-krm-fn", "nacre-post-renderer", "nacre"] {
        let bytes = fs::read(program(name)).unwrap();
        let loader = b"/lib64/ld-linux-x86-64.so.2";
        assert!(
            !bytes.windows(loader.len()).any(|window| window == loader),
            "{name} is not static"
        );
    }
}

#[test]
fn programs_name_no_path_of_the_machine_that_built_them() {
    let home = std::env::var("HOME").unwrap();
    let ours = crate::harness::root();
    let paths = [
        format!("{home}/.cargo/"),
        format!("{}/crates/", ours.display()),
    ];
    for name in ["nacre-krm-fn", "nacre-post-renderer", "nacre"] {
        let bytes = fs::read(program(name)).unwrap();
        for path in &paths {
            let found = bytes
                .windows(path.len())
                .any(|window| window == path.as_bytes());
            assert!(!found, "{name} names {path}");
        }
    }
}

#[test]
fn programs_answer_at_once() {
    for name in ["nacre-krm-fn", "nacre-post-renderer", "nacre"] {
        // The fastest of many: what else runs on the machine is not what is measured.
        let run = |_| {
            let start = Instant::now();
            let mut command = Command::new(program(name));
            command.arg("--version").stdout(Stdio::null());
            assert!(command.status().unwrap().success());
            start.elapsed()
        };
        let fastest = (0..20).map(run).min().unwrap();
        assert!(fastest < Duration::from_millis(10), "{name}: {fastest:?}");
    }
}
