//! Many objects in one ConfigMap.

use std::sync::Arc;

use nacre_store::{ConfigMaps, Object, Put, Store, StoreError, StoreKey};
use nacre_test_support::Cluster;
use sha2::{Digest as _, Sha256};

use super::{client, store};
use crate::conformance::key;

const PACKS: &str = "--selector=app.kubernetes.io/component=pack";

/// A namespace of the cluster, as its administrator sees it.
struct Namespace {
    cluster: Arc<Cluster>,
    name: &'static str,
}

impl Namespace {
    /// The namespace and a store with the Coordinator's rights.
    async fn new(name: &'static str) -> (Self, ConfigMaps) {
        let cluster = Cluster::shared();
        let store = store(&cluster, name).await;
        (Self { cluster, name }, store)
    }

    /// A store of another Coordinator, which has seen nothing yet.
    async fn another(&self) -> ConfigMaps {
        let kubeconfig = self.cluster.kubeconfig_of(self.name, "coordinator");
        ConfigMaps::new(client(&kubeconfig).await, self.name)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let namespace = format!("--namespace={}", self.name);
        self.cluster.kubectl(&[&[&*namespace], arguments].concat())
    }

    fn apply(&self, object: &str) {
        let namespace = format!("--namespace={}", self.name);
        let replace = ["replace", "--force", &namespace, "--filename=-"];
        self.cluster.kubectl_with(&replace, object);
    }

    /// ConfigMaps that a store has written, of this selector.
    fn names(&self, selector: &str) -> Vec<String> {
        let listed = self.kubectl(&["get", "configmaps", "--output=name", selector]);
        let mut names: Vec<String> = listed.lines().map(str::to_owned).collect();
        names.retain(|name| name.starts_with("configmap/nacre-store-"));
        names
    }

    /// What stands in a ConfigMap.
    fn field(&self, name: &str, path: &str) -> String {
        let output = format!("--output=jsonpath={{{path}}}");
        self.kubectl(&["get", name, &output])
    }

    fn patch(&self, name: &str, patch: &str) {
        self.kubectl(&["patch", name, "--type=merge", "--patch", patch]);
    }
}

/// So many objects of different lengths that they share packs.
fn many(number: u64) -> Arc<[Object]> {
    let object = |at: u64| Object {
        key: StoreKey::new(&format!("policies/{number:032x}{at:032x}")).unwrap(),
        bytes: (number << 32 | at).to_be_bytes().repeat(40 * at as usize),
    };
    (0..40).map(object).collect()
}

async fn intact(store: &ConfigMaps, objects: &[Object]) -> bool {
    let keys = objects.iter().map(|object| object.key.clone()).collect();
    let found = store.read_all(keys).await.unwrap();
    for (found, Object { key, bytes }) in found.into_iter().zip(objects) {
        let alone = store.read(key).await.unwrap();
        if found.unwrap().as_ref() != Some(bytes) || alone.as_ref() != Some(bytes) {
            return false;
        }
    }
    true
}

