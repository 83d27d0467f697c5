use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nacre_store::{Directory, Object, Put, Store, StoreError, StoreKey, Swap};

use crate::conformance::{key, suite};

#[tokio::test(flavor = "multi_thread")]
async fn conformance() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let fresh = || -> Arc<dyn Store> {
        count.set(count.get() + 1);
        Arc::new(Directory::open(&folder.path().join(format!("{}/history", count.get()))).unwrap())
    };
    suite(&fresh, true).await;
}

#[tokio::test]
async fn nobody_else_may_look() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("history");
    let store = Directory::open(&root).unwrap();
    store.put(&key("manifests", 1), b"x").await.unwrap();
    store.swap(None, b"x").await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("manifests")), 0o700);
    assert_eq!(mode(&root.join("latest")), 0o600);
    assert_eq!(mode(&root.join(key("manifests", 1).as_str())), 0o600);
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    store.put(&key("manifests", 1), b"x").await.unwrap();
    store.swap(None, b"head").await.unwrap();
    let again = Directory::open(folder.path()).unwrap();
    assert_eq!(
        again.read(&key("manifests", 1)).await.unwrap().unwrap(),
        b"x"
    );
    let latest = again.latest().await.unwrap().unwrap();
    let swap = again.swap(Some(&latest.version), b"next").await.unwrap();
    assert!(matches!(swap, Swap::Moved(_)));
}

#[tokio::test]
async fn failures_name_the_file_and_leave_the_old_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    store.swap(None, b"head").await.unwrap();
    // A folder in the way: what a rename onto it says is the system's, whoever runs the test.
    let path = folder.path().join(key("manifests", 1).as_str());
    fs::create_dir_all(&path).unwrap();
    let error = store.put(&key("manifests", 1), b"x").await.unwrap_err();
    assert!(error.to_string().contains("manifests"), "{error}");
    fs::remove_dir_all(folder.path().join("manifests")).unwrap();
    fs::write(folder.path().join("manifests"), b"a file").unwrap();
    let error = store.put(&key("manifests", 1), b"x").await.unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(store.latest().await.unwrap().unwrap().bytes, b"head");
    // Nothing unfinished stays behind.
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".new-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn abandoned_files_go_and_fresh_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    store.put(&key("manifests", 1), b"x").await.unwrap();
    let (old, fresh) = (
        folder.path().join("manifests/.new-1-1"),
        folder.path().join(".new-1-2"),
    );
    for path in [&old, &fresh] {
        fs::write(path, b"half").unwrap();
    }
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(hour_ago).unwrap();
    Directory::open(folder.path()).unwrap();
    assert!(!old.exists() && fresh.exists());
    assert_eq!(
        store.put(&key("manifests", 1), b"x").await.unwrap(),
        Put::Same
    );
}

/// So many objects of different lengths that they share a file.
fn many(number: u64) -> Arc<[Object]> {
    let object = |at: u64| Object {
        key: StoreKey::new(&format!("policies/{number:032x}{at:032x}")).unwrap(),
        bytes: (number + at).to_be_bytes().repeat(40 * at as usize),
    };
    (0..40).map(object).collect()
}

