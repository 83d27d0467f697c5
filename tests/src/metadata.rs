//! The graph of packages as cargo sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// The graph for the platform of the images, read once.
pub(crate) static GRAPH: LazyLock<Graph> = LazyLock::new(Graph::read);

/// Packages and their edges.
pub(crate) struct Graph {
    /// By package id.
    packages: BTreeMap<String, Package>,
    members: BTreeSet<String>,
}

/// One package.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    /// Path of its `Cargo.toml`.
    pub(crate) manifest_path: String,
    /// What is linked into it: neither build scripts' nor tests' dependencies.
    normal: BTreeSet<String>,
    /// What is needed to build it.
    build: BTreeSet<String>,
    /// What its tests need on top.
    dev: BTreeSet<String>,
}

/// What cargo would build for a package of ours, by name; with the features it would enable. (The
/// metadata also follow features of packages that are not enabled.)
pub(crate) fn built_for(package: &str, edges: &str) -> BTreeSet<String> {
    let versions = versions_built_for(package, edges);
    versions.into_iter().map(|(name, _)| name).collect()
}

/// The same with the versions.
pub(crate) fn versions_built_for(package: &str, edges: &str) -> BTreeSet<(String, String)> {
    let text = tree(
        package,
        &["--prefix=none", "--format={p}", "--edges", edges],
    );
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect()
}

/// What links a package directly, in what cargo would build for a package of ours.
pub(crate) fn linked_by(package: &str, linked: &str) -> BTreeSet<String> {
    let text = tree(
        package,
        &[
            "--prefix=depth",
            "--format= {p}",
            "--edges=normal",
            "--invert",
            linked,
            "--depth=1",
        ],
    );
    text.lines()
        .filter_map(|line| line.strip_prefix("1 ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// The features of our own packages that a program is built with when it is built alone.
pub(crate) fn features_of(program: &str) -> BTreeSet<String> {
    let text = tree(
        program,
        &["--prefix=none", "--format={p}|{f}", "--edges=normal,build"],
    );
    let ours = text.lines().filter(|line| line.starts_with("nacre-"));
    ours.filter_map(|line| {
        let (package, features) = line.split_once('|')?;
        let name = package.split(' ').next()?.to_owned();
        let features = features.trim_end_matches(" (*)").to_owned();
        Some(
            features
                .split(',')
                .map(move |feature| format!("{name}/{feature}"))
                .collect::<Vec<_>>(),
        )
    })
    .flatten()
    .collect()
}

/// `cargo tree` of a package of ours, for the platform of the images.
fn tree(package: &str, options: &[&str]) -> String {
    said(
        Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--target=x86_64-unknown-linux-gnu"])
            .args(["--package", package])
            .args(options),
    )
}

/// What a command says that is run in the root of the work tree and succeeds.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The root of the work tree.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

impl Graph {
    fn read() -> Graph {
        let metadata = said(
            Command::new(env!("CARGO"))
                .args(["metadata", "--format-version=1", "--locked"])
                .args(["--filter-platform", "x86_64-unknown-linux-gnu"]),
        );
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        let described = list(&metadata["packages"])
            .iter()
            .map(|package| (text(&package["id"]), package));
        let described: BTreeMap<String, &Value> = described.collect();
        let packages = list(&metadata["resolve"]["nodes"]).iter().map(|node| {
            let id = text(&node["id"]);
            let package = Package::new(described[&id], node);
            (id, package)
        });
        Graph {
            packages: packages.collect(),
            members: list(&metadata["workspace_members"])
                .iter()
                .map(text)
                .collect(),
        }
    }

    /// The packages of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().map(|id| &self.packages[id])
    }

    /// Our packages that a package links.
    pub(crate) fn ours_linked_by(&self, package: &Package) -> BTreeSet<&str> {
        self.ours(&package.normal)
    }

    /// Our packages that only the tests of a package use.
    pub(crate) fn ours_for_tests_of(&self, package: &Package) -> BTreeSet<&str> {
        self.ours(&package.dev)
    }

    fn ours(&self, ids: &BTreeSet<String>) -> BTreeSet<&str> {
        ids.iter()
            .filter(|id| self.members.contains(*id))
            .map(|id| self.packages[id].name.as_str())
            .collect()
    }

    /// Everything that is linked or runs to build the named packages; for each the way to it.
    pub(crate) fn below(&self, names: &[&str]) -> BTreeMap<&str, (&Package, String)> {
        let mut found: BTreeMap<&str, (&Package, String)> = BTreeMap::new();
        let start = self
            .members
            .iter()
            .filter(|id| names.contains(&self.packages[*id].name.as_str()));
        let mut open: Vec<(&String, String)> = start.map(|id| (id, String::new())).collect();
        assert_eq!(
            open.len(),
            names.len(),
            "not all of {names:?} are packages of the workspace"
        );
        while let Some((id, way)) = open.pop() {
            let package = &self.packages[id];
            let way = format!("{way} > {}", package.name);
            if found.insert(id, (package, way.clone())).is_none() {
                open.extend(package.normal.iter().map(|id| (id, way.clone())));
                open.extend(package.build.iter().map(|id| (id, way.clone())));
            }
        }
        found
    }
}

impl Package {
    fn new(description: &Value, node: &Value) -> Package {
        let edges = |wanted: &Value| {
            let of_kind = |edge: &&Value| {
                list(&edge["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"] == *wanted)
            };
            list(&node["deps"])
                .iter()
                .filter(of_kind)
                .map(|edge| text(&edge["pkg"]))
                .collect()
        };
        Package {
            name: text(&description["name"]),
            version: text(&description["version"]),
            license: description["license"].as_str().map(str::to_owned),
            description: description["description"].as_str().map(str::to_owned),
            manifest_path: text(&description["manifest_path"]),
            normal: edges(&Value::Null),
            build: edges(&"build".into()),
            dev: edges(&"dev".into()),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}
