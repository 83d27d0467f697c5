//! What the fuzz targets and the replay of their corpus do with bytes. A panic is a finding.

#![allow(dead_code, reason = "each target uses its part")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is what is looked for"
)]

use nacre_krm::{Document, Error, Limits, Path, ResourceList, Stream, emit};
use serde_json::{Value, json};

fn limits() -> Limits {
    let mut limits = Limits::with_threads(1);
    limits.bytes = 1 << 20;
    limits.expansion = 20_000;
    limits
}

/// Printed as read; every value written anew reads the same; an edit is made or explained.
pub(crate) fn stream(bytes: &[u8]) {
    let stream = match Stream::parse_bytes_with(bytes, &limits()) {
        Ok(stream) => stream,
        Err(error) => return refused(&error),
    };
    assert_eq!(stream.text().as_bytes(), bytes);
    let documents: String = stream.documents().iter().map(Document::text).collect();
    assert!(stream.documents().is_empty() || documents == stream.text());
    assert_eq!(stream.render(&Default::default(), &[]), stream.text());
    for object in stream.objects() {
        let document = &stream.documents()[object.document];
        assert!(document.value(&object.base).is_some());
        assert!(document.position(&object.base).line > 0);
    }
    for document in stream.documents() {
        let value = document.value(&Path::root()).unwrap();
        let again = Stream::parse(emit(&value)).unwrap();
        assert_same(&again.documents()[0].value(&Path::root()).unwrap(), &value);
        assert_eq!(
            document.rewrite(&[(Path::root(), value.clone())]).unwrap(),
            document.text()
        );
        edited(document, &value);
    }
    let rendered = stream.render(&Default::default(), &[json!({"kind": "New"})]);
    let read = Stream::parse(rendered).unwrap();
    assert_eq!(
        read.documents().last().unwrap().value(&Path::root()),
        Some(json!({"kind": "New"}))
    );
}

/// An annotation added, the whole changed, the first key taken away.
fn edited(document: &Document, value: &Value) {
    let annotation = Path::root()
        .key("metadata")
        .key("annotations")
        .key("example.com/x");
    match document.rewrite(&[(annotation.clone(), json!("yes"))]) {
        Ok(text) => assert_eq!(only(&text).value(&annotation), Some(json!("yes"))),
        Err(Error::Target { .. }) => {}
        Err(error) => panic!("{error}\n{}", document.text()),
    }
    let mut wanted = value.clone();
    match &mut wanted {
        Value::Object(map) => {
            let first = map.keys().next().cloned();
            map.insert("new".to_owned(), json!([{"a": "b\nc\n"}, "0755"]));
            if let Some(first) = first {
                map.shift_remove(&first);
            }
        }
        Value::Array(items) => items.insert(0, json!({"name": "new"})),
        other => *other = json!({"was": other.take()}),
    }
    let text = document.rewrite(&[(Path::root(), wanted.clone())]).unwrap();
    assert_same(&only(&text).value(&Path::root()).unwrap(), &wanted);
}

fn only(text: &str) -> Document {
    let stream = Stream::parse(text).unwrap();
    assert_eq!(stream.documents().len(), 1, "{text}");
    stream.documents()[0].clone()
}

/// A function that annotates every item, adds one and has results.
pub(crate) fn resource_list(bytes: &[u8]) {
    let Ok(stream) = Stream::parse_bytes_with(bytes, &limits()) else {
        return;
    };
    let list = match ResourceList::detect(&stream) {
        None => return,
        Some(Err(error)) => return refused(&error),
        Some(Ok(list)) => list,
    };
    let items = list.items();
    let key = Path::root()
        .key("metadata")
        .key("annotations")
        .key("example.com/x");
    let mut rewritten = Vec::new();
    for item in &items {
        let mut value = list.document().value(&item.base).unwrap();
        if value["metadata"]["annotations"].is_null()
            && (value["metadata"].is_object() || value["metadata"].is_null())
        {
            value["metadata"]["annotations"] = json!({});
        }
        if let Some(annotations) = value["metadata"]
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.insert("example.com/x".to_owned(), json!("1"));
        }
        rewritten.push((item.base.clone(), value));
    }
    let results = json!([{"message": "done: 'all'", "severity": "info"}]);
    let text = list
        .render(
            &rewritten,
            &[json!({"kind": "New", "x": ["n"]})],
            Some(results.clone()),
        )
        .unwrap();
    let read = Stream::parse(text).unwrap();
    let list = ResourceList::detect(&read).unwrap().unwrap();
    assert_eq!(list.items().len(), items.len() + 1);
    assert_eq!(
        list.document().value(&Path::root().key("results")),
        Some(results)
    );
    for (base, value) in &rewritten {
        assert_same(&list.document().value(base).unwrap(), value);
        if value["metadata"]["annotations"].is_object() {
            assert_eq!(
                list.document().str_at(&base.join(&key)).as_deref(),
                Some("1")
            );
        }
    }
}

fn refused(error: &Error) {
    assert!((101..=199).contains(&error.code()));
    assert!(error.position().line > 0 && error.position().column > 0);
    assert!(!error.to_string().is_empty());
}

fn assert_same(a: &Value, b: &Value) {
    assert!(same(a, b), "{a}\nis not\n{b}");
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