/// What is in the folder of shared files.
fn shared(root: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(root.join(".packs")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

async fn intact(store: &Directory, objects: &[Object]) -> bool {
    for Object { key, bytes } in objects {
        if store.read(key).await.unwrap().as_deref() != Some(bytes) {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn many_objects_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (root, all) = (folder.path(), many(1));
    let [store, other] = [(); 2].map(|()| Directory::open(root).unwrap());
    let few: Arc<[Object]> = all[..20].into();
    assert_eq!(other.read(&all[0].key).await.unwrap(), None);
    assert_eq!(
        store.put_all(Arc::clone(&few)).await.unwrap(),
        [Put::Stored; 20]
    );
    assert!(!root.join(".packs").exists());
    fs::remove_dir_all(root.join("policies")).unwrap();

    assert_eq!(
        store.put_all(Arc::clone(&all)).await.unwrap(),
        [Put::Stored; 40]
    );
    assert!(!root.join("policies").exists());
    let files = shared(root);
    assert_eq!(files.len(), 1);
    let mode = fs::metadata(&files[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // Whoever had the directory open sees them, and whoever opens it.
    assert!(intact(&store, &all).await && intact(&other, &all).await);
    assert!(intact(&Directory::open(root).unwrap(), &all).await);
    for store in [&store, &other] {
        assert_eq!(
            store.put_all(Arc::clone(&all)).await.unwrap(),
            [Put::Same; 40]
        );
        assert_eq!(store.put(&all[3].key, b"x").await.unwrap(), Put::Different);
    }
    assert_eq!(shared(root).len(), 1);
    // An object is replaced by one of its own.
    store.replace(&all[3].key, b"x").await.unwrap();
    assert_eq!(other.read(&all[3].key).await.unwrap().unwrap(), b"x");
    assert!(intact(&other, &all[4..]).await);
    let ends = other.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(ends.iter().filter(|end| **end == Put::Different).count(), 1);
}

#[tokio::test]
async fn what_a_damaged_file_held_is_missing_or_damaged_until_it_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (root, all) = (folder.path(), many(1));
    let store = Directory::open(root).unwrap();
    store.put_all(Arc::clone(&all)).await.unwrap();
    store.put_all(many(2)).await.unwrap();
    let holds = |path: &Path| {
        fs::read(path)
            .unwrap()
            .windows(73)
            .any(|part| part == all[0].key.as_str().as_bytes())
    };
    let file = shared(root).into_iter().find(|path| holds(path)).unwrap();
    let whole = fs::read(&file).unwrap();

    // Truncated: what stands before the end is there, the rest is damaged, also for who knew where it was.
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for store in [&store, &Directory::open(root).unwrap()] {
        assert!(intact(store, &all[..20]).await);
        let lost = store.read(&all[39].key).await;
        assert!(matches!(lost, Err(StoreError::Damaged { .. })), "{lost:?}");
        assert_eq!(
            store.put(&all[39].key, &all[39].bytes).await.unwrap(),
            Put::Different
        );
    }
    store.replace(&all[39].key, &all[39].bytes).await.unwrap();
    assert!(intact(&store, &all[39..]).await);
    fs::remove_dir_all(root.join("policies")).unwrap();

    // Gone, while somebody knows where the objects were.
    fs::remove_file(&file).unwrap();
    let lost = store.read(&all[1].key).await;
    assert!(matches!(lost, Err(StoreError::Damaged { .. })), "{lost:?}");

    // A list that is not what it was: whoever comes knows nothing of it, and writes the file again.
    for at in [0, 11, 12, 13, 20, 40 * 78] {
        let mut other = whole.clone();
        other[at] ^= 1;
        fs::write(&file, &other).unwrap();
        let fresh = Directory::open(root).unwrap();
        for object in &*all {
            assert_eq!(fresh.read(&object.key).await.unwrap(), None, "{at}");
        }
        assert!(intact(&fresh, &many(2)).await);
        let ends = fresh.put_all(Arc::clone(&all)).await.unwrap();
        assert_eq!(ends, [Put::Stored; 40], "{at}");
        assert!(intact(&fresh, &all).await && intact(&store, &all).await);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
    assert_eq!(shared(root).len(), 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (root, all) = (folder.path(), many(1));
    let store = Directory::open(root).unwrap();
    store.put_all(Arc::clone(&all)).await.unwrap();
    store.put_all(many(2)).await.unwrap();
    store.put(&key("manifests", 1), b"x").await.unwrap();
    // Folders cannot be read as files, whoever runs the test; one comes before every file and one behind, but not in
    // the order of the directory.
    for name in ["0".repeat(64), "f".repeat(64)] {
        fs::create_dir(root.join(".packs").join(name)).unwrap();
    }
    let fresh = Directory::open(root).unwrap();
    assert!(intact(&fresh, &all).await && intact(&fresh, &many(2)).await);
    // What is found nowhere may be there.
    let fresh = Directory::open(root).unwrap();
    let keys = [
        &key("manifests", 2),
        &all[1].key,
        &key("manifests", 1),
        &key("manifests", 3),
    ];
    let keys: Arc<[StoreKey]> = keys.into_iter().cloned().collect();
    let found = fresh.read_all(Arc::clone(&keys)).await.unwrap();
    for at in [0, 3] {
        let Err(StoreError::Io { path, .. }) = &found[at] else {
            panic!("{:?}", found[at])
        };
        assert!(path.starts_with(root.join(".packs")), "{}", path.display());
    }
    assert_eq!(found[1].as_ref().unwrap().as_ref(), Some(&all[1].bytes));
    assert_eq!(found[2].as_ref().unwrap().as_deref(), Some(&b"x"[..]));
    assert!(matches!(
        fresh.there(Arc::clone(&keys)).await,
        Err(StoreError::Io { .. })
    ));
    assert_eq!(fresh.there(keys[1..3].into()).await.unwrap(), [true; 2]);
}

#[tokio::test]
async fn whatever_has_the_name_of_an_object_is_another_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    let [large, link] = [1, 2].map(|byte| key("manifests", byte));
    let file = fs::File::create(manifests.join(large.hash())).unwrap();
    file.set_len(17 << 20).unwrap();
    std::os::unix::fs::symlink("nowhere", manifests.join(link.hash())).unwrap();
    for key in [large, link] {
        assert_eq!(store.there([key.clone()].into()).await.unwrap(), [true]);
        assert_eq!(store.put(&key, b"x").await.unwrap(), Put::Different);
        store.replace(&key, b"x").await.unwrap();
        assert_eq!(store.read(&key).await.unwrap().unwrap(), b"x");
        assert_eq!(store.put(&key, b"x").await.unwrap(), Put::Same);
    }
}

/// Not a test of its own: a file that grows beyond what this process may write is an error to it.
#[tokio::test]
#[ignore = "the other process of a_full_disk_is_an_error_and_leaves_nothing"]
async fn child_on_a_full_disk() {
    let root = std::env::var_os(CHILD).unwrap();
    let root = Path::new(&root);
    let store = Directory::open(root).unwrap();
    let error = store.put_all(many(1)).await.unwrap_err();
    let StoreError::Io { path, source } = &error else {
        panic!("{error}")
    };
    assert!(path.starts_with(root.join(".packs")), "{error}");
    assert_eq!(source.kind(), std::io::ErrorKind::FileTooLarge);
    assert!(shared(root).is_empty());
    assert_eq!(store.read(&many(1)[0].key).await.unwrap(), None);
    store.put(&key("manifests", 1), b"x").await.unwrap();
    store.swap(None, b"x").await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // 64 blocks of 512 or 1024 bytes, of 256 000 that are wanted.
    let limited = r#"trap '' XFSZ && ulimit -f 64 && exec "$0" --exact directory::child_on_a_full_disk --ignored"#;
    let mut child = Command::new("sh");
    child
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap());
    let ended = child.env(CHILD, folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    let store = Directory::open(folder.path()).unwrap();
    assert_eq!(store.put_all(many(1)).await.unwrap(), [Put::Stored; 40]);
    assert!(intact(&store, &many(1)).await);
}

const CHILD: &str = "NACRE_STORE_TEST_CHILD";

/// Not a test of its own: moves `latest` from 0 on until it is killed, and prints each number once it is
/// safe. The objects of a number are written before.
#[tokio::test]
async fn child_that_writes() {
    let Some(root) = std::env::var_os(CHILD) else {
        return;
    };
    let store = Directory::open(Path::new(&root)).unwrap();
    let latest = store.latest().await.unwrap();
    let mut number = latest.as_ref().map_or(0, |latest| number_of(&latest.bytes));
    let mut version = latest.map(|latest| latest.version);
    loop {
        number += 1;
        let bytes = number.to_be_bytes().repeat(2000);
        store
            .replace(&key("manifests", (number % 7) as u8), &bytes)
            .await
            .unwrap();
        let ends = store.put_all(many(number)).await.unwrap();
        assert!(!ends.contains(&Put::Different));
        match store.swap(version.as_ref(), &bytes).await.unwrap() {
            Swap::Moved(now) => version = Some(now),
            Swap::Lost => panic!("nobody else writes"),
        }
        println!("safe {number}");
    }
}

fn number_of(bytes: &[u8]) -> u64 {
    let (number, _) = bytes.split_first_chunk().unwrap();
    assert_eq!(bytes, number.repeat(2000), "torn");
    u64::from_be_bytes(*number)
}

#[tokio::test]
async fn a_killed_writer_leaves_the_old_state_or_the_new_one() {
    use std::io::{BufRead as _, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let mut last = 0;
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "directory::child_that_writes", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || {
            lines
                .by_ref()
                .find_map(|line| line.ok()?.strip_prefix("safe ")?.parse::<u64>().ok())
        };
        let mut safe = next().unwrap();
        std::thread::sleep(Duration::from_micros(round * 137 % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
        while let Some(number) = next() {
            safe = number;
        }
        let found = number_of(&store.latest().await.unwrap().unwrap().bytes);
        assert!(
            (safe..=safe + 1).contains(&found),
            "said {safe}, found {found}"
        );
        assert!(found > last);
        for number in last + 1..=found {
            assert!(intact(&store, &many(number)).await, "{number}");
        }
        last = found;
        for slot in 0..7 {
            if let Some(bytes) = store.read(&key("manifests", slot)).await.unwrap() {
                number_of(&bytes);
            }
        }
    }
}
