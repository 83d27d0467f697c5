//! `packages/kpt` as the KRM functions catalogue lays a function out, checked by the catalogue's own tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::container::Image;
use crate::harness::{DOCKER, KPT, Place, assert_is_file, copy, given, root};
use crate::packages::yaml;

const CATALOGUE: &str = "NACRE_TEST_KPT_CATALOGUE";

fn packages() -> PathBuf {
    root().join("packages/kpt")
}

/// The folders of examples, by name.
fn examples() -> Vec<String> {
    let entries = fs::read_dir(packages().join("examples")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 2, "{names:?}");
    names
}

/// A place where kpt's end-to-end tests find kpt, git and the engine with our image, as `Kptfile`s name it.
fn place() -> Place {
    let image = Image::load(&given("NACRE_TEST_IMAGES").join("layout"), "krm-fn");
    let version = concat!(":v", env!("CARGO_PKG_VERSION"));
    assert!(image.name.ends_with(version), "{}", image.name);
    for example in examples() {
        let file = packages().join("examples").join(&example).join("Kptfile");
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(&format!("image: {}\n", image.name)), "{text}");
    }
    let place = Place::new();
    for (name, variable) in [("kpt", KPT), ("docker", DOCKER)] {
        symlink(given(variable), place.bin().join(name)).unwrap();
    }
    let identity = "[user]\nname = a\nemail = a@example.org\n";
    fs::write(place.home(".gitconfig"), identity).unwrap();
    place
}

#[test]
fn the_catalogues_own_tests_pass_on_our_examples() {
    let mut place = place();
    let mut folder = packages().join("examples");
    if std::env::var_os("NACRE_BLESS").is_some() {
        place.set("KPT_E2E_UPDATE_EXPECTED", "true");
    } else {
        let copied = place.path("examples");
        copy(&folder, &copied);
        folder = copied;
    }
    let done = place.tool(CATALOGUE, &[folder.to_str().unwrap()]).ok();
    for example in examples() {
        let passed = format!("--- PASS: Catalogue/{example} ");
        assert!(done.contains(&passed), "{done}");
    }
}

#[test]
fn the_catalogues_tests_find_what_is_not_as_expected() {
    let place = place();
    let copied = place.path("examples");
    copy(&packages().join("examples"), &copied);
    for (file, from, to) in [
        ("krm-fn-simple/resources.yaml", "nightly", "hourly"),
        (
            "krm-fn-missing-image/resources.yaml",
            "report:v2",
            "report:v3",
        ),
    ] {
        place.edit(&format!("examples/{file}"), from, to);
    }
    let done = place.tool(CATALOGUE, &[copied.to_str().unwrap()]);
    assert_eq!(done.code, Some(1), "{}", done.stdout);
    for example in examples() {
        let failed = format!("--- FAIL: Catalogue/{example} ");
        assert!(done.stdout.contains(&failed), "{}", done.stdout);
    }
}

/// The page of the function: its short and its long documentation are what `--help` prints.
#[test]
fn the_page_of_the_function_is_its_help() {
    let help = Place::new().ours("nacre-krm-fn", &["--help"], "").ok();
    let (title, rest) = help.split_once("\n\n").unwrap();
    assert_eq!(title, "# nacre-krm-fn");
    let (short, long) = rest.split_once("\n\n").unwrap();
    // One level below what the catalogue has above it.
    let long = long.replace("\n## ", "\n### ").replace("\n# ", "\n## ");
    let list: String = examples()
        .iter()
        .map(|name| format!("- [{name}](examples/{name}/README.md)\n"))
        .collect();
    let page = format!(
        "# krm-fn\n\n## Overview\n\n<!--mdtogo:Short-->\n\n{short}\n\n<!--mdtogo-->\n\n<!--mdtogo:Long-->\n\n\
         ## Usage\n\n{}\n\n<!--mdtogo-->\n\n## Examples\n\n{list}",
        long.trim_end()
    );
    assert_is_file(&packages().join("README.md"), &page);
}

/// What the examples have from `examples/jobs` is what is there.
#[test]
fn the_examples_have_the_lock_and_the_coordinator_of_the_jobs() {
    let jobs = root().join("examples/jobs");
    let lock = fs::read_to_string(jobs.join("nacre.lock.yaml")).unwrap();
    let manifest = fs::read_to_string(jobs.join("expected/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let policies = manifest["Policies"].as_object().unwrap();
    let coordinator = policies
        .iter()
        .find(|(_, entry)| entry["Role"] == "coordinator")
        .unwrap()
        .0;
    for name in examples() {
        let folder = packages().join("examples").join(&name);
        assert_is_file(&folder.join("nacre.lock.yaml"), &lock);
        let file = folder.join("fn-config.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let is_hash = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
        let found: Vec<&str> = text
            .split_whitespace()
            .filter(|word| is_hash(word))
            .collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_is_file(&file, &text.replace(found[0], coordinator));
    }
}

/// What the catalogue's check of its documents asks of metadata, names and titles.
#[test]
fn metadata_and_titles_are_as_the_catalogue_asks() {
    let metadata = yaml(&packages().join("metadata.yaml"));
    for field in ["image", "description", "sourceURL", "license"] {
        assert!(!metadata[field].as_str().unwrap().is_empty(), "{field}");
    }
    assert!(!metadata["tags"].as_array().unwrap().is_empty());
    let urls = metadata["examplePackageURLs"].as_array().unwrap();
    let base = "https://github.com/nacre-dev/nacre/tree/main/packages/kpt/examples/";
    let listed: Vec<&str> = urls
        .iter()
        .map(|url| url.as_str().unwrap().strip_prefix(base).unwrap())
        .collect();
    assert_eq!(listed, examples());
    for name in listed {
        let folder = packages().join("examples").join(name);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let title = readme.lines().next().unwrap().to_lowercase();
        let rest = name.strip_prefix("krm-fn-").unwrap().replace('-', " ");
        assert!(
            title.starts_with("# krm-fn: ") && title.contains(&rest),
            "{title}"
        );
        let ignored = fs::read_to_string(folder.join(".krmignore")).unwrap();
        assert_eq!(ignored, ".expected\n");
    }
}
