//! Reading: standard input within a limit, files and directories in a fixed order.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nacre_findings::{Code, Finding, Location, codes};
use nacre_krm::{Limits, Stream};

use crate::environment::Environment;

/// Default limit for one input, in bytes. Ten thousand Deployments are 16 MB.
pub const MAX_INPUT: u64 = 64 << 20;

/// Extensions of the files that are taken from a directory, as `contrast generate` does.
const EXTENSIONS: [&str; 2] = ["yml", "yaml"];

/// How deep directories may be nested.
const MAX_DEPTH: usize = 64;

/// The text of one file or of standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The path as the user gave it; `None` for standard input.
    pub path: Option<PathBuf>,
    /// The content.
    pub content: String,
}

impl Text {
    /// How messages call it.
    pub fn name(&self) -> Option<String> {
        self.path.as_ref().map(|path| path.display().to_string())
    }
}

/// The limit from `NACRE_MAX_INPUT`, in bytes, or the default.
pub fn limit(environment: &Environment) -> Result<u64, Finding> {
    match environment.variable("NACRE_MAX_INPUT") {
        None => Ok(MAX_INPUT),
        Some(text) => text.parse().map_err(|_| {
            Finding::error(
                codes::cli::USAGE,
                "NACRE_MAX_INPUT is not a number of bytes",
            )
            .current(text)
        }),
    }
}

/// Reads all of standard input.
pub fn read_stdin(stdin: &mut dyn Read, limit: u64) -> Result<Text, Finding> {
    let bytes = read_limited(stdin, limit, None, codes::cli::INPUT_UNREADABLE)?;
    Ok(Text {
        path: None,
        content: utf8(bytes, None)?,
    })
}

/// Reads one file.
pub fn read_file(path: &Path, limit: u64) -> Result<Text, Finding> {
    let name = path.display().to_string();
    let mut file = fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    let bytes = read_limited(&mut file, limit, Some(&name), codes::cli::FILE_UNREADABLE)?;
    Ok(Text {
        path: Some(path.to_path_buf()),
        content: utf8(bytes, Some(&name))?,
    })
}

/// Reads a text as YAML, within the limit of [`limit`].
pub fn parse(text: &Text, limit: u64) -> Result<Stream, Finding> {
    let mut limits = Limits::default();
    limits.bytes = limits
        .bytes
        .max(usize::try_from(limit).unwrap_or(usize::MAX));
    Stream::parse_with(text.content.as_str(), &limits)
        .map_err(|error| yaml_finding(&error, text.name()))
}

/// What a user is told about a text or an edit that `krm` refused.
pub fn yaml_finding(error: &nacre_krm::Error, file: Option<String>) -> Finding {
    let position = error.position();
    let at = Location {
        file,
        ..Location::default()
    };
    Finding::error(Code::new(error.code()), error.to_string())
        .at(at.with_position(position.line, position.column))
}

/// The files named by `paths`: a file is itself, a directory is every `*.yml` and `*.yaml` below it.
/// Each real file once, in the order of the paths and, below a directory, in the order of names.
///
/// Links to files are followed. Links to directories are followed only where they are named in
/// `paths`, so that a walk never leaves the directory that was asked for.
pub fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Finding> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if metadata.is_dir() {
            walk(path, 0, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut out = Vec::with_capacity(found.len());
    for path in found {
        let real = fs::canonicalize(&path).map_err(|error| unreadable(&path, &error))?;
        if seen.insert(real) {
            out.push(path);
        }
    }
    if out.is_empty() {
        let names: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Finding::error(
            codes::cli::EMPTY_INPUT,
            format!("no *.yml or *.yaml file in {}", names.join(", ")),
        ));
    }
    Ok(out)
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Finding> {
    if depth > MAX_DEPTH {
        return Err(Finding::error(
            codes::cli::FILE_UNREADABLE,
            format!("directories are nested deeper than {MAX_DEPTH}"),
        )
        .at(Location::file(directory.display().to_string())));
    }
    let failed = |error: io::Error| unreadable(directory, &error);
    let mut entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, depth + 1, found)?;
        } else if has_yaml_extension(&path) {
            let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
            if metadata.is_file() {
                found.push(path);
            }
        }
    }
    Ok(())
}

fn has_yaml_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension))
}

