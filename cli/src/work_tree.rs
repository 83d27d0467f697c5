//! Is a file inside a git work tree, and does an ignore rule keep it out of commits?

use std::path::{Path, PathBuf};

use ignore::gitignore::GitignoreBuilder;

/// What git would do with a new file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// The file is in no work tree.
    Outside,
    /// An ignore rule covers it.
    Ignored,
    /// `git add` would take it.
    Exposed {
        /// Root of the work tree.
        root: PathBuf,
    },
}

/// Looks for a `.git` above the file, and for ignore rules between there and the file.
pub(crate) fn tracked(file: &Path) -> Tracked {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    let parent = file.parent().unwrap_or(Path::new("/"));
    let parent = parent
        .canonicalize()
        .unwrap_or_else(|_| parent.to_path_buf());
    let file = parent.join(file.file_name().unwrap_or_default());
    let Some(root) = parent.ancestors().find(|dir| dir.join(".git").exists()) else {
        return Tracked::Outside;
    };
    let mut ignored = is_ignored_by(root, &root.join(".git/info/exclude"), &file).unwrap_or(false);
    let mut directories: Vec<&Path> = parent
        .ancestors()
        .take_while(|dir| dir.starts_with(root))
        .collect();
    directories.reverse();
    for directory in directories {
        // Deeper files override those above them.
        if let Some(answer) = is_ignored_by(directory, &directory.join(".gitignore"), &file) {
            ignored = answer;
        }
    }
    if ignored {
        Tracked::Ignored
    } else {
        Tracked::Exposed {
            root: root.to_path_buf(),
        }
    }
}

/// What one file of rules says about a path; `None` when it says nothing.
fn is_ignored_by(directory: &Path, rules: &Path, file: &Path) -> Option<bool> {
    if !rules.is_file() {
        return None;
    }
    let mut builder = GitignoreBuilder::new(directory);
    // A rule that cannot be read protects nothing; the others still count.
    let _ = builder.add(rules);
    let matcher = builder.build().ok()?;
    let matched = matcher.matched_path_or_any_parents(file, false);
    if matched.is_ignore() {
        Some(true)
    } else if matched.is_whitelist() {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".git/info")).unwrap();
        fs::create_dir_all(dir.path().join("deploy/prod")).unwrap();
        dir
    }

    #[test]
    fn a_file_without_a_rule_is_exposed() {
        let dir = tree();
        let key = dir.path().join("deploy/prod/key.pem");
        assert!(matches!(tracked(&key), Tracked::Exposed { .. }));
        fs::write(dir.path().join("deploy/prod/.gitignore"), "other.pem\n").unwrap();
        assert!(matches!(tracked(&key), Tracked::Exposed { .. }));
    }

    #[test]
    fn rules_of_every_level_count_and_the_deepest_wins() {
        let dir = tree();
        let key = dir.path().join("deploy/prod/key.pem");
        fs::write(dir.path().join(".gitignore"), "*.pem\n").unwrap();
        assert_eq!(tracked(&key), Tracked::Ignored);
        fs::write(dir.path().join("deploy/.gitignore"), "!key.pem\n").unwrap();
        assert!(matches!(tracked(&key), Tracked::Exposed { .. }));
        fs::write(dir.path().join("deploy/prod/.gitignore"), "/key.pem\n").unwrap();
        assert_eq!(tracked(&key), Tracked::Ignored);
    }

    #[test]
    fn an_ignored_directory_and_the_exclude_file_count() {
        let dir = tree();
        let key = dir.path().join("deploy/prod/key.pem");
        fs::write(dir.path().join(".gitignore"), "prod/\n").unwrap();
        assert_eq!(tracked(&key), Tracked::Ignored);
        fs::remove_file(dir.path().join(".gitignore")).unwrap();
        fs::write(dir.path().join(".git/info/exclude"), "*.pem\n").unwrap();
        assert_eq!(tracked(&key), Tracked::Ignored);
    }

    #[test]
    fn outside_of_a_work_tree_nothing_is_tracked() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(tracked(&dir.path().join("key.pem")), Tracked::Outside);
    }
}
