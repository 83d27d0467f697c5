use super::*;
use crate::entry::TEST_ROOT_LABEL;
use crate::user::{ResolvedUser, UserDatabase};

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn entry(reference: &str, content: &str) -> Entry {
    Entry::new(ImageReference::parse(reference).unwrap(), digest(content))
}

fn lock(entries: impl IntoIterator<Item = Entry>) -> ImageLock {
    let mut lock = ImageLock::default();
    for entry in entries {
        lock.insert(entry);
    }
    lock
}

#[test]
fn one_image_under_all_its_spellings() {
    let lock = lock([entry("nginx:1.27", "a"), entry("ghcr.io/o/app", "b")]);
    for text in [
        "nginx:1.27",
        "library/nginx:1.27",
        "docker.io/library/nginx:1.27",
    ] {
        assert_eq!(lock.lookup(text).unwrap().digest, digest("a"), "{text}");
    }
    for text in ["ghcr.io/o/app", "ghcr.io/o/app:latest"] {
        assert_eq!(lock.lookup(text).unwrap().digest, digest("b"), "{text}");
    }
}

#[test]
fn what_is_not_locked_is_missing_and_the_help_names_the_command() {
    let lock = lock([entry("nginx:1.27", "a")]);
    for text in ["nginx", "nginx:latest", "nginx:1.28", "quay.io/nginx:1.27"] {
        let error = lock.lookup(text).unwrap_err();
        assert_eq!(error, LookupError::Missing { image: text.into() });
        assert!(error.help().contains("nacre lock PATH…"));
    }
    assert_eq!(lock.lookup("Not An Image").unwrap_err().code(), 302);
}

#[test]
fn a_written_digest_must_agree() {
    let mut with_index = entry("nginx:1.27", "manifest");
    with_index.index_digest = Some(digest("index"));
    let lock = lock([with_index]);
    for known in ["manifest", "index"] {
        let known = digest(known);
        assert!(lock.lookup(&format!("nginx:1.27@{known}")).is_ok());
        assert!(lock.lookup(&format!("nginx@{known}")).is_ok());
        // Another tag of the same content.
        assert!(lock.lookup(&format!("nginx:stable@{known}")).is_ok());
        assert!(lock.lookup(&format!("other@{known}")).is_err());
    }
    let other = digest("other");
    let error = lock.lookup(&format!("nginx:1.27@{other}")).unwrap_err();
    let image = format!("nginx:1.27@{other}");
    let expected = LookupError::DigestMismatch {
        image,
        written: other,
        locked: digest("manifest"),
    };
    assert_eq!(error, expected);
    let error = lock.lookup(&format!("nginx@{other}")).unwrap_err();
    assert!(matches!(error, LookupError::Missing { .. }));
}

#[test]
fn a_pinned_reference_finds_the_entry_that_pinned_it() {
    let lock = lock([entry("nginx:1.27", "a"), entry("app", "b")]);
    for text in ["nginx:1.27", "app"] {
        let digest = lock.lookup(text).unwrap().digest;
        let pinned = ImageReference::parse(text).unwrap().pinned(&digest);
        assert_eq!(lock.lookup(&pinned).unwrap().digest, digest);
    }
}

#[test]
fn an_entry_is_verified_when_it_is_used() {
    let mut arm = entry("arm:1", "a");
    arm.platform = "linux/arm64".parse().unwrap();
    let mut user = entry("user:1", "b");
    user.users = Some(UserDatabase::default());
    user.resolved_user = Some(ResolvedUser {
        uid: 0,
        gid: 4,
        groups: vec![4],
        username: None,
    });
    let mut own = entry(&format!("own:1@{}", digest("x")), "y");
    own.index_digest = Some(digest("z"));
    let mut sim = entry("sim:1", "c");
    sim.config
        .labels
        .insert(TEST_ROOT_LABEL.into(), String::new());
    let mut good = user.clone();
    good.reference = ImageReference::parse("good:1").unwrap();
    good.resolved_user = good.default_user();
    let lock = lock([arm, user, own, sim, good]);

    let code = |text: &str| lock.lookup(text).map_err(|e| e.code());
    assert_eq!(code("arm:1"), Err(304));
    assert!(
        lock.lookup_for("arm:1", &"linux/arm64".parse().unwrap())
            .is_ok()
    );
    assert_eq!(code("user:1"), Err(305));
    assert_eq!(code(&format!("own:1@{}", digest("x"))), Err(303));
    assert_eq!(code("sim:1"), Err(306));
    assert!(code("good:1").is_ok());
}

#[test]
fn merging_takes_what_is_new_and_refuses_what_contradicts() {
    let mut ours = lock([entry("a:1", "a"), entry("b:1", "b")]);
    let mut same = entry("b:1", "b");
    same.source = crate::entry::Source::Archive;
    ours.merge(lock([same, entry("c:1", "c")])).unwrap();
    assert_eq!(ours.len(), 3);

    let before = ours.clone();
    let error = ours.merge(lock([
        entry("d:1", "d"),
        entry("a:1", "x"),
        entry("c:1", "y"),
    ]));
    let conflicts = error.unwrap_err().conflicts;
    let named: Vec<_> = conflicts
        .iter()
        .map(|c| (c.reference.as_str(), &c.fields[..]))
        .collect();
    let expected = [
        ("docker.io/library/a:1", &["digest"][..]),
        ("docker.io/library/c:1", &["digest"][..]),
    ];
    assert_eq!(named, expected);
    assert_eq!(ours, before);

    ours.override_with(lock([entry("a:1", "x")]));
    assert_eq!(ours.lookup("a:1").unwrap().digest, digest("x"));
}
