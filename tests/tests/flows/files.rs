//! `nacre generate` on files, as on the seed page.

use crate::harness::{Place, carried};

const ARGUMENTS: [&str; 5] = [
    "generate",
    "--config",
    "confidential.yaml",
    "--lock",
    "nacre.lock.yaml",
];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [&ARGUMENTS[..], more].concat()
}

/// A folder with resources that nobody wrote for us.
fn resources() -> Place {
    let place = Place::with_example("jobs");
    std::fs::create_dir(place.path("resources")).unwrap();
    for file in ["jobs.yaml", "coordinator.yml"] {
        std::fs::rename(place.path(file), place.path("resources").join(file)).unwrap();
    }
    place
}

#[test]
fn files_are_rewritten_in_place_with_everything_else_kept() {
    let place = resources();
    let before = place.files("resources");
    place.ours("nacre", &with(&["resources/"]), "").ok();
    let after = place.files("resources");
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    let jobs = &after["jobs.yaml"];
    assert_eq!(
        carried(jobs).keys().collect::<Vec<_>>(),
        ["CronJob/report", "Job/prepare"]
    );
    for line in before["jobs.yaml"]
        .lines()
        .filter(|line| !line.contains("contrast-cc") && !line.contains("image:"))
    {
        assert!(jobs.lines().any(|found| found == line), "{line:?} is gone");
    }
    assert!(place.path("manifest.json").is_file());
}

#[test]
fn a_second_run_changes_nothing() {
    let place = resources();
    place.ours("nacre", &with(&["resources/"]), "").ok();
    let once = place.files(".");
    place.ours("nacre", &with(&["resources/"]), "").ok();
    assert_eq!(once, place.files("."));
    place
        .ours("nacre", &with(&["--check", "resources/"]), "")
        .ok();
}

#[test]
fn a_dry_run_and_an_output_leave_the_files_alone() {
    let place = resources();
    let before = place.files("resources");
    place
        .ours("nacre", &with(&["--dry-run", "resources/"]), "")
        .ok();
    assert_eq!(before, place.files("resources"));
    assert!(!place.path("manifest.json").exists());
    let done = place
        .ours("nacre", &with(&["-o", "-", "resources/"]), "")
        .ok();
    assert_eq!(carried(&done).len(), 3, "{:?}", carried(&done).keys());
    assert_eq!(before, place.files("resources"));
    place
        .ours("nacre", &with(&["-o", "all.yaml", "resources/"]), "")
        .ok();
    assert_eq!(carried(&place.read("all.yaml")), carried(&done));
    assert_eq!(before, place.files("resources"));
}

#[test]
fn check_says_what_would_change_and_changes_nothing() {
    let place = resources();
    let before = place.files(".");
    let ended = place.ours("nacre", &with(&["--check", "resources/"]), "");
    assert_eq!(ended.code, Some(5), "{}\n{}", ended.stdout, ended.stderr);
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("contrast-initializer"));
    assert_eq!(before, place.files("."));
}

#[test]
fn one_wrong_file_leaves_all_as_they_were() {
    let place = resources();
    place.write(
        "resources/wrong.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {runtimeClassName: contrast-cc}\n",
    );
    let before = place.files(".");
    let ended = place.ours("nacre", &with(&["resources/"]), "");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("wrong.yaml"), "{}", ended.stderr);
    assert_eq!(before, place.files("."));
}
