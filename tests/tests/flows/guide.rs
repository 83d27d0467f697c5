//! The commands of the documentation, run as they stand there: the guide, the README files, all of `docs/`.
//!
//! A page says in comments where its commands run: `<!-- run in: EXAMPLE -->` starts anew in a copy of a
//! folder of `examples/` (`empty` for none); `<!-- not run: WHY -->` leaves out the next block. Blocks of one
//! place run in order and see each other's files. A block of commands that is neither run nor left out with
//! a reason fails.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::{HELM4, KPT, KUSTOMIZE, Place, given, root};

/// What a command may need that there is not here, and what a command looks like that needs it.
const NEEDS: &[(&str, &[&str])] = &[
    (
        "a Coordinator",
        &[
            "nacre set ",
            "nacre verify ",
            "nacre recover ",
            "nacre sign ",
            "nacre seed-shares ",
        ],
    ),
    (
        "a cluster",
        &[
            "kubectl ",
            "helm install ",
            "nacre set",
            "nacre verify\n",
            "nacre check --live",
        ],
    ),
    ("a registry", &["nacre lock "]),
    ("a report", &["nacre verify-report "]),
    ("helmfile", &["helmfile "]),
    ("a workload that serves", &["openssl s_client ", "curl "]),
    (
        "the images of `cargo xtask images`",
        &["nacre lock --layout target/images/layout "],
    ),
    ("the work tree", &["cargo xtask "]),
];

/// Whether `needs WHAT`, or `needs WHAT; MORE`, says why these commands are left out. Files that it names have to be
/// there.
fn is_reason(reason: &str, commands: &str) -> Result<(), &'static str> {
    let (what, more) = reason.split_once("; ").unwrap_or((reason, ""));
    let what = what.strip_prefix("needs ").unwrap_or_default();
    let (_, uses) = NEEDS
        .iter()
        .find(|(need, _)| *need == what)
        .ok_or("no reason of the list")?;
    if !uses.iter().any(|command| commands.contains(command)) {
        return Err("no command that needs it");
    }
    let mut paths = more.split(' ').filter(|word| word.contains('/'));
    match paths.all(|path| root().join(path).exists()) {
        true => Ok(()),
        false => Err("names a file that is not there"),
    }
}

/// A block of commands of a page.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    line: usize,
    place: Option<String>,
    /// Whether the place is made anew before this block.
    fresh: bool,
    skipped: Option<String>,
    commands: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let (mut place, mut fresh, mut skipped) = (None, false, None);
    let mut open: Option<(usize, bool, String)> = None;
    let directive = |line: &str, name: &str| {
        let rest = line.trim().strip_prefix("<!-- ")?.strip_suffix(" -->")?;
        Some(rest.strip_prefix(name)?.strip_prefix(": ")?.to_owned())
    };
    for (number, line) in page.lines().enumerate() {
        if let Some((start, commands, text)) = &mut open {
            if line.trim_start().starts_with("```") {
                if *commands {
                    found.push(Block {
                        line: *start,
                        place: place.clone(),
                        fresh: std::mem::take(&mut fresh),
                        skipped: skipped.take(),
                        commands: std::mem::take(text),
                    });
                }
                open = None;
            } else {
                text.push_str(line);
                text.push('\n');
            }
        } else if let Some(language) = line.trim_start().strip_prefix("```") {
            open = Some((number + 1, language == "sh", String::new()));
        } else if let Some(example) = directive(line, "run in") {
            place = Some(example);
            fresh = true;
        } else if let Some(reason) = directive(line, "not run") {
            skipped = Some(reason);
        }
    }
    found
}

/// The one block of a page in which these words are.
pub(crate) fn commands_with(page: &Path, words: &str) -> String {
    let text = fs::read_to_string(page).unwrap();
    let found: Vec<Block> = blocks(&text)
        .into_iter()
        .filter(|block| block.commands.contains(words))
        .collect();
    let [block] = &found[..] else {
        panic!("{}: {} blocks with {words}", page.display(), found.len());
    };
    block.commands.clone()
}

/// A place in which the names of the real tools lead to them.
fn place(example: &str) -> Place {
    let place = match example {
        "empty" => Place::new(),
        example => Place::with_example(example),
    };
    for (name, variable) in [("kustomize", KUSTOMIZE), ("kpt", KPT), ("helm", HELM4)] {
        symlink(given(variable), place.bin().join(name)).unwrap();
    }
    place
}

fn run_page(page: &Path) -> usize {
    let name = page.strip_prefix(root()).unwrap().display();
    let text = fs::read_to_string(page).unwrap();
    let mut current: Option<(String, Place)> = None;
    let mut run = 0;
    for block in blocks(&text) {
        if let Some(reason) = &block.skipped {
            if let Err(problem) = is_reason(reason, &block.commands) {
                panic!("{name}:{}: {problem}: {reason}", block.line);
            }
            continue;
        }
        let example = block.place.as_ref().unwrap_or_else(|| {
            panic!(
                "{name}:{}: neither run nor left out with a reason",
                block.line
            )
        });
        let same = current.as_ref().is_some_and(|(known, _)| known == example);
        if block.fresh || !same {
            current = Some((example.clone(), place(example)));
        }
        let (_, place) = current.as_ref().unwrap();
        let script = format!("set -euo pipefail\n{}", block.commands);
        let done = place.run(Path::new("/bin/bash"), &["-c", &script], "");
        assert_eq!(
            done.code,
            Some(0),
            "{name}:{}\n{}\n{}{}",
            block.line,
            block.commands,
            done.stdout,
            done.stderr
        );
        run += 1;
    }
    run
}

#[test]
fn every_command_that_needs_no_cluster_works() {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "deploy", "examples", "packages"] {
        find_pages(&root().join(folder), &mut pages);
    }
    let run: usize = pages.iter().map(|page| run_page(page)).sum();
    assert!(pages.len() >= 25 && run >= 25, "{run} blocks on {pages:?}");
}

fn find_pages(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find_pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn reasons_are_of_the_list_and_fit_their_commands() {
    let set = "nacre set -c HOST rendered.yaml\n";
    for (reason, commands, fits) in [
        ("needs a Coordinator", set, true),
        ("needs a Coordinator; cli/tests runs it", set, true),
        ("needs a Coordinator; cli/nowhere runs it", set, false),
        ("needs a Coordinator", "nacre check rendered.yaml\n", false),
        ("needs patience", set, false),
        ("is slow", set, false),
        ("", set, false),
    ] {
        assert_eq!(is_reason(reason, commands).is_ok(), fits, "{reason}");
    }
}

#[test]
fn pages_are_read_as_they_are_written() {
    let page = "<!-- run in: jobs -->\n```sh\na\nb\n```\n```yaml\nc\n```\n\
                <!-- not run: needs a cluster -->\n```sh\nd\n```\n```sh\ne\n```\n";
    let blocks = blocks(page);
    let seen: Vec<_> = blocks
        .iter()
        .map(|b| (b.commands.as_str(), b.fresh, b.skipped.as_deref()))
        .collect();
    let expected = [
        ("a\nb\n", true, None),
        ("d\n", false, Some("needs a cluster")),
        ("e\n", false, None),
    ];
    assert_eq!(seen, expected);
    assert_eq!(super::guide::blocks("```sh\nx\n```\n")[0].place, None);
}
