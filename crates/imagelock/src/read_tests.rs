use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::user::UserDatabase;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn full() -> ImageLock {
    let mut entry = Entry::new(ImageReference::parse("nginx:1").unwrap(), Digest::of(b"m"));
    entry.index_digest = Some(Digest::of(b"i"));
    entry.config_digest = Some(Digest::of(b"c"));
    entry.source = Source::Layout;
    entry.size_bytes = 12;
    entry.config = ImageFacts {
        entrypoint: vec!["/app".into()],
        cmd: vec!["--flag".into(), String::new()],
        env: vec!["PATH=/bin".into(), "A=b=c".into()],
        user: "app:www".into(),
        working_dir: "/srv".into(),
        volumes: vec!["/data".into()],
        exposed_ports: vec!["80/tcp".into()],
        stop_signal: Some("SIGQUIT".into()),
        labels: [
            ("b".to_owned(), "2".to_owned()),
            ("a".to_owned(), "1".to_owned()),
        ]
        .into(),
    };
    entry.users = Some(UserDatabase::parse(
        b"app:x:5:6:::\n",
        b"www:x:6:app,x\nempty:x:7:\n",
    ));
    entry.resolved_user = entry.default_user();
    entry.layers = vec![Layer {
        digest: Digest::of(b"l"),
        diff_id: Digest::of(b"d"),
        size_bytes: 12,
        verity_root: Some("0".repeat(64)),
    }];
    let mut lock = ImageLock::default();
    lock.name = "shop".into();
    lock.insert(entry);
    lock.insert(Entry::new(
        ImageReference::parse("alpine").unwrap(),
        Digest::of(b"a"),
    ));
    lock
}

fn problems(value: &Value) -> Vec<String> {
    let problems = ImageLock::from_value(value).unwrap_err().problems;
    problems.iter().map(Problem::to_string).collect()
}

fn with_images(images: Value) -> Value {
    json!({ "apiVersion": API_VERSION, "kind": KIND, "spec": { "images": images } })
}

#[test]
fn every_field_survives_and_the_bytes_are_the_same() {
    let lock = full();
    let value = lock.to_value();
    let read = ImageLock::from_value(&value).unwrap();
    assert_eq!(read, lock);
    assert_eq!(read.to_value().to_string(), value.to_string());
}

#[test]
fn order_of_keys_and_entries_does_not_matter() {
    let mut value = full().to_value();
    let images = value["spec"]["images"].as_array_mut().unwrap();
    images.reverse();
    for image in images {
        let reversed: Map<_, _> = image
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .rev()
            .collect();
        *image = Value::Object(reversed);
    }
    let read = ImageLock::from_value(&value).unwrap();
    assert_eq!(read.to_value().to_string(), full().to_value().to_string());
}

#[test]
fn a_changed_entry_is_refused_by_its_checksum() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 5] = [
        ("digest", |v| v["digest"] = D.into()),
        ("cmd", |v| v["config"]["cmd"][0] = "--evil".into()),
        ("uid", |v| v["resolvedUser"]["uid"] = 0.into()),
        ("passwd", |v| v["users"]["passwd"][0] = "app:0:6".into()),
        ("dropped", |v| {
            drop(v.as_object_mut().unwrap().remove("layers"))
        }),
    ];
    for (name, change) in changes {
        let mut value = full().to_value();
        change(&mut value["spec"]["images"][1]);
        let found = problems(&value);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let (rest, problems) = ImageLock::sound_part(&value);
        assert_eq!((rest.len(), problems.len()), (1, 1));
        assert!(rest.lookup("alpine").is_ok());
        assert!(
            found[0].starts_with("spec.images[1]: the entry was changed after"),
            "{found:?}"
        );
        assert!(
            found[0].contains("nacre lock --update docker.io/library/nginx:1"),
            "{found:?}"
        );
    }
}

#[test]
fn an_entry_by_hand_needs_little() {
    let value = with_images(json!([{ "reference": "alpine:3", "digest": D }]));
    let lock = ImageLock::from_value(&value).unwrap();
    assert_eq!(lock.lookup("alpine:3").unwrap().digest.to_string(), D);
    assert_eq!(lock.name, "images");
}

#[test]
fn all_mistakes_at_once() {
    let value = json!({
        "apiVersion": "v1",
        "kind": KIND,
        "extra": 1,
        "spec": {
            "image": [],
            "images": [
                { "reference": "alpine:3", "digest": "sha256:12", "platfrom": "linux/amd64" },
                { "digest": D, "sizeBytes": -1, "source": "web", "config": { "cmd": "sh" } },
                { "reference": "Bad", "digest": D, "users": { "passwd": ["x"], "group": [1] } },
                { "reference": "a:1", "digest": D, "layers": [{ "digest": D, "verityRoot": "0" }] },
                { "reference": "a:1", "digest": D, "resolvedUser": { "uid": 4294967296u64 } },
                "text",
            ],
        },
    });
    assert_eq!(
        problems(&value),
        [
            "apiVersion: must be nacre.dev/v1alpha1",
            "extra: is not a known field",
            "spec.image: is not a known field",
            "spec.images[0].digest: a sha256 digest has 64 hexadecimal digits, not 2",
            "spec.images[0].platfrom: is not a known field",
            "spec.images[1].reference: is required",
            "spec.images[1].source: must be registry, oci-layout or archive",
            "spec.images[1].sizeBytes: must be a whole number",
            "spec.images[1].config.cmd: must be a list",
            "spec.images[2].reference: \"Bad\" is not an image reference: a repository name has \
             lower-case letters only",
            "spec.images[2].users.passwd[0]: must be name:uid:gid",
            "spec.images[2].users.group[0]: must be name:gid:member,member",
            "spec.images[3].layers[0].diffId: is required",
            "spec.images[3].layers[0].verityRoot: must be 64 lower-case hexadecimal digits",
            "spec.images[4].resolvedUser.uid: must be below 4294967296",
            "spec.images[4].resolvedUser.gid: is required",
            "spec.images[5]: must be an object",
        ]
    );
}

#[test]
fn one_image_twice_is_a_mistake() {
    let value = with_images(json!([
        { "reference": "alpine:3", "digest": D },
        { "reference": "docker.io/library/alpine:3", "digest": D },
    ]));
    let expected = "spec.images[1]: docker.io/library/alpine:3 already stands at spec.images[0]";
    assert_eq!(problems(&value), [expected]);
}

#[test]
fn what_is_no_lock_at_all() {
    assert_eq!(problems(&json!([])), ["must be an object"]);
    assert_eq!(
        problems(&json!({})),
        [
            "apiVersion: must be nacre.dev/v1alpha1",
            "kind: must be ImageLock",
            "spec: is required"
        ]
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("reference"),
        Just("digest"),
        Just("config"),
        Just("users"),
        Just("layers"),
        Just("resolvedUser"),
        Just("env"),
        Just("labels"),
        Just("passwd"),
        Just("x"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(Value::from(D)),
        Just(Value::from("a:1")),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn foreign_values_never_panic(images in any_json()) {
        if let Ok(lock) = ImageLock::from_value(&with_images(images)) {
            prop_assert_eq!(ImageLock::from_value(&lock.to_value()).unwrap(), lock);
        }
    }
}
