//! What every store does. Each check gets a store that nobody has written to.

use std::sync::Arc;
use std::time::Duration;

use nacre_store::{Latest, MAX_OBJECT, Object, Put, Store, StoreError, StoreKey, Swap, Version};
use tokio::time::timeout;

/// Everything, on stores that `fresh` makes. `once`: whether it is exactly one who has stored an object that several
/// write at the same time, each among others.
pub async fn suite(fresh: &dyn Fn() -> Arc<dyn Store>, once: bool) {
    nothing_is_there_at_first(&*fresh()).await;
    objects_are_written_once(&*fresh()).await;
    objects_of_every_size_come_back(&*fresh()).await;
    kinds_do_not_mix(&*fresh()).await;
    latest_moves_by_its_version(&*fresh()).await;
    one_of_many_swaps_wins(fresh()).await;
    no_update_is_lost(fresh()).await;
    one_of_many_puts_stores(fresh()).await;
    many_are_written_together(fresh(), once).await;
    a_change_is_seen(fresh()).await;
}

pub fn key(kind: &str, byte: u8) -> StoreKey {
    StoreKey::new(&format!("{kind}/{}", format!("{byte:02x}").repeat(32))).unwrap()
}

fn moved(swap: Swap) -> Version {
    match swap {
        Swap::Moved(version) => version,
        Swap::Lost => panic!("lost"),
    }
}

async fn nothing_is_there_at_first(store: &dyn Store) {
    assert_eq!(store.read(&key("manifests", 1)).await.unwrap(), None);
    assert_eq!(store.latest().await.unwrap(), None);
}

async fn objects_are_written_once(store: &dyn Store) {
    let key = key("transitions", 1);
    assert_eq!(store.put(&key, b"one").await.unwrap(), Put::Stored);
    assert_eq!(store.put(&key, b"one").await.unwrap(), Put::Same);
    assert_eq!(store.put(&key, b"two").await.unwrap(), Put::Different);
    assert_eq!(store.put(&key, b"").await.unwrap(), Put::Different);
    assert_eq!(store.read(&key).await.unwrap().unwrap(), b"one");
    store.replace(&key, b"three").await.unwrap();
    assert_eq!(store.read(&key).await.unwrap().unwrap(), b"three");
    store
        .replace(&self::key("transitions", 2), b"new")
        .await
        .unwrap();
    assert_eq!(
        store
            .read(&self::key("transitions", 2))
            .await
            .unwrap()
            .unwrap(),
        b"new"
    );
}

async fn objects_of_every_size_come_back(store: &dyn Store) {
    for (at, size) in [0, 1, 700 << 10, (1 << 20) + 1, 5 << 20]
        .into_iter()
        .enumerate()
    {
        let bytes: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        let key = key("policies", at as u8);
        assert_eq!(
            store.put(&key, &bytes).await.unwrap(),
            Put::Stored,
            "{size}"
        );
        assert!(store.read(&key).await.unwrap().unwrap() == bytes, "{size}");
        assert_eq!(store.put(&key, &bytes).await.unwrap(), Put::Same, "{size}");
        // From many parts to one and back.
        store.replace(&key, b"short").await.unwrap();
        assert_eq!(store.read(&key).await.unwrap().unwrap(), b"short");
        store.replace(&key, &bytes).await.unwrap();
        assert!(store.read(&key).await.unwrap().unwrap() == bytes, "{size}");
    }
    let error = store
        .put(&key("policies", 99), &vec![0; MAX_OBJECT + 1])
        .await;
    assert!(matches!(error, Err(StoreError::TooLarge { .. })));
}

async fn kinds_do_not_mix(store: &dyn Store) {
    assert_eq!(
        store.put(&key("manifests", 7), b"manifest").await.unwrap(),
        Put::Stored
    );
    assert_eq!(store.read(&key("policies", 7)).await.unwrap(), None);
    assert_eq!(
        store.put(&key("policies", 7), b"policy").await.unwrap(),
        Put::Stored
    );
    assert_eq!(
        store.read(&key("manifests", 7)).await.unwrap().unwrap(),
        b"manifest"
    );
}