fn read_limited(
    input: &mut dyn Read,
    limit: u64,
    name: Option<&str>,
    code: Code,
) -> Result<Vec<u8>, Finding> {
    let shown = name.unwrap_or("standard input");
    let at = name.map_or_else(Location::default, Location::file);
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    input
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| {
            Finding::error(code, format!("cannot read {shown}: {error}")).at(at.clone())
        })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(
            Finding::error(code, format!("{shown} is larger than {limit} bytes"))
                .help("split the input, or raise NACRE_MAX_INPUT")
                .at(at),
        );
    }
    Ok(bytes)
}

fn utf8(bytes: Vec<u8>, name: Option<&str>) -> Result<String, Finding> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let hint = match error.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the text is UTF-16; save it as UTF-8",
            _ => "save the text as UTF-8",
        };
        let at = Location {
            file: name.map(str::to_owned),
            ..Location::default()
        };
        Finding::error(
            codes::cli::NOT_UTF8,
            format!(
                "{} is not UTF-8 (byte {good})",
                name.unwrap_or("standard input")
            ),
        )
        .help(hint)
        .at(at.with_line(u32::try_from(line).unwrap_or(u32::MAX)))
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Finding {
    let name = path.display().to_string();
    Finding::error(
        codes::cli::FILE_UNREADABLE,
        format!("cannot read {name}: {error}"),
    )
    .at(Location::file(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }

    #[test]
    fn stdin_is_read_up_to_the_limit() {
        assert_eq!(read_stdin(&mut &b"abc"[..], 3).unwrap().content, "abc");
        let error = read_stdin(&mut &b"abcd"[..], 3).unwrap_err();
        assert_eq!(error.code, codes::cli::INPUT_UNREADABLE);
        assert_eq!(error.message, "standard input is larger than 3 bytes");
        let error = read_stdin(&mut Broken, 3).unwrap_err();
        assert_eq!(error.message, "cannot read standard input: gone");
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_place() {
        let error = read_stdin(&mut &b"a: 1\nb: \xff\n"[..], 99).unwrap_err();
        assert_eq!(error.code, codes::cli::NOT_UTF8);
        assert_eq!(error.location.line, Some(2));
        let error = read_stdin(&mut &b"\xff\xfea\0"[..], 99).unwrap_err();
        assert_eq!(
            error.help.as_deref(),
            Some("the text is UTF-16; save it as UTF-8")
        );
    }

    #[test]
    fn a_directory_gives_its_yaml_files_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("b/c")).unwrap();
        for name in [
            "z.yml",
            "a.yaml",
            "b/x.yml",
            "b/c/y.yaml",
            "n.json",
            ".z.yml.nacre-1-0.old",
        ] {
            fs::write(root.join(name), "").unwrap();
        }
        symlink("z.yml", root.join("again.yml")).unwrap();
        symlink("..", root.join("b/up")).unwrap();
        let names: Vec<String> = collect(&[root.to_path_buf()])
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(root).unwrap().display().to_string())
            .collect();
        // `again.yml` and `z.yml` are one file; `b/up` is not walked.
        assert_eq!(names, ["a.yaml", "again.yml", "b/c/y.yaml", "b/x.yml"]);
    }

    #[test]
    fn a_file_that_is_named_is_taken_whatever_its_extension() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("all.txt");
        fs::write(&file, "").unwrap();
        assert_eq!(collect(&[file.clone(), file.clone()]).unwrap(), [file]);
    }

    #[test]
    fn nothing_to_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = collect(&[dir.path().to_path_buf()]).unwrap_err();
        assert_eq!(error.code, codes::cli::EMPTY_INPUT);
        let missing = dir.path().join("missing");
        let error = collect(std::slice::from_ref(&missing)).unwrap_err();
        assert_eq!(error.code, codes::cli::FILE_UNREADABLE);
        symlink("nowhere", dir.path().join("x.yml")).unwrap();
        let error = collect(&[dir.path().to_path_buf()]).unwrap_err();
        assert_eq!(error.code, codes::cli::FILE_UNREADABLE);
    }

    #[test]
    fn the_limit_comes_from_the_environment() {
        let mut environment = Environment::default();
        assert_eq!(limit(&environment).unwrap(), MAX_INPUT);
        environment
            .variables
            .insert("NACRE_MAX_INPUT".into(), "10".into());
        assert_eq!(limit(&environment).unwrap(), 10);
        environment
            .variables
            .insert("NACRE_MAX_INPUT".into(), "10M".into());
        assert_eq!(limit(&environment).unwrap_err().code, codes::cli::USAGE);
    }
}
