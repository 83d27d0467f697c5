//! What a Go program is made of, by `go version -m` and the licence texts of its modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{Component, Origin};
use crate::process;

/// Every module of a program, and Go's own library.
pub(super) fn components(program: &Path) -> Result<Vec<Component>> {
    let text = process::output(Command::new("go").args(["version", "-m"]).arg(program))?;
    let (go, modules) = modules(&text)?;
    let mut components = vec![Component {
        name: "std".to_owned(),
        version: go,
        licence: "BSD-3-Clause".to_owned(),
        origin: Origin::Go(None),
    }];
    for Module { path, version, sum } in modules {
        components.push(Component {
            licence: licence(&folder(&path, &version)?)?,
            name: path,
            version,
            origin: Origin::Go(sum),
        });
    }
    Ok(components)
}

/// A module as a program names it.
#[derive(Debug, PartialEq, Eq)]
struct Module {
    path: String,
    version: String,
    sum: Option<String>,
}

/// The version of Go and the modules in what `go version -m` says.
fn modules(text: &str) -> Result<(String, Vec<Module>)> {
    let (first, rest) = text.split_once('\n').context("no Go program")?;
    let go = first
        .rsplit(' ')
        .next()
        .and_then(|word| word.strip_prefix("go"));
    let go = go.with_context(|| format!("go version says {first:?}"))?;
    let mut modules: Vec<Module> = Vec::new();
    for line in rest.lines() {
        let mut words = line.trim_start().split('\t');
        let kind = words.next().unwrap_or_default();
        if !matches!(kind, "mod" | "dep" | "=>") {
            continue;
        }
        let (Some(path), Some(version)) = (words.next(), words.next()) else {
            bail!("go version says {line:?}");
        };
        if kind == "=>" {
            // In place of the one before.
            modules.pop();
        }
        modules.push(Module {
            path: path.to_owned(),
            version: version.to_owned(),
            sum: words
                .next()
                .filter(|sum| !sum.is_empty())
                .map(str::to_owned),
        });
    }
    if modules.is_empty() {
        bail!("{first} names no module");
    }
    Ok((go.to_owned(), modules))
}

/// Where the files of a module are; Go fetches what is not there and checks it.
fn folder(path: &str, version: &str) -> Result<PathBuf> {
    let module = format!("{path}@{version}");
    let mut go = Command::new("go");
    // Not that of a module that the working directory belongs to.
    go.args(["mod", "download", "-json", &module])
        .current_dir(std::env::temp_dir());
    let answer: Value = serde_json::from_str(&process::output(&mut go)?)?;
    let folder = answer.get("Dir").and_then(Value::as_str);
    folder
        .map(PathBuf::from)
        .with_context(|| format!("go has no files of {module}"))
}

/// The licences whose texts are in a folder.
fn licence(folder: &Path) -> Result<String> {
    let mut found = std::collections::BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        let is_text = (name.starts_with("licen") || name.starts_with("copying"))
            && !name.contains("template");
        if is_text && entry.file_type()?.is_file() {
            found.extend(licences_in(&fs::read_to_string(entry.path())?));
        }
    }
    if found.is_empty() {
        bail!("{} has no licence that is known", folder.display());
    }
    Ok(found.into_iter().collect::<Vec<_>>().join(" AND "))
}

/// SPDX names of the licences in a text, by the words that only they have.
fn licences_in(text: &str) -> Vec<&'static str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    let has = |part: &str| text.contains(part);
    let mut found = Vec::new();
    if has("Apache License") && has("Version 2.0") {
        found.push("Apache-2.0");
    }
    if has("Permission is hereby granted, free of charge, to any person") {
        found.push("MIT");
    }
    if has("Permission to use, copy, modify, and")
        && has("distribute this software for any purpose")
    {
        found.push("ISC");
    }
    if has("Mozilla Public License") && (has("Version 2.0") || has("version 2.0")) {
        found.push("MPL-2.0");
    }
    if has("Redistribution and use in source and binary forms") {
        found.push(match has("either the name") {
            true => "BSD-3-Clause",
            false => "BSD-2-Clause",
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn what_a_program_says_of_its_modules_is_read() {
        let text = "/x/kustomize: go1.26.8\n\tpath\texample.org/k\n\tmod\texample.org/k\tv5.8.1\th1:a=\n\
                    \tdep\texample.org/old\tv1.0.0\n\t=>\texample.org/new\tv2.0.0\th1:b=\n\tbuild\tCGO_ENABLED=0\n";
        let module = |path: &str, version: &str, sum: &str| Module {
            path: path.to_owned(),
            version: version.to_owned(),
            sum: Some(sum.to_owned()),
        };
        let expected = vec![
            module("example.org/k", "v5.8.1", "h1:a="),
            module("example.org/new", "v2.0.0", "h1:b="),
        ];
        assert_eq!(modules(text).unwrap(), ("1.26.8".to_owned(), expected));
        assert!(modules("/bin/true: not executable file\n").is_err());
    }

    #[test]
    fn licences_are_told_by_their_texts() {
        let ours = fs::read_to_string(workspace::root().join("LICENSE")).unwrap();
        assert_eq!(licences_in(&ours), ["Apache-2.0"]);
        let mit = "Permission is hereby granted, free of\n charge, to any person obtaining a copy";
        assert_eq!(licences_in(mit), ["MIT"]);
        let bsd = "Redistribution and use in source and binary forms, with or without";
        assert_eq!(licences_in(bsd), ["BSD-2-Clause"]);
        let three = format!("{bsd}\nNeither the name of the holder");
        assert_eq!(licences_in(&three), ["BSD-3-Clause"]);
        assert_eq!(licences_in("All rights reserved."), Vec::<&str>::new());
    }
}
