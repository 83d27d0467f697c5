//! What is asked of an API server, by one that writes down the questions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::header::ACCEPT;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use nacre_store::{ConfigMaps, Object, Put, Store, StoreError, StoreKey, Swap};
use sha2::{Digest as _, Sha256};
use tower::service_fn;

use crate::conformance::key;

const EMPTY: &str = r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":null}"#;
/// An answer with everything, as a server gives it that knows no metadata alone.
const WHOLE: &str = r#"{"kind":"ConfigMap","apiVersion":"v1",
    "metadata":{"name":"nacre-store-latest","namespace":"shop","resourceVersion":"7","annotations":{"a":"b"}},
    "binaryData":{"data":"eA=="}}"#;
const BARE: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",
    "metadata":{"name":"nacre-store-latest","resourceVersion":"7"}}"#;

const NOTHING: &str =
    r#"{"kind":"Status","status":"Failure","code":404,"message":"","reason":"NotFound"}"#;

fn name_of(map: &[u8]) -> Option<String> {
    let map: serde_json::Value = serde_json::from_slice(map).ok()?;
    Some(map["metadata"]["name"].as_str()?.to_owned())
}

/// A store whose server keeps packs, answers what is written with this, and the method, path and wished form of each question.
fn asked(written: &'static str) -> (ConfigMaps, Arc<Mutex<Vec<String>>>) {
    let questions = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&questions);
    let kept = Arc::new(Mutex::new(BTreeMap::<String, Vec<u8>>::new()));
    let server = service_fn(move |request: Request<Body>| {
        let accept = request.headers().get(ACCEPT);
        let accept = accept.map_or("", |accept| accept.to_str().unwrap());
        let form = accept.split(';').find_map(|part| part.strip_prefix("as="));
        let method = request.method().as_str();
        let (path, query) = (request.uri().path(), request.uri().query());
        let path = path.strip_prefix("/api/v1/namespaces/shop/configmaps");
        let limited = query.unwrap_or_default().contains("limit=500");
        seen.lock().unwrap().push(format!(
            "{method}{} {}{}",
            path.unwrap(),
            form.unwrap_or("-"),
            if limited { " limited" } else { "" }
        ));
        let (method, path) = (method.to_owned(), path.unwrap().to_owned());
        let kept = Arc::clone(&kept);
        async move {
            let sent = request.into_body().collect_bytes().await.unwrap();
            let (status, body) = match (&*method, &*path) {
                ("GET", "") => (200, EMPTY.as_bytes().to_vec()),
                ("GET", path) => match kept.lock().unwrap().get(path) {
                    Some(map) => (200, map.clone()),
                    None => (404, NOTHING.as_bytes().to_vec()),
                },
                _ => {
                    if let Some(name) = name_of(&sent).filter(|name| name.contains("-pack.")) {
                        kept.lock()
                            .unwrap()
                            .insert(format!("/{name}"), sent.to_vec());
                    }
                    (201, written.as_bytes().to_vec())
                }
            };
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(Body::from(body)).unwrap())
        }
    });
    (
        ConfigMaps::new(Client::new(server, "shop"), "shop"),
        questions,
    )
}

#[tokio::test]
async fn what_is_written_does_not_come_back_and_may() {
    for answer in [WHOLE, BARE] {
        let (store, questions) = asked(answer);
        let one = key("manifests", 1);
        assert_eq!(store.put(&one, b"x").await.unwrap(), Put::Stored);
        let Swap::Moved(version) = store.swap(None, b"x").await.unwrap() else {
            panic!("lost")
        };
        assert_eq!(format!("{version:?}"), "Version(7)");
        let moved = store.swap(Some(&version), b"y").await.unwrap();
        assert_eq!(moved, Swap::Moved(version));
        assert_eq!(
            *questions.lock().unwrap(),
            [
                "GET PartialObjectMetadataList limited",
                "POST PartialObjectMetadata",
                "POST PartialObjectMetadata",
                "PUT/nacre-store-latest PartialObjectMetadata",
            ]
        );
    }
}

#[tokio::test]
async fn a_thousand_new_objects_are_some_requests() {
    let (store, questions) = asked(BARE);
    let object = |at: u64| Object {
        key: StoreKey::new(&format!("policies/{at:064x}")).unwrap(),
        bytes: vec![7; 29_000],
    };
    let all: Arc<[Object]> = (0..1000).map(object).collect();
    let keys: Arc<[StoreKey]> = all.iter().map(|object| object.key.clone()).collect();
    assert_eq!(store.there(keys).await.unwrap(), [false; 1000]);
    assert_eq!(store.put_all(all).await.unwrap(), [Put::Stored; 1000]);
    let questions = questions.lock().unwrap();
    let list = "GET PartialObjectMetadataList limited";
    assert_eq!(questions[..2], [list, list]);
    // 31 in each.
    assert_eq!(questions[2..], ["POST PartialObjectMetadata"; 33]);
}

#[tokio::test]
async fn objects_that_share_and_are_what_their_names_say_are_read_with_their_packs() {
    let (store, questions) = asked(BARE);
    let object = |at: u8| {
        let bytes = [&[at; 32][..], &[7; 29_000]].concat();
        let name = hex::encode(Sha256::digest(&bytes));
        let key = StoreKey::new(&format!("policies/{name}")).unwrap();
        Object { key, bytes }
    };
    let mut all: Vec<Object> = (0..61).map(object).collect();
    // Nobody can tell by its name whether it is whole.
    all.push(Object {
        key: key("policies", 98),
        bytes: vec![7],
    });
    let all: Arc<[Object]> = all.into();
    store.put_all(Arc::clone(&all)).await.unwrap();
    questions.lock().unwrap().clear();
    // One of the first pack, three of the second, and one that nobody has.
    let mut keys: Vec<StoreKey> = [3, 40, 41, 61].map(|at: usize| all[at].key.clone()).into();
    keys.push(key("policies", 99));
    let found = store.read_all(keys.into()).await.unwrap();
    let expected = [3, 40, 41, 61].map(|at: usize| Some(all[at].bytes.clone()));
    let found: Vec<Option<Vec<u8>>> = found.into_iter().map(Result::unwrap).collect();
    assert!(found == [&expected[..], &[None]].concat());
    let mut questions = questions.lock().unwrap().clone();
    // Some of them at the same time.
    questions[2..4].sort();
    let pack = |question: &String| question.starts_with("GET/nacre-store-pack.");
    assert!(questions[..2].iter().all(pack), "{questions:?}");
    let own = |at: u8| format!("GET/nacre-store-policies-{} -", hex::encode([at; 32]));
    let list = "GET PartialObjectMetadataList limited".to_owned();
    assert_eq!(questions[2..], [own(98), own(99), list]);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_an_error() {
    for answer in ["", "{}", r#"{"metadata":{}}"#, "[]"] {
        let (store, _) = asked(answer);
        let error = store.put(&key("manifests", 1), b"x").await.unwrap_err();
        let expected = matches!(
            error,
            StoreError::Cluster { .. } | StoreError::Damaged { .. }
        );
        assert!(expected, "{answer}: {error:?}");
    }
}