async fn latest_moves_by_its_version(store: &dyn Store) {
    let first = moved(store.swap(None, b"one").await.unwrap());
    assert_eq!(store.swap(None, b"other").await.unwrap(), Swap::Lost);
    let latest = store.latest().await.unwrap().unwrap();
    let expected = Latest {
        bytes: b"one".to_vec(),
        version: first.clone(),
    };
    assert_eq!(latest, expected);
    let second = moved(store.swap(Some(&first), b"two").await.unwrap());
    assert_ne!(first, second);
    assert_eq!(
        store.swap(Some(&first), b"three").await.unwrap(),
        Swap::Lost
    );
    assert_eq!(store.latest().await.unwrap().unwrap().bytes, b"two");
    moved(store.swap(Some(&second), b"three").await.unwrap());
}

async fn one_of_many_swaps_wins(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (0..8_u8)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.swap(None, &[number]).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += usize::from(matches!(task.await.unwrap(), Swap::Moved(_)));
    }
    assert_eq!(winners, 1);
}

async fn no_update_is_lost(store: Arc<dyn Store>) {
    const EACH: u32 = 5;
    let mut version = moved(store.swap(None, &0_u32.to_be_bytes()).await.unwrap());
    assert_eq!(store.latest().await.unwrap().unwrap().version, version);
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..EACH {
                    loop {
                        let latest = store.latest().await.unwrap().unwrap();
                        let count = u32::from_be_bytes(latest.bytes.try_into().unwrap()) + 1;
                        let bytes = count.to_be_bytes();
                        let swap = store.swap(Some(&latest.version), &bytes).await.unwrap();
                        if matches!(swap, Swap::Moved(_)) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let latest = store.latest().await.unwrap().unwrap();
    assert_eq!(latest.bytes, (4 * EACH).to_be_bytes());
    version = latest.version;
    moved(store.swap(Some(&version), b"end").await.unwrap());
}

async fn one_of_many_puts_stores(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (0..8_u8)
        .map(|number| {
            let store = Arc::clone(&store);
            // Half of them write the same.
            let bytes = vec![number / 2; 1000];
            tokio::spawn(async move { store.put(&key("manifests", 1), &bytes).await.unwrap() })
        })
        .collect();
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(task.await.unwrap());
    }
    let count = |end: Put| ends.iter().filter(|found| **found == end).count();
    assert_eq!(
        (count(Put::Stored), count(Put::Same), count(Put::Different)),
        (1, 1, 6)
    );
}

async fn many_are_written_together(store: Arc<dyn Store>, once: bool) {
    assert_eq!(store.put_all(Arc::new([])).await.unwrap(), []);
    let object = |kind: &str, byte: u8, text: &str| Object {
        key: key(kind, byte),
        bytes: text.repeat(1 + usize::from(byte)).into_bytes(),
    };
    let all: Arc<[Object]> = (0..100)
        .map(|byte| object(["policies", "manifests"][usize::from(byte) % 2], byte, "x"))
        .collect();
    // Some are there, as they should be or otherwise.
    store.put(&all[3].key, &all[3].bytes).await.unwrap();
    store.put(&all[4].key, b"other").await.unwrap();
    let keys: Arc<[StoreKey]> = all.iter().map(|object| object.key.clone()).collect();
    let there =
        |expected: fn(usize) -> bool| -> Vec<bool> { (0..all.len()).map(expected).collect() };
    let found = store.there(Arc::clone(&keys)).await.unwrap();
    assert_eq!(found, there(|at| at == 3 || at == 4));
    assert_eq!(
        store.there(keys[2..5].into()).await.unwrap(),
        [false, true, true]
    );
    let ends = store.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(
        store.there(Arc::clone(&keys)).await.unwrap(),
        there(|_| true)
    );
    assert_eq!(store.there(keys[2..5].into()).await.unwrap(), [true; 3]);
    let none = [key("policies", 251), key("transitions", 1)].into();
    assert_eq!(store.there(none).await.unwrap(), [false; 2]);
    assert!(store.there(Arc::new([])).await.unwrap().is_empty());
    for (at, (object, end)) in all.iter().zip(&ends).enumerate() {
        let (expected, bytes) = match at {
            3 => (Put::Same, &object.bytes[..]),
            4 => (Put::Different, &b"other"[..]),
            _ => (Put::Stored, &object.bytes[..]),
        };
        assert_eq!(*end, expected, "{at}");
        assert_eq!(store.read(&object.key).await.unwrap().unwrap(), bytes);
    }
    assert_eq!(ends.len(), all.len());
    // Whoever comes later, with all of them or with some, finds what is there.
    let again = store.put_all(Arc::clone(&all)).await.unwrap();
    let some = store.put_all(all[20..60].into()).await.unwrap();
    for (at, end) in again.into_iter().enumerate() {
        let expected = if at == 4 { Put::Different } else { Put::Same };
        assert_eq!(end, expected, "{at}");
    }
    assert_eq!(some, [Put::Same; 40]);
    let one = store.put(&all[9].key, &all[9].bytes).await.unwrap();
    let other = store.put(&all[9].key, b"other").await.unwrap();
    assert_eq!((one, other), (Put::Same, Put::Different));
    let read = store.read(&all[9].key).await.unwrap().unwrap();
    assert_eq!(read, all[9].bytes);
    let keys = [&all[9].key, &key("policies", 250), &all[4].key, &all[9].key];
    let found = store.read_all(keys.into_iter().cloned().collect()).await;
    let found: Vec<_> = found.unwrap().into_iter().map(Result::unwrap).collect();
    let nine = Some(all[9].bytes.clone());
    let expected = [nine.clone(), None, Some(b"other".to_vec()), nine];
    assert_eq!(found, expected);
    assert_eq!(store.read_all(Arc::new([])).await.unwrap().len(), 0);

    // Several writers of the same: each is stored once.
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let store = Arc::clone(&store);
            let all: Arc<[Object]> = (0..40).map(|at| object("transitions", at, "y")).collect();
            tokio::spawn(async move { store.put_all(all).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for writer in writers {
        let ends = writer.await.unwrap();
        assert!(!ends.contains(&Put::Different));
        stored += ends.iter().filter(|end| **end == Put::Stored).count();
    }
    assert_eq!(stored, 40);

    // Each has some of the next one's too.
    let writers: Vec<_> = (0..4_u8)
        .map(|from| {
            let store = Arc::clone(&store);
            let all: Arc<[Object]> = (from * 20..from * 20 + 50)
                .map(|at| object("shared", at, "z"))
                .collect();
            tokio::spawn(async move { store.put_all(all).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for writer in writers {
        let ends = writer.await.unwrap();
        assert!(!ends.contains(&Put::Different));
        stored += ends.iter().filter(|end| **end == Put::Stored).count();
    }
    assert!(stored == 110 || (!once && stored > 110), "{stored}");
    let shared: Arc<[Object]> = (0..110).map(|at| object("shared", at, "z")).collect();
    let ends = store.put_all(shared).await.unwrap();
    assert_eq!(ends, [Put::Same; 110]);
    for at in 0..110 {
        let Object { key, bytes } = object("shared", at, "z");
        assert_eq!(store.read(&key).await.unwrap().unwrap(), bytes, "{at}");
    }

    // One that cannot be written is an error, and no reason to lose what was there.
    let large = Object {
        key: key("policies", 200),
        bytes: vec![0; MAX_OBJECT + 1],
    };
    let mixed: Arc<[Object]> = [all[0].clone(), large, object("policies", 201, "z")].into();
    let error = store.put_all(mixed).await;
    assert!(matches!(error, Err(StoreError::TooLarge { .. })));
    assert!(store.read(&all[0].key).await.unwrap().is_some());
}

async fn a_change_is_seen(store: Arc<dyn Store>) {
    const LONG: Duration = Duration::from_secs(20);
    let waiting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.changed(None).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    let first = moved(store.swap(None, b"one").await.unwrap());
    let seen = timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.bytes, b"one");

    let waiting = {
        let (store, version) = (Arc::clone(&store), seen.version);
        tokio::spawn(async move { store.changed(Some(&version)).await.unwrap() })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    moved(store.swap(Some(&first), b"two").await.unwrap());
    let seen = timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(seen.bytes, b"two");
    // Who comes late does not wait.
    let late = timeout(LONG, store.changed(Some(&first)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(late.unwrap().bytes, b"two");
}
