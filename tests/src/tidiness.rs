//! What tracked files look like.

use std::fs;
use std::process::Command;

use crate::metadata::root;

/// Lines after which a source file is two files.
const LONGEST: usize = 600;

#[test]
fn no_source_file_is_too_long() {
    let mut long = Vec::new();
    for file in tracked()
        .into_iter()
        .filter(|file| file.ends_with(".rs") || file.ends_with(".go"))
    {
        let lines = read(&file).map_or(0, |text| text.lines().count());
        if lines >= LONGEST {
            long.push(format!("{file}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn nothing_points_at_one_machine_or_is_left_unfinished() {
    // Written in pieces so that this file is not among those it finds.
    let words = [
        ["/ro", "ot/"].concat(),
        ["/wo", "rk/"].concat(),
        ["/tm", "p/nacre"].concat(),
        ["py", "pi.org"].concat(),
        ["proxy.go", "lang.org"].concat(),
        ["static.crates", ".io"].concat(),
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X:"].concat(),
    ];
    // Input of real tools is kept as they wrote it.
    let data = |file: &str| file.contains("/testdata/") || file.contains("/corpus/");
    let mut wrong = Vec::new();
    for file in tracked()
        .into_iter()
        .filter(|file| file != "Cargo.lock" && !data(file))
    {
        let Some(text) = read(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            let word = words.iter().find(|word| line.contains(word.as_str()));
            wrong.extend(word.map(|word| format!("{file}:{}: {word}", number + 1)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_private_key_is_tracked() {
    let begin = ["-----BEGIN ", "PRIVATE KEY-----"];
    let mut wrong = Vec::new();
    for file in tracked() {
        let Some(text) = read(&file) else { continue };
        let key =
            |line: &str| line.trim_start().starts_with(begin[0]) && line.contains(begin[1].trim());
        // A message or a pattern may name the marker; a key is the marker followed by base64.
        let lines: Vec<&str> = text.lines().collect();
        let found = lines
            .windows(2)
            .any(|pair| key(pair[0]) && is_base64(pair[1].trim()));
        if found {
            wrong.push(file);
        }
    }
    assert!(wrong.is_empty(), "private keys in {wrong:?}");
}

#[test]
fn no_source_is_hidden_from_git() {
    // A file that git ignores is there for whoever wrote it and missing in a fresh clone.
    let flags = [
        "ls-files",
        "--others",
        "--ignored",
        "--exclude-standard",
        "-z",
    ];
    let folders = [
        "cli",
        "crates",
        "docs",
        "examples",
        "fnconfig",
        "krm-fn",
        "mesh",
        "post-renderer",
    ];
    let output = Command::new("git")
        .args(flags)
        .args(folders)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let hidden = String::from_utf8(output.stdout).unwrap();
    let hidden: Vec<&str> = hidden.split_terminator('\0').collect();
    assert!(hidden.is_empty(), "ignored by .gitignore: {hidden:?}");
}

fn is_base64(line: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    line.len() >= 32 && line.bytes().all(allowed)
}

fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    assert!(names.len() > 50, "only {} tracked files", names.len());
    names
}

/// The text of a file; none if it is binary or was removed from the work tree.
fn read(file: &str) -> Option<String> {
    fs::read_to_string(root().join(file)).ok()
}
