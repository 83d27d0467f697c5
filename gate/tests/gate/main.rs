//! The gate as a process, in a folder as on the volume.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A folder with the gate in it, as the initializer leaves it.
fn volume() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("nacre-gate");
    fs::copy(env!("CARGO_BIN_EXE_nacre-gate"), &gate).unwrap();
    fs::set_permissions(&gate, fs::Permissions::from_mode(0o555)).unwrap();
    folder
}

fn gate(volume: &Path) -> Command {
    let mut command = Command::new(volume.join("nacre-gate"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn write(volume: &Path, names: &[&str]) {
    for name in names {
        fs::write(volume.join(name), "x").unwrap();
    }
}

fn end(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

const ALL: [&str; 4] = ["certChain.pem", "key.pem", "mesh-ca.pem", "mesh-ready"];

#[test]
fn the_app_starts_when_the_last_file_is_there() {
    for last in ALL {
        let folder = volume();
        let volume = folder.path();
        let first: Vec<_> = ALL.into_iter().filter(|name| *name != last).collect();
        write(volume, &first);
        // An empty file is one that is not finished.
        fs::write(volume.join(last), "").unwrap();
        let mut child = gate(volume)
            .args(["--", "sh", "-c", "echo started"])
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(200));
        assert!(child.try_wait().unwrap().is_none(), "{last}");
        write(volume, &[last]);
        let start = Instant::now();
        assert_eq!(end(child), (Some(0), "started\n".to_owned(), String::new()));
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn the_app_is_the_same_process_and_gets_everything() {
    let folder = volume();
    write(folder.path(), &ALL);
    let work = tempfile::tempdir().unwrap();
    let script = "echo $$; pwd; echo \"$WORD|$1|$2|$#\"; cat; trap";
    let mut child = gate(folder.path())
        .args(["--", "sh", "-c", script, "sh", "a b", "", "*"])
        .current_dir(work.path())
        .env("WORD", "of mine")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"input\n").unwrap();
    let expected = format!(
        "{id}\n{}\nof mine|a b||3\ninput\n",
        work.path().canonicalize().unwrap().display()
    );
    assert_eq!(end(child), (Some(0), expected, String::new()));
}

#[test]
fn programs_are_looked_up_in_path_and_failures_have_codes() {
    let folder = volume();
    write(folder.path(), &ALL);
    let bin = tempfile::tempdir().unwrap();
    let app = bin.path().join("app");
    fs::write(&app, "#!/bin/sh\nexit 7\n").unwrap();
    let run = |program: &str| {
        let child = gate(folder.path())
            .args(["--", program])
            .env("PATH", bin.path())
            .spawn();
        end(child.unwrap())
    };
    let (code, _, error) = run("app");
    assert_eq!(code, Some(126), "{error}");
    fs::set_permissions(&app, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run("app").0, Some(7));
    assert_eq!(run(app.to_str().unwrap()).0, Some(7));
    let (code, _, error) = run("nothing");
    assert_eq!(code, Some(127));
    assert!(error.contains("nothing"), "{error}");
    for arguments in [&[][..], &["--"], &["app"], &["-x", "app"]] {
        let (code, _, error) = end(gate(folder.path()).args(arguments).spawn().unwrap());
        assert_eq!(code, Some(2));
        assert!(error.contains("usage"), "{error}");
    }
}

#[test]
fn broken_pipes_end_the_app_as_they_do_without_the_gate() {
    // A Rust program ignores SIGPIPE; what it becomes must not.
    let folder = volume();
    write(folder.path(), &ALL);
    let child = gate(folder.path())
        .args(["--", "sh", "-c", "kill -PIPE $$; echo alive"])
        .spawn();
    let (code, text, _) = end(child.unwrap());
    assert_eq!((code, text.as_str()), (None, ""));
}
