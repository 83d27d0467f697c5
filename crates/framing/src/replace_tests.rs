use std::cell::Cell;
use std::os::unix::fs::symlink;

use super::*;

fn never() -> Option<i32> {
    None
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Three files `a`, `b`, `c` holding `old`.
fn three() -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = ["a", "b", "c"]
        .iter()
        .map(|name| dir.path().join(name))
        .collect();
    for path in &paths {
        fs::write(path, "old").unwrap();
    }
    (dir, paths)
}

fn changes(paths: &[PathBuf]) -> Vec<Change<'_>> {
    paths
        .iter()
        .map(|path| Change {
            path,
            expected: Expected::Exactly(b"old"),
            content: b"new",
        })
        .collect()
}

fn assert_all(paths: &[PathBuf], content: &str) {
    for path in paths {
        assert_eq!(
            fs::read_to_string(path).unwrap(),
            content,
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_committed_set_is_new_everywhere_and_leaves_nothing_behind() {
    let (dir, paths) = three();
    fs::set_permissions(&paths[1], fs::Permissions::from_mode(0o640)).unwrap();
    let extra = dir.path().join("manifest.json");
    let mut changes = changes(&paths);
    changes.push(Change {
        path: &extra,
        expected: Expected::Anything,
        content: b"{}",
    });
    Staged::stage(&changes, &never)
        .unwrap()
        .commit(&never)
        .unwrap();
    assert_all(&paths, "new");
    assert_eq!(names(dir.path()), ["a", "b", "c", "manifest.json"]);
    assert_eq!(
        fs::metadata(&paths[1]).unwrap().permissions().mode() & 0o777,
        0o640
    );
}

#[test]
fn a_dropped_set_leaves_no_trace() {
    let (dir, paths) = three();
    drop(Staged::stage(&changes(&paths), &never).unwrap());
    assert_all(&paths, "old");
    assert_eq!(names(dir.path()), ["a", "b", "c"]);
}

#[test]
fn a_signal_at_any_point_changes_nothing() {
    // The question is asked n+1 times by stage and n+1 times by commit.
    for arrives_at in 0..8 {
        let (dir, paths) = three();
        let asked = Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            (asked.get() > arrives_at).then_some(2)
        };
        let outcome = Staged::stage(&changes(&paths), &stop).and_then(|set| set.commit(&stop));
        assert!(
            matches!(outcome, Err(ReplaceError::Interrupted { signal: 2 })),
            "{arrives_at}"
        );
        assert_all(&paths, "old");
        assert_eq!(names(dir.path()), ["a", "b", "c"], "{arrives_at}");
    }
}

#[test]
fn a_rename_that_fails_puts_the_others_back() {
    let (dir, paths) = three();
    let created = dir.path().join("0-created");
    let mut all = vec![Change {
        path: &created,
        expected: Expected::Absent(0o600),
        content: b"x",
    }];
    all.extend(changes(&paths));
    let staged = Staged::stage(&all, &never).unwrap();
    // A directory in the place of the last target makes its rename fail.
    fs::remove_file(&paths[2]).unwrap();
    fs::create_dir(&paths[2]).unwrap();
    let error = staged.commit(&never).unwrap_err();
    assert!(matches!(&error, ReplaceError::Unwritable { path, .. } if path.ends_with("c")));
    assert_all(&paths[..2], "old");
    assert_eq!(names(dir.path()), ["a", "b", "c"]);
}

#[test]
fn a_file_edited_meanwhile_is_not_overwritten() {
    let (dir, paths) = three();
    fs::write(&paths[1], "edited").unwrap();
    let error = Staged::stage(&changes(&paths), &never).unwrap_err();
    assert!(matches!(&error, ReplaceError::Changed { path } if *path == paths[1]));
    assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "edited");
    assert_eq!(names(dir.path()), ["a", "b", "c"]);
}

#[test]
fn a_link_stays_a_link_and_its_target_is_replaced() {
    let (dir, paths) = three();
    let link = dir.path().join("link");
    symlink("a", &link).unwrap();
    replace_one(&link, b"new").unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("a"));
    assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "new");
}

#[test]
fn directories_dangling_links_and_existing_new_files_are_refused() {
    let (dir, paths) = three();
    let link = dir.path().join("link");
    symlink("nowhere", &link).unwrap();
    for path in [dir.path(), &link] {
        let error = replace_one(path, b"new").unwrap_err();
        assert!(matches!(error, ReplaceError::NotRegular { .. }), "{error}");
    }
    let key = Change {
        path: &paths[0],
        expected: Expected::Absent(0o600),
        content: b"key",
    };
    let error = Staged::stage(&[key], &never).unwrap_err();
    assert!(matches!(error, ReplaceError::Changed { .. }));
    assert_all(&paths, "old");
}

#[test]
fn a_new_file_has_the_mode_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key.pem");
    let change = Change {
        path: &key,
        expected: Expected::Absent(0o600),
        content: b"key",
    };
    Staged::stage(&[change], &never)
        .unwrap()
        .commit(&never)
        .unwrap();
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_missing_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no/manifest.json");
    let error = replace_one(&path, b"{}").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot write {}", path.display())
    );
}

#[test]
fn what_a_killed_run_left_is_neither_used_nor_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a.yaml");
    fs::write(&target, "old").unwrap();
    // A process with our number was killed: its new file was not renamed, its second name is the target itself.
    let new = name_beside(&target, 0, "new");
    let old = name_beside(&target, 0, "old");
    fs::write(&new, "half").unwrap();
    fs::hard_link(&target, &old).unwrap();
    replace_one(&target, b"fresh").unwrap();
    let texts = [&target, &new, &old].map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(texts, ["fresh", "half", "old"]);
    assert_eq!(names(dir.path()).len(), 3);
}
