//! The hooks of `.pre-commit-hooks.yaml`, run by pre-commit at a real `git commit`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Ended, Place, given, root};

const PRE_COMMIT: &str = "NACRE_TEST_PRE_COMMIT";

/// The configuration that the guide shows, with hooks from this work tree in place of a release.
fn configuration(hooks: &str, revision: &str) -> String {
    let guide = fs::read_to_string(root().join("docs/guide/gitops.md")).unwrap();
    let (_, section) = guide.split_once("## pre-commit").unwrap();
    let (_, block) = section.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let release = "https://github.com/nacre-dev/nacre";
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    for word in [release, version] {
        assert!(block.contains(word), "no {word} in\n{block}");
    }
    block.replace(release, hooks).replace(version, revision)
}

fn shell(place: &Place, script: &str) -> Ended {
    let script = format!("set -euo pipefail\n{script}");
    place.run(Path::new("/bin/bash"), &["-c", &script], "")
}

/// A repository whose owner installed the hooks as the guide says, and committed what it rendered.
fn repository() -> Place {
    let place = Place::with_example("jobs");
    symlink(given(PRE_COMMIT), place.bin().join("pre-commit")).unwrap();
    let identity = "git config --global user.email a@example.org
        git config --global user.name a
        git config --global init.defaultBranch main";
    shell(&place, identity).ok();

    let hooks = place.home("hooks");
    fs::create_dir(&hooks).unwrap();
    let definition = ".pre-commit-hooks.yaml";
    fs::copy(root().join(definition), hooks.join(definition)).unwrap();
    let hooks = hooks.to_str().unwrap();
    let publish = format!(
        "cd '{hooks}' && git init -q && git add -A && git commit -qm hooks && git rev-parse HEAD"
    );
    let revision = shell(&place, &publish).ok();
    place.write(
        ".pre-commit-config.yaml",
        &configuration(hooks, revision.trim()),
    );

    place.write("nacre.yaml", &place.read("confidential.yaml"));
    let render = "mkdir resources && mv jobs.yaml coordinator.yml resources/
        rm confidential.yaml
        nacre generate -o rendered.yaml resources
        git init -q && git add -A
        pre-commit install";
    shell(&place, render).ok();
    place
}

/// Commits everything; pre-commit says on standard error what each hook found.
fn commit(place: &Place) -> Ended {
    shell(place, "git add -A && git commit -qm change")
}

#[test]
fn a_commit_of_what_was_rendered_passes_both_hooks() {
    let place = repository();
    let done = commit(&place);
    let said = done.stderr.clone();
    done.ok();
    let passed = said.lines().filter(|line| line.ends_with("Passed"));
    assert_eq!(passed.count(), 2, "{said}");
    let log = shell(&place, "git log --format=%s").ok();
    assert_eq!(log, "change\n");
}

#[test]
fn a_commit_of_an_edited_rendering_is_refused_with_the_finding() {
    let place = repository();
    commit(&place).ok();
    place.edit("rendered.yaml", "nightly", "hourly");
    let said = commit(&place).failed();
    for word in ["hook id: nacre-check", "exit code: 5", "rendered.yaml"] {
        assert!(said.contains(word), "no {word:?} in\n{said}");
    }
    assert!(!said.contains("hook id: nacre-lock-check"), "{said}");
    let log = shell(&place, "git log --format=%s").ok();
    assert_eq!(log, "change\n", "only the first commit");
}

#[test]
fn a_commit_of_an_image_that_is_not_locked_is_refused_with_the_finding() {
    let place = repository();
    commit(&place).ok();
    place.edit("resources/jobs.yaml", "report:v1", "report:v2");
    let said = commit(&place).failed();
    for word in ["hook id: nacre-lock-check", "NCR03", "report:v2"] {
        assert!(said.contains(word), "no {word:?} in\n{said}");
    }
}
