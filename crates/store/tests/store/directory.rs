use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nacre_store::{Directory, Put, Store, StoreError, Swap};

use crate::conformance::{key, suite};

#[tokio::test(flavor = "multi_thread")]
async fn conformance() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    let fresh = || -> Arc<dyn Store> {
        count.set(count.get() + 1);
        Arc::new(Directory::open(&folder.path().join(format!("{}/history", count.get()))).unwrap())
    };
    suite(&fresh).await;
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

const CHILD: &str = "NACRE_STORE_TEST_CHILD";

/// Not a test of its own: moves `latest` from 0 on until it is killed, and prints each number once it is
/// safe. The object of a number is written before.
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
        last = found;
        for slot in 0..7 {
            if let Some(bytes) = store.read(&key("manifests", slot)).await.unwrap() {
                number_of(&bytes);
            }
        }
    }
}