fn is_damaged(found: Result<Option<Vec<u8>>, StoreError>) -> bool {
    matches!(found, Err(StoreError::Damaged { .. }))
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn many_objects_share_a_config_map() {
    let (namespace, store) = Namespace::new("packs").await;
    let (other, all) = (namespace.another().await, many(1));
    // One that is open and has looked, before there was anything.
    assert_eq!(other.read(&all[0].key).await.unwrap(), None);
    let few: Arc<[Object]> = many(7)[..31].into();
    let ends = store.put_all(few).await.unwrap();
    assert_eq!(ends, [Put::Stored; 31]);
    assert_eq!(namespace.names(PACKS).len(), 0);
    assert_eq!(namespace.names("--selector=").len(), 31);

    let ends = store.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(ends, [Put::Stored; 40]);
    let packs = namespace.names(PACKS);
    assert_eq!(packs.len(), 1);
    assert_eq!(namespace.names("--selector=").len(), 32);
    // 250 000 bytes that repeat.
    let data = namespace.field(&packs[0], ".binaryData.data");
    assert!((100..20_000).contains(&data.len()), "{}", data.len());

    let fresh = namespace.another().await;
    for store in [&store, &other, &fresh] {
        assert!(intact(store, &all).await);
        let ends = store.put_all(Arc::clone(&all)).await.unwrap();
        assert_eq!(ends, [Put::Same; 40]);
        let put = store.put(&all[3].key, b"x").await.unwrap();
        assert_eq!(put, Put::Different);
    }
    assert_eq!(namespace.names("--selector=").len(), 32);
    // An object is replaced by one of its own, which counts for everybody.
    store.replace(&all[3].key, b"x").await.unwrap();
    for store in [&store, &other, &namespace.another().await] {
        assert_eq!(store.read(&all[3].key).await.unwrap().unwrap(), b"x");
        assert!(intact(store, &all[4..]).await);
        let ends = store.put_all(Arc::clone(&all)).await.unwrap();
        assert_eq!(ends.iter().filter(|end| **end == Put::Different).count(), 1);
    }
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn what_is_what_its_name_says_counts_before_anything_else() {
    let (namespace, store) = Namespace::new("packs-names").await;
    let named = |object: &Object| {
        let name = hex::encode(Sha256::digest(&object.bytes));
        Object {
            key: StoreKey::new(&format!("policies/{name}")).unwrap(),
            bytes: object.bytes.clone(),
        }
    };
    let all: Arc<[Object]> = many(1).iter().map(named).collect();
    store.put_all(Arc::clone(&all)).await.unwrap();
    // Somebody writes another one over it, which hides it from nobody.
    store.replace(&all[3].key, b"x").await.unwrap();
    for store in [&store, &namespace.another().await] {
        assert!(intact(store, &all[4..]).await);
        let keys: Arc<[StoreKey]> = all.iter().map(|object| object.key.clone()).collect();
        // One that has not looked yet asks for each by its own name first.
        store.there(Arc::clone(&keys)).await.unwrap();
        let found = store.read_all(keys).await.unwrap();
        let found: Vec<Vec<u8>> = found
            .into_iter()
            .map(|found| found.unwrap().unwrap())
            .collect();
        assert!(
            found
                .iter()
                .zip(all.iter())
                .all(|(found, object)| *found == object.bytes)
        );
        assert!(intact(store, &all).await);
    }
    // Damaged where they share, one of its own is it.
    let pack = namespace.names(PACKS).pop().unwrap();
    store.replace(&all[3].key, &all[3].bytes).await.unwrap();
    namespace.patch(&pack, r#"{"binaryData":{"data":"AAAA"}}"#);
    let fresh = namespace.another().await;
    assert!(is_damaged(fresh.read(&all[5].key).await));
    assert!(intact(&fresh, &all[3..4]).await);
    let keys = [&all[3], &all[5]].map(|object| object.key.clone());
    let found = fresh.read_all(keys.into()).await.unwrap();
    let [mended, damaged] = found.try_into().unwrap();
    assert_eq!(mended.unwrap().unwrap(), all[3].bytes);
    assert!(is_damaged(damaged));
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn what_a_config_map_cannot_hold_goes_into_several() {
    let (namespace, store) = Namespace::new("packs-limits").await;
    // Bytes that do not compress: what a pack holds may be as long as they are, and somewhat longer.
    let noise = |number: u64, length: usize| -> Vec<u8> {
        let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    };
    let object = |number: u64, length: usize| Object {
        key: StoreKey::new(&format!("{}/{number:064x}", "k".repeat(32))).unwrap(),
        bytes: noise(number, length),
    };
    const PART: usize = 900 << 10;
    let mut all: Vec<Object> = (0..600).map(|number| object(number, 10)).collect();
    all.push(object(600, PART));
    all.push(object(601, PART + 1));
    all.push(object(602, 0));
    all.push(object(603, PART / 2));
    all.push(object(604, PART / 2 + 1));
    let all: Arc<[Object]> = all.into();
    let ends = store.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(ends, vec![Put::Stored; all.len()]);
    // 256, 256 and 88 of the short ones; the first long one; the empty one with the first half; the other half.
    assert_eq!(namespace.names(PACKS).len(), 6);
    let own = format!("configmap/nacre-store-{}-{:064x}", "k".repeat(32), 601);
    assert!(namespace.names("--selector=").contains(&own));
    let fresh = namespace.another().await;
    for store in [&store, &fresh] {
        assert!(intact(store, &all[590..]).await);
        let ends = store.put_all(Arc::clone(&all)).await.unwrap();
        assert_eq!(ends, vec![Put::Same; all.len()]);
    }
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn a_damaged_pack_is_damage_to_its_objects_and_no_others() {
    let (namespace, store) = Namespace::new("packs-damage").await;
    let all = many(1);
    store.put_all(Arc::clone(&all)).await.unwrap();
    let pack = namespace.names(PACKS).pop().unwrap();
    store.put_all(many(2)).await.unwrap();
    let whole = namespace.kubectl(&["get", &pack, "--output=json"]);
    // A repetition of nothing, literals that never end, and one byte as it should be written.
    let damage = [
        r#"{"binaryData":{"data":"AAAA"}}"#,
        r#"{"binaryData":{"data":"8P//////////"}}"#,
        r#"{"binaryData":{"data":"EHg="}}"#,
        r#"{"binaryData":{"data":""}}"#,
        r#"{"binaryData":null}"#,
        "",
    ];
    for patch in damage {
        if patch.is_empty() {
            namespace.kubectl(&["delete", &pack]);
        } else {
            namespace.patch(&pack, patch);
        }
        // Whoever has not read it yet: one that has keeps it.
        let fresh = namespace.another().await;
        if patch.is_empty() {
            // Where nobody has seen it, it is missing.
            assert_eq!(fresh.read(&all[1].key).await.unwrap(), None);
            fresh.put_all(many(3)).await.unwrap();
            continue;
        }
        let keys = [&all[1], &many(2)[1], &all[2]].map(|object| object.key.clone());
        let found = fresh.read_all(keys.into()).await.unwrap();
        let [first, second, third] = found.try_into().unwrap();
        assert!(is_damaged(first) && is_damaged(third), "{patch}");
        assert_eq!(second.unwrap().unwrap(), many(2)[1].bytes);
        assert!(is_damaged(fresh.read(&all[5].key).await), "{patch}");
        let there = fresh.there(Arc::new([all[5].key.clone()])).await.unwrap();
        assert_eq!(there, [true]);
        let ends = fresh.put_all(Arc::clone(&all)).await.unwrap();
        assert_eq!(ends, [Put::Different; 40], "{patch}");
        let put = fresh.put(&all[5].key, &all[5].bytes).await.unwrap();
        assert_eq!(put, Put::Different);
        namespace.apply(&whole);
        assert!(intact(&fresh, &all).await);
    }
    // Gone, while somebody knows where the objects were.
    namespace.apply(&whole);
    let knows = namespace.another().await;
    let there = knows.there(Arc::new([all[1].key.clone()])).await.unwrap();
    assert_eq!(there, [true]);
    namespace.kubectl(&["delete", &pack]);
    assert!(is_damaged(knows.read(&all[1].key).await));
    let ends = knows.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(ends, [Put::Different; 40]);
    knows.replace(&all[1].key, &all[1].bytes).await.unwrap();
    let fresh = namespace.another().await;
    assert!(intact(&knows, &all[1..2]).await && intact(&fresh, &all[1..2]).await);
    // The others are missing to whoever comes, and are written again.
    let ends = fresh.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(ends.iter().filter(|end| **end == Put::Stored).count(), 39);
    assert_eq!(ends[1], Put::Same);
    assert!(intact(&fresh, &all).await);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn a_pack_whose_list_is_damaged_is_written_again() {
    let (namespace, store) = Namespace::new("packs-list").await;
    let all = many(1);
    store.put_all(Arc::clone(&all)).await.unwrap();
    let pack = namespace.names(PACKS).pop().unwrap();
    store.put_all(many(2)).await.unwrap();
    let list = namespace.field(&pack, r".metadata.annotations.nacre\.dev/list");
    let whole = namespace.kubectl(&["get", &pack, "--output=json"]);
    let mut other = list.clone().into_bytes();
    other[100] = if other[100] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).unwrap();
    for list in [&other, &list[..list.len() - 4], "", "<no base64>\n"] {
        let annotation = format!("nacre.dev/list={list}");
        namespace.kubectl(&["annotate", "--overwrite", &pack, &annotation]);
        let fresh = namespace.another().await;
        for Object { key, .. } in &all[..3] {
            assert_eq!(fresh.read(key).await.unwrap(), None, "{list}");
        }
        let keys: Arc<[StoreKey]> = all.iter().map(|object| object.key.clone()).collect();
        assert_eq!(fresh.there(keys).await.unwrap(), [false; 40]);
        assert!(intact(&fresh, &many(2)).await);
        let ends = fresh.put_all(Arc::clone(&all)).await.unwrap();
        assert_eq!(ends, [Put::Stored; 40], "{list}");
        assert!(intact(&fresh, &all).await && intact(&namespace.another().await, &all).await);
    }
    assert_eq!(namespace.names(PACKS).len(), 2);
    // Under the name of another pack it is believed as little.
    let stranger = whole.replace(
        pack.trim_start_matches("configmap/"),
        &format!("nacre-store-pack.{}", "0".repeat(64)),
    );
    namespace.apply(&stranger);
    namespace.kubectl(&["delete", &pack]);
    let fresh = namespace.another().await;
    assert_eq!(fresh.read(&all[0].key).await.unwrap(), None);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn of_two_packs_with_one_object_the_same_counts_for_everybody() {
    let (namespace, store) = Namespace::new("packs-two").await;
    let (elsewhere, writer) = Namespace::new("packs-two-elsewhere").await;
    let shared = key("policies", 9);
    let with = |number: u64, bytes: &[u8]| -> Arc<[Object]> {
        let object = Object {
            key: shared.clone(),
            bytes: bytes.to_vec(),
        };
        many(number).iter().cloned().chain([object]).collect()
    };
    store.put_all(with(1, b"one")).await.unwrap();
    let one = namespace.names(PACKS).pop().unwrap();
    writer.put_all(with(2, b"two")).await.unwrap();
    let two = elsewhere.names(PACKS).pop().unwrap();
    let copy = elsewhere.kubectl(&["get", &two, "--output=json"]);
    namespace.apply(&copy.replace("\"packs-two-elsewhere\"", "\"packs-two\""));
    let expected: &[u8] = if one < two { b"one" } else { b"two" };
    let fresh = namespace.another().await;
    assert_eq!(fresh.read(&shared).await.unwrap().unwrap(), expected);
    // Who knew one of them and looks at what has come.
    assert!(intact(&store, &many(2)).await);
    assert_eq!(store.read(&shared).await.unwrap().unwrap(), expected);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn a_store_in_which_every_object_has_its_own_goes_on() {
    let (namespace, store) = Namespace::new("packs-before").await;
    let all = many(1);
    // As they have always been written.
    let mut text = String::new();
    for Object { key, bytes } in &all[..35] {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
        text += &format!(
            "---
apiVersion: v1
kind: ConfigMap
metadata:
  name: nacre-store-policies-{}
  labels:
    app.kubernetes.io/name: nacre-store
    app.kubernetes.io/part-of: nacre
    app.kubernetes.io/managed-by: nacre
  annotations: {{nacre.dev/parts: '1', nacre.dev/bytes: '{}'}}
binaryData: {{data: '{data}'}}
",
            key.hash(),
            bytes.len()
        );
    }
    let create = ["create", "--namespace=packs-before", "--filename=-"];
    namespace.cluster.kubectl_with(&create, &text);
    assert!(intact(&store, &all[..35]).await);
    let keys: Arc<[StoreKey]> = all.iter().map(|object| object.key.clone()).collect();
    let there = store.there(keys).await.unwrap();
    assert_eq!(there, [vec![true; 35], vec![false; 5]].concat());
    let ends = store.put_all(Arc::clone(&all)).await.unwrap();
    assert_eq!(ends, [vec![Put::Same; 35], vec![Put::Stored; 5]].concat());
    assert_eq!(namespace.names(PACKS).len(), 0);
    let mut more = all.to_vec();
    more[7].bytes = b"other".to_vec();
    more.extend(many(2).iter().cloned());
    let ends = store.put_all(more.into()).await.unwrap();
    let mut expected = [vec![Put::Same; 40], vec![Put::Stored; 40]].concat();
    expected[7] = Put::Different;
    assert_eq!(ends, expected);
    assert_eq!(namespace.names(PACKS).len(), 1);
    let fresh = namespace.another().await;
    assert!(intact(&fresh, &all).await && intact(&fresh, &many(2)).await);
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn long_lists_come_in_pages_and_very_long_ones_are_not_asked_for() {
    let (namespace, store) = Namespace::new("packs-pages").await;
    let few: Arc<[Object]> = many(9)[..9].into();
    store.put_all(Arc::clone(&few)).await.unwrap();
    for number in 1..=5 {
        store.put_all(many(number)).await.unwrap();
    }
    assert_eq!(namespace.names(PACKS).len(), 5);
    let mut keys: Vec<StoreKey> = few.iter().map(|object| object.key.clone()).collect();
    for number in 1..=6 {
        keys.extend(many(number).iter().map(|object| object.key.clone()));
    }
    let expected = [vec![true; 9 + 5 * 40], vec![false; 40]].concat();
    let keys: Arc<[StoreKey]> = keys.into();
    // 14 ConfigMaps and 249 objects: 31 pages are asked for at most. The last 40 objects are worth 5.
    for page in [500, 14, 13, 5, 2, 1] {
        let paged = || async { namespace.another().await.with_pages_of(page) };
        let found = paged().await.there(Arc::clone(&keys)).await.unwrap();
        assert_eq!(found, expected, "{page}");
        let part = 169..249;
        let found = paged()
            .await
            .there(keys[part.clone()].into())
            .await
            .unwrap();
        assert_eq!(found, expected[part], "{page}");
        let found = paged().await.there(keys[..32].into()).await.unwrap();
        assert_eq!(found, [true; 32], "{page}");
        for number in [1, 5] {
            assert!(intact(&paged().await, &many(number)).await);
        }
        let ends = paged().await.put_all(many(3)).await.unwrap();
        assert_eq!(ends, [Put::Same; 40], "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn several_who_write_the_same_leave_one_pack() {
    let (namespace, store) = Namespace::new("packs-same").await;
    let mut writers = Vec::new();
    for _ in 0..6 {
        let store = namespace.another().await;
        writers.push(tokio::spawn(async move {
            store.put_all(many(1)).await.unwrap()
        }));
    }
    let mut stored = 0;
    for writer in writers {
        let ends = writer.await.unwrap();
        assert!(!ends.contains(&Put::Different));
        stored += ends.iter().filter(|end| **end == Put::Stored).count();
    }
    assert_eq!((stored, namespace.names(PACKS).len()), (40, 1));
    assert!(intact(&store, &many(1)).await);
}
